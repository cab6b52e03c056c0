"""Trainings as seen from Slicer: started as processes of their own, watched by their folders, found again.

    launcher = TrainingLauncher(command_line(python, packages))
    run = launcher.start(folder, TrainConfig(dataset=..., output=...))
    run.state()       # from a timer: "starting", "running", ...
    run.new_events()  # what has happened since the last call
    run.pause()       # the process writes a checkpoint, ends and frees the memory
    launcher.resume(folder)

Nothing here keeps a run alive: Slicer may quit, and `known_runs` finds its runs again. Standard library only; nothing
waits. The files are described in docs/training.md.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from medai.client.child_process import LOG_BYTES, scrubbed
from medai.config import from_json, read_json
from medai.config.training import TrainConfig
from medai.config.training_run import (
    END_EVENTS,
    RUN_EVENTS,
    Ask,
    Control,
    EventReader,
    Launch,
    RunFiles,
    as_one_run,
    read_control,
    read_launch,
    write_whole,
)
from medai.errors import ConfigError, EnvironmentFailure, MedAIError, OutputError, WorkerError, error_from_code
from medai.process_identity import ProcessIdentity

_log = logging.getLogger(__name__)
_BREAKAWAY_FROM_JOB = 0x01000000
# Processes that this one started: on POSIX an ended child stays until its parent asks for its exit code.
_children: dict[int, subprocess.Popen[bytes]] = {}

RunState = Literal["starting", "running", "pausing", "paused", "finished", "failed", "killed"]


class TrainingRun:
    """One run folder. Cheap to make; `new_events` gives every object its own place in the record."""

    def __init__(self, run_folder: Path | str) -> None:
        self.folder = Path(run_folder)
        self.files = RunFiles(self.folder)
        self._readers: dict[Path, EventReader] = {}
        self._state_reader = EventReader(self.files.progress)
        self._last: dict[str, Any] | None = None  # the last event of the run as a whole
        self._trains = False  # whether training has begun in the part of the run that is under way
        self._end: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The folder's name, without a suffix ``.run``."""
        return self.folder.name.removesuffix(".run")

    def config(self) -> TrainConfig:
        """What the run was started with; ConfigError where train.json is missing or damaged."""
        return from_json(TrainConfig, read_json(self.files.options), f"{self.files.options}:")

    def state(self) -> RunState:
        """Where the run stands now.

        ``starting`` lasts until the first step (libraries are loaded, data are prepared: see `stage`); ``killed``: the
        process is gone without a word (a crash, no memory, power), ``paused``: it went on request or was never
        started. From ``paused``, ``failed`` and ``killed`` a run can be resumed.
        """
        self._follow()
        if self._alive():
            if self.asked() == "pause":
                return "pausing"
            return "running" if self._trains else "starting"
        self._follow()  # what the process wrote between the first look and its end
        launch = read_launch(self.files)
        if launch is not None and self._end is not None and self._end.get("time", 0.0) < launch.time - 0.1:
            return "killed"  # the process that was started after that end never came as far as its first word
        if self._end is None:
            return "killed" if self._last is not None or self.files.launch.is_file() else "paused"
        ends: dict[str, RunState] = {"done": "finished", "paused": "paused", "error": "failed"}
        return ends[self._end["event"]]

    def stage(self) -> str:
        """What the process does: preparing, training, evaluating, packaging; empty before it said so."""
        self._follow()
        return str(self._last.get("stage", "")) if self._last is not None else ""

    def asked(self) -> Ask | None:
        """What was asked of the process and has not happened yet: ``pause``, ``stop``, or None."""
        launch = read_launch(self.files)
        return read_control(self.files, launch.time if launch is not None else 0.0)

    def new_events(self) -> list[dict[str, Any]]:
        """Events since the last call, of all folds (``fold`` says which where there are several), oldest first.

        After a ``start`` or ``resume`` event, points of later steps that came before it are to be dropped:
        `medai.config.training_run.as_one_run` does that.
        """
        folds = self.files.folds()
        events: list[dict[str, Any]] = []
        for files in [self.files, *folds]:
            reader = self._readers.setdefault(files.root, EventReader(files.progress))
            fold = {} if files is self.files else {"fold": int(files.root.name[5:])}
            events += [{**event, **fold} for event in reader.new()]
        return sorted(events, key=lambda event: float(event.get("time", 0.0))) if folds else events

    def events(self) -> list[dict[str, Any]]:
        """The whole record as that of an unbroken run: no step twice, whatever was killed on the way."""
        return as_one_run(TrainingRun(self.folder).new_events())

    def pause(self) -> None:
        """Ask the process to write a checkpoint and end; `TrainingLauncher.resume` goes on. Does not wait."""
        self._ask("pause")

    def stop(self) -> None:
        """Ask the process to finish with what it has: it is validated and packaged as it is. Does not wait."""
        self._ask("stop")

    def kill(self) -> None:
        """End the process at once; what was trained since the last checkpoint is lost."""
        owner = self._owner()
        if owner is None:
            return
        _log.warning("The training in '%s' (process %d) is killed.", self.folder, owner.pid)
        _kill_tree(owner.pid)

    def error(self) -> MedAIError | None:
        """Why the run failed or was killed, with the remedy; None in every other state."""
        state = self.state()
        if state == "failed" and self._end is not None:
            texts = (str(self._end.get(key, "")) for key in ("code", "message", "remedy"))
            return error_from_code(*texts)
        if state != "killed":
            return None
        last = self.log_tail().strip().splitlines()[-1:]
        return WorkerError(
            "The training's process ended without a word" + (f": {last[0][:300]}" if last else "."),
            "Resume it: it goes on from its last checkpoint. If it ends again, memory is probably too small: choose a "
            "smaller patch or batch in a new run.",
        )

    def result(self) -> dict[str, Any] | None:
        """The ``done`` event of a finished run: output, metrics, minutes; None before."""
        state = self.state()
        return self._end if state == "finished" else None

    def log_tail(self) -> str:
        """The last 64 kB of what the process wrote to stderr."""
        try:
            with self.files.log.open("rb") as stream:
                stream.seek(max(0, self.files.log.stat().st_size - LOG_BYTES))
                return stream.read(LOG_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _follow(self) -> None:
        for event in self._state_reader.new():
            kind = event.get("event")
            if kind not in RUN_EVENTS:
                continue
            self._last = event
            self._end = event if kind in END_EVENTS else None
            self._trains = event.get("stage") not in (None, "preparing") if kind == "stage" else False

    def _owner(self) -> ProcessIdentity | None:
        return _living(self.files.lock, ProcessIdentity) or self._launched()

    def _launched(self) -> ProcessIdentity | None:
        launch = read_launch(self.files)
        if launch is None:
            return None
        child = _children.get(launch.pid)
        if child is not None and child.poll() is not None:
            del _children[launch.pid]
        identity = ProcessIdentity(launch.pid, launch.started)
        return identity if identity.alive() else None

    def _alive(self) -> bool:
        return self._owner() is not None

    def _ask(self, what: Ask) -> None:
        if not self._alive():
            raise ConfigError(f"No process trains in '{self.folder}' now.", "Resume the run first.")
        write_whole(self.files.control, Control(what, time.time()))


class TrainingLauncher:
    """Starts trainings with `command`, what `medai.client.commands.command_line` gives.

    `environment` replaces this process' variables; those that would make another Python load Slicer's libraries are
    taken out either way.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = environment

    def start(self, run_folder: Path | str, config: TrainConfig) -> TrainingRun:
        """Start a new run in a folder that holds none; ConfigError where it does."""
        run = TrainingRun(run_folder)
        if run.files.options.is_file() or run.files.config.is_file() or run.files.progress.is_file():
            raise ConfigError(f"'{run.folder}' holds an earlier run.", "Resume that, or choose a new folder.")
        write_whole(run.files.options, replace(config, run_folder=str(run.folder), resume=False))
        self._launch(run)
        return run

    def resume(self, run_folder: Path | str) -> TrainingRun:
        """Go on with a run that was paused, failed or was killed; ConfigError where it runs or is finished."""
        run = TrainingRun(run_folder)
        state = run.state()
        if state not in ("paused", "failed", "killed"):
            raise ConfigError(f"The run in '{run.folder}' is {state}.", "Only one that was interrupted can go on.")
        run.config()  # says what is wrong with train.json before a process does
        self._launch(run)
        return run

    def _launch(self, run: TrainingRun) -> None:
        """Start the process that goes on in this folder, independent of this one."""
        if not Path(self._command[0]).is_file():
            raise EnvironmentFailure(
                f"The interpreter '{self._command[0]}' does not exist.", "Choose the interpreter in the settings."
            )
        run.files.control.unlink(missing_ok=True)
        asked = time.time()
        command = [*self._command, "train", "--run-folder", str(run.folder), "--resume"]
        environment = scrubbed(os.environ if self._environment is None else self._environment)
        try:
            child = _start_detached(command, environment, run.files.log)
        except OSError as error:
            raise EnvironmentFailure(
                f"The interpreter '{self._command[0]}' cannot be started: {error.strerror or error}.",
                "Choose another interpreter in the settings.",
            ) from error
        _children[child.pid] = child
        identity = ProcessIdentity.of(child.pid) or ProcessIdentity(child.pid, 0)
        write_whole(run.files.launch, Launch(identity.pid, identity.started, asked))


def known_runs(folder: Path | str) -> list[TrainingRun]:
    """The runs whose folders lie directly in `folder`, the one that was touched last first."""
    root = Path(folder)
    if not root.is_dir():
        return []
    found = [TrainingRun(path) for path in root.iterdir() if RunFiles(path).options.is_file()]
    return sorted(found, key=_touched, reverse=True)


def _touched(run: TrainingRun) -> float:
    times = []
    for path in (run.files.options, run.files.progress, run.files.launch):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def _living(path: Path, kind: type[ProcessIdentity]) -> ProcessIdentity | None:
    if not path.is_file():
        return None
    try:
        identity = from_json(kind, read_json(path), str(path))
    except ConfigError:  # half written by a process that was killed then
        return None
    return identity if identity.alive() else None


def _start_detached(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process that goes on when this one, its terminal or its Slicer ends; what it prints goes to `log`."""
    try:
        stream = log.open("ab")
    except OSError as error:
        raise OutputError(f"'{log}' cannot be written: {error.strerror or error}.", "Choose another folder.") from error
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": stream, "env": environment}
    with stream:
        if sys.platform != "win32":
            return subprocess.Popen(list(command), start_new_session=True, **options)
        # No window, rather than no console at all: programs that the trainer starts would each open one.
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            return subprocess.Popen(list(command), creationflags=flags | _BREAKAWAY_FROM_JOB, **options)
        except PermissionError:  # we live in a job that lets nobody out: then it ends with that job
            return subprocess.Popen(list(command), creationflags=flags, **options)


def _kill_tree(pid: int) -> None:
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/PID", str(pid), "/T", "/F"],
            check=False,
            creationflags=subprocess.CREATE_NO_WINDOW,
            capture_output=True,
        )
        return
    try:
        # It leads a group of its own where we started it; from a terminal it may not.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        _log.warning("Process %d is gone, or belongs to somebody else.", pid)
