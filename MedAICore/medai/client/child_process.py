"""The worker as a child process of Slicer: start, lines over pipes, its log, its end."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from medai.client.process_tree import ProcessTree
from medai.client.transport import Deliver, WorkerExit
from medai.config.messages import MAX_LINE_BYTES
from medai.errors import EnvironmentFailure
from medai.session import SessionFolder

LOG_BYTES = 64 << 10
_LOG_CUT_BYTES = 1 << 20
_READS_PER_POLL = 32
_CLOSE_TIMEOUT_S = 2.0


class ChildProcessTransport:
    """Starts ``<python> -I -X utf8 <package_root>/medai/worker/bootstrap.py`` and talks to it over its pipes.

    `python` is the environment's interpreter, `package_root` the folder that holds the package medai (None: this copy).
    `environment` replaces this process' variables; either way `scrubbed` takes out what must not reach the worker.
    `model_budget_mb` is what the worker may keep in loaded models. `script` replaces bootstrap.py in tests.
    `packages` is a folder with the worker's libraries for an interpreter that lacks them (Slicer's own Python). It is
    then not started with -I, because Slicer's launcher tells it by PYTHONHOME where its standard library is.
    """

    def __init__(
        self,
        python: Path | str,
        package_root: Path | str | None = None,
        environment: Mapping[str, str] | None = None,
        model_budget_mb: float | None = None,
        script: Path | None = None,
        packages: Path | None = None,
    ) -> None:
        root = Path(__file__).resolve().parents[2] if package_root is None else Path(package_root)
        self._python = Path(python)
        self._script = root / "medai" / "worker" / "bootstrap.py" if script is None else script
        self._environment = environment
        self._model_budget_mb = model_budget_mb
        self._packages = packages
        self._tree: ProcessTree | None = None
        self._dying: list[ProcessTree] = []
        self._exit: WorkerExit | None = None
        self._log: Path | None = None
        self._started = 0
        self._unsent = b""
        self._partial = bytearray()
        self._lines: deque[bytes] = deque()

    @property
    def pid(self) -> int | None:
        """The worker's process, None where there is none."""
        return self._tree.pid if self._tree else None

    def start(self, session: SessionFolder) -> None:
        """Start the process; EnvironmentFailure names the interpreter where that fails."""
        for path, what in ((self._python, "The interpreter"), (self._script, "The worker's program")):
            if not path.is_file():
                raise EnvironmentFailure(f"{what} '{path}' does not exist.", "Choose the interpreter in the settings.")
        self._forget()
        self._started += 1
        self._log = session.path / f"worker-{self._started}.log"
        flags, packages = ["-I"], []
        if self._packages is not None:
            flags, packages = ["-s", "-P"], ["--packages", str(self._packages)]
        command = [str(self._python), *flags, "-X", "utf8", str(self._script), *packages]
        command += ["--session", str(session.path), "--parent", str(os.getpid())]
        if self._model_budget_mb is not None:
            command += ["--model-budget-mb", str(self._model_budget_mb)]
        environment = scrubbed(os.environ if self._environment is None else self._environment)
        try:
            self._tree = ProcessTree(command, environment, self._log)
        except OSError as error:
            raise EnvironmentFailure(
                f"The interpreter '{self._python}' cannot be started: {error.strerror or error}.",
                "Choose another interpreter in the settings.",
            ) from error

    @property
    def running(self) -> bool:
        """Whether there is a worker that has not ended."""
        return self._tree is not None

    @property
    def idle(self) -> bool:
        """Whether no killed worker waits to be reaped and nothing waits to be sent."""
        return not self._dying and not self._unsent and not self._lines

    def send(self, line: bytes) -> None:
        """Send the line, as far as the pipe takes it now; the rest goes with the next `poll`."""
        self._unsent += line
        self._write()

    def poll(self, deliver: Deliver) -> None:
        """Send what waits, deliver what has come, notice an end, reap what was killed."""
        self._dying = [tree for tree in self._dying if not _reap(tree)]
        self._write()
        if self._tree is not None:
            # The exit is looked at first: what the worker wrote before it ended is then certainly in the pipe.
            returncode = self._tree.returncode()
            self._read(everything=returncode is not None)
            self._cut_log()
            if returncode is not None:
                self._exit = WorkerExit(returncode, self.log_tail())
                self._tree.close()
                self._tree = None
        while self._lines:
            deliver(self._lines.popleft())

    def take_exit(self) -> WorkerExit | None:
        """How the worker ended by itself, once."""
        if self._lines:
            return None
        found, self._exit = self._exit, None
        return found

    def log_tail(self) -> str:
        """The last 64 kB of what this worker wrote to stderr (and its libraries printed)."""
        if self._log is None or not self._log.is_file():
            return ""
        with self._log.open("rb") as stream:
            stream.seek(max(0, self._log.stat().st_size - LOG_BYTES))
            return stream.read(LOG_BYTES).decode("utf-8", "replace")

    def kill(self) -> None:
        """Kill the worker's process tree; it is reaped by the next calls of `poll`."""
        if self._tree is not None:
            self._tree.kill()
            self._dying.append(self._tree)
        self._tree = None
        self._forget()

    def close(self) -> None:
        """Kill the worker's process tree and wait for its end (milliseconds)."""
        self.kill()
        deadline_s = time.monotonic() + _CLOSE_TIMEOUT_S
        for tree in self._dying:
            tree.wait(max(0.0, deadline_s - time.monotonic()))
            tree.close()
        self._dying.clear()

    def _forget(self) -> None:
        self._unsent = b""
        self._partial.clear()
        self._lines.clear()
        self._exit = None
        if self._log is not None:
            self._log.unlink(missing_ok=True)
            self._log = None

    def _write(self) -> None:
        while self._unsent and self._tree is not None:
            count = self._tree.write(self._unsent)
            if count == 0:
                return
            self._unsent = self._unsent[count:]

    def _read(self, everything: bool) -> None:
        assert self._tree is not None
        reads = 0
        # Bounded, so that a flood of output cannot keep the caller's main loop here.
        while everything or reads < _READS_PER_POLL:
            data = self._tree.read()
            if not data:
                break
            reads += 1
            *whole, rest = data.split(b"\n")
            for part in whole:
                self._lines.append(bytes(self._partial) + part + b"\n")
                self._partial.clear()
            self._partial += rest
            if len(self._partial) > MAX_LINE_BYTES:  # the receiver refuses it
                self._lines.append(bytes(self._partial))
                self._partial.clear()

    def _cut_log(self) -> None:
        # The worker appends: what follows a cut begins at the new end.
        if self._log is None or not self._log.is_file() or self._log.stat().st_size < _LOG_CUT_BYTES:
            return
        tail = self.log_tail()
        os.truncate(self._log, 0)
        with self._log.open("ab") as stream:
            stream.write(tail.encode("utf-8"))


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that would make the worker load Slicer's Python, libraries or Qt plugins."""
    home = environment.get("SLICER_HOME", "")
    prefixes = ("PYTHON", "LD_", "DYLD_", "QT", "QML", "ITK_", "VTK_", "TCL_", "TK_", "SLICER_")
    kept = {name: value for name, value in environment.items() if not name.upper().startswith(prefixes)}
    for name in kept:
        if home and name.upper() == "PATH":  # Windows finds DLLs along PATH, and Slicer's launcher puts its own first
            folders = kept[name].split(os.pathsep)
            kept[name] = os.pathsep.join(f for f in folders if not os.path.abspath(f).startswith(os.path.abspath(home)))
    return kept


def _reap(tree: ProcessTree) -> bool:
    if tree.returncode() is None:
        return False
    tree.close()
    return True
