"""Running Qt's event loop in tests, with or without the GIL, and measuring how long it stalls."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore

from .binding import convert


def process_events() -> None:
    """Process the events that are waiting.

    Through QEventLoop, which gives a bool: `QCoreApplication.processEvents` of PySide6 6.12 loses a reference to None
    at each call, and Python ends with "deallocating None" after some ten thousand of them.
    """
    QtCore.QEventLoop().processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents)


def send_deferred_deletes() -> None:
    """Delete what asked for it by `deleteLater`."""
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))  # the reference that PySide6 loses, as above


def pump(milliseconds: float = 30.0) -> None:
    """Process events for this long."""
    end = time.perf_counter() + milliseconds / 1000.0
    while True:
        process_events()
        send_deferred_deletes()
        if time.perf_counter() >= end:
            return
        time.sleep(0.001)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0, step: Callable[[], None] | None = None) -> bool:
    """Process events until the condition holds; False when the time ran out."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            return False
        if step is not None:
            step()
        else:
            process_events()
            time.sleep(0.001)
    return True


class StallMonitor:
    """Measures the largest gap between two ticks of a short timer: how long the window was frozen."""

    INTERVAL_MS = 5

    def __init__(self) -> None:
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._last = 0.0
        self.gaps_ms: list[float] = []

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append((now - self._last) * 1000.0)
        self._last = now

    def __enter__(self) -> StallMonitor:
        self.gaps_ms = []
        self._last = time.perf_counter()
        self._timer.start(self.INTERVAL_MS)
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._tick()
        self._timer.stop()

    @property
    def worst_ms(self) -> float:
        """Largest gap."""
        return max(self.gaps_ms, default=0.0)


def click(widget: Any) -> None:
    """Click the middle of a widget with the left mouse button."""
    from PySide6 import QtTest

    QtTest.QTest.mouseClick(convert.unwrap(widget), QtCore.Qt.MouseButton.LeftButton)
    process_events()


class GilHeldLoop:
    """Processes Qt's events without ever giving up the GIL in between, as Slicer's C++ main loop does.

    PySide6 releases the GIL around ``processEvents``; ``ctypes.PyDLL`` calls the same C++ function while holding it, so
    a Python thread stands still while the loop is idle and only runs while a Python slot runs.
    """

    _SYMBOL = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
    WAIT_FOR_MORE_EVENTS = 0x04

    def __init__(self) -> None:
        import PySide6

        libraries = sorted((Path(PySide6.__file__).parent / "Qt" / "lib").glob("libQt6Core.so*"))
        if not libraries:
            raise OSError("libQt6Core was not found beside PySide6; the GIL-holding loop needs it (Linux wheels).")
        self._process_events = getattr(ctypes.PyDLL(str(libraries[0])), self._SYMBOL)
        self._process_events.argtypes = [ctypes.c_int]
        self._process_events.restype = None

    def step(self) -> None:
        """Wait for the next event (holding the GIL) and process what is there. Some timer must be running."""
        self._process_events(self.WAIT_FOR_MORE_EVENTS)

    def run(self, milliseconds: float) -> None:
        """Run the loop this long."""
        wake = QtCore.QTimer()
        wake.start(5)
        end = time.perf_counter() + milliseconds / 1000.0
        while time.perf_counter() < end:
            self.step()
        wake.stop()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Like :func:`wait_until`, holding the GIL."""
        wake = QtCore.QTimer()
        wake.start(5)
        found = wait_until(condition, seconds, step=self.step)
        wake.stop()
        return found
