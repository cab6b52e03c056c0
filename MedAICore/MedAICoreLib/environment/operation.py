"""A long piece of work in slices: child processes that are polled, and steps in this process that end within a tick."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from medai.client.process_tree import ProcessTree
from medai.errors import Cancelled, MedAIError
from MedAICoreLib.environment.failures import diagnose, diagnose_error
from MedAICoreLib.environment.places import Places
from MedAICoreLib.environment.state import FolderLock

logger = logging.getLogger(__name__)

_OUTPUT_BYTES = 1 << 20
_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Part:
    """How far the present stage is (0 to 1), for work in this process; and a word on it, where there is one."""

    fraction: float
    detail: str = ""


@dataclass(frozen=True)
class Run:
    """A child process. `watch(new text)` tells how far it is (None: unchanged); its failure is raised in the steps, as
    a diagnosis, unless `may_fail`."""

    command: tuple[str, ...]
    variables: dict[str, str] = field(repr=False, default_factory=dict)
    watch: Callable[[str], Part | None] | None = None
    may_fail: bool = False


@dataclass(frozen=True)
class Finished:
    """How a child process ended: exit code, what it wrote to stdout and to stderr."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Stage:
    """What is being done now, and which part of the whole bar it takes."""

    text: str
    start: float
    stop: float


# A step yields what it wants done, or None to let the main loop have its turn.
Yielded = Run | Stage | Part | None
Steps = Generator[Yielded, Any, Any]


class OperationState(Enum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Operation:
    """Runs the steps of a generator, a slice per `advance`; from Slicer's timer, or in a loop without any Qt.

    The folder's lock is held meanwhile, so that no other process (nor another operation of this one) interferes;
    `after` is called when all went well and the lock was given back.
    """

    def __init__(self, name: str, places: Places, steps: Steps, after: Callable[[], None] | None = None) -> None:
        self.name = name
        self.state = OperationState.RUNNING
        self.stage = ""
        self.detail = ""
        self.fraction = 0.0
        self.result: Any = None
        self.error: MedAIError | None = None
        self.log: deque[str] = deque(maxlen=2000)
        self._places = places
        self._steps = steps
        self._after = after
        self._span = (0.0, 1.0)
        self._child: _Child | None = None
        self._cancel = False
        self._started = False
        self._lock = FolderLock(places)

    @property
    def running(self) -> bool:
        """Whether there is more to do."""
        return self.state is OperationState.RUNNING

    def cancel(self) -> None:
        """Stop at the next `advance`: the child process with all that it started is killed, downloads are kept."""
        self._cancel = True

    def advance(self, budget_s: float = 0.008) -> bool:
        """Do what can be done within about `budget_s`; True while there is more to do. Never waits for a child."""
        if not self.running:
            return False
        deadline = time.monotonic() + budget_s
        try:
            if not self._started:
                self._lock.acquire()
                self._started = True
            while True:
                if self._cancel:
                    raise Cancelled
                if self._child is None:
                    self._take(next(self._steps))
                else:
                    finished, may_fail = self._poll_child(), self._child.run.may_fail
                    if finished is None:
                        return True
                    self._go_on(finished, may_fail)
                if time.monotonic() > deadline:
                    return True
        except StopIteration as stop:
            self.result = stop.value
            self.fraction = 1.0
            self._end(OperationState.DONE)
        except Cancelled as cancelled:
            self._give_up(cancelled, OperationState.CANCELLED)
        except (MedAIError, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
            self._give_up(
                diagnose_error(error, str(self._places.root), self.stage or "preparing"), OperationState.FAILED
            )
        return False

    def finish(self, on_change: Callable[[Operation], None] | None = None, pause_s: float = 0.02) -> Any:
        """Run to the end and give the result, or raise the error; for the command line and tests."""
        while self.advance(0.05):
            if on_change is not None:
                on_change(self)
            time.sleep(pause_s if self._child is not None else 0.0)
        if self.error is not None:
            raise self.error
        return self.result

    def close(self) -> None:
        """Stop now (Slicer ends): the child is killed, the lock given back, the state left to be continued."""
        if self.running:
            self._give_up(Cancelled(), OperationState.CANCELLED)

    def _take(self, wanted: Yielded) -> None:
        if isinstance(wanted, Stage):
            self.stage, self._span, self.detail = wanted.text, (wanted.start, wanted.stop), ""
            self.fraction = wanted.start
            self._say(f"-- {wanted.text}")
        elif isinstance(wanted, Part):
            self._progress(wanted.fraction)
            self.detail = wanted.detail
        elif isinstance(wanted, Run):
            self._say(" ".join(wanted.command))
            try:
                self._child = _Child(wanted, self._places.log)
            except MedAIError as error:
                self._take(self._steps.throw(error))
                return
            self._lock.note_child(self._child.pid)

    def _go_on(self, finished: Finished, may_fail: bool) -> None:
        self._child = None
        self._lock.note_child(None)
        if finished.returncode == 0 or may_fail:
            self._take(self._steps.send(finished))
        else:  # the steps may know another way
            self._take(self._steps.throw(failure(finished, str(self._places.root), self.stage)))

    def _poll_child(self) -> Finished | None:
        assert self._child is not None
        child = self._child
        finished, text = child.poll()
        for line in text.splitlines():
            if line.strip():
                self._say(line)
                self.detail = line.strip()
        part = child.run.watch(text) if child.run.watch is not None else None
        if part is not None:
            self._take(part)
        return finished

    def _progress(self, part: float) -> None:
        start, stop = self._span
        self.fraction = max(self.fraction, start + (stop - start) * min(max(part, 0.0), 1.0))

    def _say(self, line: str) -> None:
        self.log.append(line)
        logger.debug("%s", line)

    def _give_up(self, error: MedAIError, state: OperationState) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None
        # The steps may have files open; what they raise on the way out must not hide the first error.
        with contextlib.suppress(MedAIError, OSError):
            self._steps.close()
        self.error = error
        self._say(f"{error}")
        self._end(state)

    def _end(self, state: OperationState) -> None:
        self.state = state
        if self._started:
            self._lock.release()
        if self._after is not None and state is OperationState.DONE:
            self._after()


def failure(finished: Finished, folder: str, stage: str) -> MedAIError:
    """The diagnosis of a child process that failed."""
    words = finished.stderr + finished.stdout
    if finished.returncode < 0:
        words += f"\nended with signal {-finished.returncode}"
    return diagnose(words, folder, stage or "installing")


class _Child:
    """A running process: stdout is collected, stderr goes to the log file and is followed there."""

    def __init__(self, run: Run, log: Path) -> None:
        self.run = run
        self._log = log
        self._offset = log.stat().st_size if log.exists() else 0
        self._stdout = bytearray()
        self._stderr = bytearray()
        try:
            self._tree = ProcessTree(run.command, run.variables, log)
        except OSError as error:
            raise diagnose(f"'{run.command[0]}' cannot be started: {error}", str(log.parent)) from error

    @property
    def pid(self) -> int:
        return self._tree.pid

    def poll(self) -> tuple[Finished | None, str]:
        """How it ended, or None, and what it has said since the last call. Does not wait."""
        returncode = self._tree.returncode()
        while data := self._tree.read():
            self._stdout += data
            if returncode is None and len(data) < _READ_BYTES:
                break
        new = self._read_log()
        if returncode is None:
            return None, new
        self._tree.close()
        stdout, stderr = (bytes(part).decode("utf-8", "replace") for part in (self._stdout, self._stderr))
        return Finished(returncode, stdout, stderr), new

    def _read_log(self) -> str:
        with self._log.open("rb") as stream:
            stream.seek(self._offset)
            new = stream.read(_READ_BYTES if self._tree.returncode() is None else _OUTPUT_BYTES)
        self._offset += len(new)
        self._stderr += new
        del self._stderr[:-_OUTPUT_BYTES]
        return new.decode("utf-8", "replace")

    def kill(self) -> None:
        self._tree.kill()
        self._tree.wait(2.0)
        self._tree.close()


def empty_log(places: Places) -> None:
    """Begin a new log."""
    places.root.mkdir(parents=True, exist_ok=True)
    if places.log.exists():
        os.truncate(places.log, 0)
