"""What the trainer and those who watch it agree on: the files of a run folder, the control file, the record of events.

docs/training.md describes the folder. Standard library only: Slicer watches a run before any environment exists.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medai.config.validation import from_json, read_json, to_json
from medai.errors import ConfigError, OutputError

Ask = Literal["pause", "stop"]
RUN_EVENTS = ("begin", "stage", "paused", "done", "error")
"""Events of the run as a whole; they have no step. All others come from the training of one network."""
END_EVENTS = ("paused", "done", "error")
"""The last event of a process that was not killed."""


@dataclass(frozen=True)
class RunFiles:
    """Names of the files of one training run; with several folds each has a folder ``fold-N`` of the same shape."""

    root: Path

    @property
    def options(self) -> Path:
        """The `TrainConfig` that the run was started with."""
        return self.root / "train.json"

    @property
    def config(self) -> Path:
        """What was derived from it: the trainer's `TrainingSettings`."""
        return self.root / "config.json"

    @property
    def control(self) -> Path:
        """What a person asks of the process, see `Control`."""
        return self.root / "control.json"

    @property
    def progress(self) -> Path:
        """One JSON object a line, only ever appended to; see `as_one_run`."""
        return self.root / "progress.jsonl"

    @property
    def lock(self) -> Path:
        """Process id and start time of the process that trains here now."""
        return self.root / "lock"

    @property
    def launch(self) -> Path:
        """The process that was started last, see `Launch`; before it has taken the lock, this tells that it lives."""
        return self.root / "launch.json"

    @property
    def log(self) -> Path:
        """What the process wrote to stderr; its beginning is cut off when it grows."""
        return self.root / "training.log"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.root / "checkpoints" / "latest.pt"

    @property
    def preview(self) -> Path:
        """One validation case as the network sees it, replaced at every validation: see `medai.training.preview`."""
        return self.root / "preview.npz"

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluation on the run's own validation cases."""
        return self.root / "evaluation"

    def folds(self) -> list[RunFiles]:
        """The folders of the folds that were begun; empty for a run of one network."""
        found = [p for p in self.root.glob("fold-*") if p.name[5:].isdigit() and p.is_dir()]
        return [RunFiles(path) for path in sorted(found, key=lambda p: int(p.name[5:]))]


@dataclass(frozen=True)
class Launch:
    """The process that was started for a run (as `medai.process_identity.ProcessIdentity`), and when (since 1970)."""

    pid: int
    started: int
    time: float


@dataclass(frozen=True)
class Control:
    """control.json: ``pause`` writes a checkpoint and ends the process, ``stop`` packages what there is."""

    ask: Ask
    time: float


def read_launch(files: RunFiles) -> Launch | None:
    """The process that was started last; None where none was, or the file was torn by a crash."""
    return _read_or_none(Launch, files.launch)


def read_control(files: RunFiles, since: float = 0.0) -> Ask | None:
    """What a person has asked since that time; None where nothing is asked."""
    control = _read_or_none(Control, files.control)
    return control.ask if control is not None and control.time >= since else None


def write_whole(path: Path, data: Any) -> None:
    """Write a dataclass (or plain data) as JSON, whole or not at all; OutputError where that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(to_json(data), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        replace_file(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"'{path}' cannot be written: {error.strerror or error}.", "Free space on that disk, or choose another."
        ) from error


def replace_file(source: Path, target: Path, patience_s: float = 2.0) -> None:
    """Rename over `target`. On Windows that waits, up to `patience_s`, until nobody is reading it."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def as_one_run(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The record of a run that was interrupted as that of an unbroken one: no step twice, none left out.

    ``start`` and ``resume`` carry the step that training goes on from: what was recorded of later steps was lost with
    the process and is dropped. An event that is recorded again for the same step takes the place of the older one.
    """
    kept: dict[Any, dict[str, Any]] = {}
    for number, event in enumerate(events):
        step, kind, fold = event.get("step"), event.get("event"), event.get("fold")
        if not isinstance(step, int):
            kept[number] = event
            continue
        if kind in ("start", "resume"):
            kept = {k: e for k, e in kept.items() if e.get("fold") != fold or _stays(e, step, kind == "start")}
        kept.pop((kind, fold, step), None)
        kept[kind, fold, step] = event
    return list(kept.values())


def _stays(event: dict[str, Any], step: int, anew: bool) -> bool:
    at = event.get("step")
    return not isinstance(at, int) or (at <= step and not anew)


class EventReader:
    """Reads what was appended to a progress.jsonl since the last time; a line that is still being written waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """The new events in order; a line that a killed process left unfinished is left out."""
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data.rpartition(b"\n")[0]
        self._offset += len(whole) + 1 if whole else 0
        return parse_events(whole.split(b"\n"))


def parse_events(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """The events of these lines; what a killed process left unfinished is left out."""
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _read_or_none(kind: Any, path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return from_json(kind, read_json(path), str(path))
    except ConfigError:  # torn by a crash, or just being replaced
        return None
