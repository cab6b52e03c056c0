"""The GIL-holding loop stops Python threads while it idles, as Slicer's main loop does; stalls are measured."""

from __future__ import annotations

import threading
import time
from typing import Any

from host.event_loop import GilHeldLoop, StallMonitor, pump


class Counter:
    """A Python thread that counts without pause."""

    def __init__(self) -> None:
        self.count = 0
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop:
            self.count += 1

    def __enter__(self) -> Counter:
        self._thread.start()
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._stop = True
        self._thread.join()


def test_thread_stands_still_while_the_loop_holds_the_gil(host: Any) -> None:
    from PySide6 import QtCore

    loop = GilHeldLoop()
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    with Counter() as thread:
        time.sleep(0.02)
        timer.start(150)
        before = thread.count
        loop.step()  # returns when the timer fires: idle for 150 ms
        held = thread.count - before
        before = thread.count
        pump(150)  # the ordinary loop releases the GIL
        released = thread.count - before
    assert released > 1000
    assert held < released / 20


def test_gil_held_loop_delivers_timers_and_slots(host: Any) -> None:
    import qt

    ticks: list[int] = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start(5)
    assert GilHeldLoop().wait_until(lambda: len(ticks) >= 5, seconds=5)


def test_stall_monitor_measures_a_blocked_loop(host: Any) -> None:
    from PySide6 import QtCore

    with StallMonitor() as stalls:
        QtCore.QTimer.singleShot(20, lambda: time.sleep(0.15))
        pump(300)
    assert stalls.worst_ms > 140
