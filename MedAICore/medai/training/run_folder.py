"""The run folder of a training: config.json, progress.jsonl, lock, checkpoints/latest.pt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medai.config import from_json, read_json, to_json
from medai.errors import ConfigError
from medai.process_identity import ProcessIdentity
from medai.training.settings import TrainingSettings


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of one training run."""

    root: Path

    @property
    def config(self) -> Path:
        """The run's `TrainingSettings`."""
        return self.root / "config.json"

    @property
    def progress(self) -> Path:
        """One JSON object a line: start, step, validation, checkpoint, end."""
        return self.root / "progress.jsonl"

    @property
    def lock(self) -> Path:
        """Process id and start time of the process that trains here now."""
        return self.root / "lock"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.root / "checkpoints" / "latest.pt"

    def write_settings(self, settings: TrainingSettings) -> None:
        """Store the settings, atomically."""
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / ".config.json.part"
        temporary.write_text(json.dumps(to_json(settings), indent=1), encoding="utf-8")
        temporary.replace(self.config)

    def read_settings(self, kind: type[TrainingSettings] = TrainingSettings) -> TrainingSettings:
        """The settings that this run was started with; `kind` is the class of the task."""
        return from_json(kind, read_json(self.config), f"{self.config}:")

    def report(self, event: str, **values: Any) -> None:
        """Append one event to progress.jsonl."""
        with self.progress.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"event": event, "time": round(time.time(), 1), **values}) + "\n")

    def events(self) -> list[dict[str, Any]]:
        """All events so far; a line that a killed process left unfinished is dropped."""
        if not self.progress.is_file():
            return []
        events = []
        for line in self.progress.read_text(encoding="utf-8").splitlines():
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return events

    def start(self) -> None:
        """Begin a new record: an earlier one that left no checkpoint is dropped."""
        self.progress.unlink(missing_ok=True)
        self.report("start", step=0)

    def forget_after(self, step: int) -> None:
        """Drop the events of steps that a resumed run does again."""
        kept = [event for event in self.events() if event.get("step", 0) <= step]
        temporary = self.root / ".progress.jsonl.part"
        temporary.write_text("".join(json.dumps(event) + "\n" for event in kept), encoding="utf-8")
        temporary.replace(self.progress)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run: ConfigError where another living process trains in this folder."""
        self.root.mkdir(parents=True, exist_ok=True)
        owner = self.owner()
        if owner is not None and owner != ProcessIdentity.current():
            raise ConfigError(
                f"Process {owner.pid} is training in '{self.root}' now.", "Wait for it, stop it, or use another folder."
            )
        self.lock.write_text(json.dumps(to_json(ProcessIdentity.current())), encoding="utf-8")
        try:
            yield
        finally:
            self.lock.unlink(missing_ok=True)

    def owner(self) -> ProcessIdentity | None:
        """The living process that holds the lock, or None: a killed process leaves its lock behind."""
        if not self.lock.is_file():
            return None
        try:
            owner = from_json(ProcessIdentity, read_json(self.lock), str(self.lock))
        except ConfigError:  # half written by a process that was killed then
            return None
        return owner if owner.alive() else None
