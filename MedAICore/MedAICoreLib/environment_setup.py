"""The one environment of this Slicer process: which work is under way, and who wants to know about it."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from MedAICoreLib.environment import Environment, Kind, Operation, OperationState, Sources, Status
from MedAICoreLib.settings import Settings

TICK_MS = 15
_TELL_EVERY_S = 0.15
_LOOK_AGAIN_MS = 2000


class EnvironmentSetup:
    """Drives one operation of the environment at a time from a timer, and tells the panels that look at it.

    `environment` replaces the one of the settings (tests). `onReplaced()` is called before and after the installed
    environment changes: a worker that runs in it has to end.
    """

    def __init__(
        self, environment: "Environment | None" = None, onReplaced: "Callable[[], None] | None" = None
    ) -> None:
        self._given = environment
        self._onReplaced = onReplaced
        self._listeners: list[Callable[[], None]] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._onTick)
        self._settings = Settings()
        self._looksAgain = False
        self._toldAt = 0.0
        self._whenDone: Callable[[Operation], None] | None = None
        self.operation: Operation | None = None

    @property
    def environment(self) -> Environment:
        """The environment as the settings say: its folder, and where it is loaded from."""
        if self._given is not None:
            return self._given
        folder = self._settings.environmentFolder()
        sources = Sources(
            index_url=self._settings.packageIndex(),
            python_mirror=self._settings.pythonMirror(),
            torch_backend="auto" if self._settings.wantsGpu() else "cpu",
        )
        return Environment(Path(folder) if folder else None, slicerPython(), sources)

    @property
    def busy(self) -> bool:
        """Whether an operation runs in this process."""
        return self.operation is not None and self.operation.running

    def status(self) -> Status:
        """What is installed. While another Slicer works on it, the listeners are called again after a while."""
        status = self.environment.status()
        if status.kind is Kind.BUSY and not self.busy and not self._looksAgain:
            self._looksAgain = True
            qt.QTimer.singleShot(_LOOK_AGAIN_MS, self._lookAgain)
        return status

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when something changed; also several times a second while an operation runs."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def run(self, operation: Operation, whenDone: "Callable[[Operation], None] | None" = None) -> None:
        """Work on `operation` from now on; refused (nothing happens) while another one runs."""
        if self.busy:
            return
        self.operation = operation
        self._whenDone = whenDone
        if operation.name in ("remove", "repair") and self._onReplaced is not None:
            self._onReplaced()
        self._timer.start()
        self._tell()

    def cancel(self) -> None:
        """Stop what runs; the next tick does it."""
        if self.operation is not None:
            self.operation.cancel()

    def dismiss(self) -> None:
        """Forget an operation that has ended, with its error."""
        if not self.busy:
            self.operation = None
            self._tell()

    def close(self) -> None:
        """Slicer ends: stop at once; the next start continues."""
        self._timer.stop()
        if self.operation is not None:
            self.operation.close()

    def changed(self) -> None:
        """The settings or the interpreter were changed elsewhere."""
        self._tell()

    def _lookAgain(self) -> None:
        self._looksAgain = False
        self._tell()

    def _onTick(self) -> None:
        if self.operation is not None and self.operation.advance():
            if time.monotonic() > self._toldAt + _TELL_EVERY_S:
                self._tell()
            return
        self._timer.stop()
        operation = self.operation
        if operation is None:
            return
        if operation.state is OperationState.DONE and operation.name in ("build", "install_pack"):
            self._settings.setInterpreter("")
            if self._onReplaced is not None:
                self._onReplaced()
        if operation.state is OperationState.DONE and self._whenDone is not None:
            self._whenDone(operation)
        self._tell()

    def _tell(self) -> None:
        self._toldAt = time.monotonic()
        for listener in list(self._listeners):
            listener()


def slicerPython() -> str:
    """Slicer's own Python as a program (PythonSlicer); empty where it is not found."""
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    found = shutil.which("PythonSlicer")
    inHome = os.path.join(slicer.app.slicerHome, "bin", name)
    if found or os.path.isfile(inHome):
        return found or inHome
    # Tests and a Slicer without the launcher: this process may itself be a Python.
    return sys.executable if os.path.basename(sys.executable or "").lower().startswith("python") else ""


_shared: "EnvironmentSetup | None" = None


def sharedSetup() -> EnvironmentSetup:
    """The setup that all panels show; what runs is stopped when Slicer quits."""
    global _shared
    if _shared is None:
        from MedAICoreLib.worker import closeSharedWorker

        _shared = EnvironmentSetup(onReplaced=closeSharedWorker)
        slicer.app.connect("aboutToQuit()", _shared.close)
    return _shared


def workerInterpreter() -> "tuple[str, Path | None]":
    """(interpreter, folder of packages or None) that the worker is started with: the person's own, or MedAI's."""
    chosen = Settings().interpreter()
    if chosen:
        return chosen, None
    found = sharedSetup().environment.interpreter()
    return (str(found[0]), found[1]) if found is not None else ("", None)


def environmentProblem() -> str:
    """Why no worker can be started, for a person; empty where one can. Starts nothing."""
    settings = Settings()
    if settings.interpreter():
        return settings.interpreterProblem()
    status = sharedSetup().status()
    if status.usable:
        return ""
    if status.problem is not None:
        return str(status.problem)
    return {
        Kind.ABSENT: "it is not installed",
        Kind.INTERRUPTED: "its installation was interrupted",
        Kind.BUSY: "it is being installed",
        Kind.BROKEN: "its interpreter is gone",
    }.get(status.kind, status.kind.value)
