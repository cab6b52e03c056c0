"""The run folder of a training, as the trainer sees it (docs/training.md describes the files)."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from medai.config import from_json, read_json, to_json
from medai.config.training_run import RunFiles, as_one_run, parse_events, write_whole
from medai.errors import ConfigError
from medai.process_identity import ProcessIdentity
from medai.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
_LOG_BYTES = 1 << 20  # of training.log; a longer one is cut
_LOG_KEPT_BYTES = 64 << 10


@dataclass(frozen=True)
class RunFolder(RunFiles):
    """The files of the training of one network, and what the trainer does with them."""

    def write_settings(self, settings: TrainingSettings) -> None:
        """Store the settings, atomically."""
        write_whole(self.config, settings)

    def read_settings(self, kind: type[TrainingSettings] = TrainingSettings) -> TrainingSettings:
        """The settings that this run was started with; `kind` is the class of the task."""
        return from_json(kind, read_json(self.config), f"{self.config}:")

    def report(self, event: str, **values: Any) -> None:
        """Append one event to progress.jsonl, in one write; where the disk is full the curve has a gap, no more."""
        line = json.dumps({"event": event, "time": round(time.time(), 1), **values}) + "\n"
        try:
            with self.progress.open("ab+", buffering=0) as stream:
                if stream.tell() and not _ends_a_line(stream):
                    line = "\n" + line  # a process that was killed left half a line
                stream.write(line.encode("utf-8"))
            self._cut_log()
        except OSError as error:
            _log.warning("'%s' cannot be written: %s", self.progress, error)

    def events(self) -> list[dict[str, Any]]:
        """The record so far as that of an unbroken run, see `as_one_run`."""
        if not self.progress.is_file():
            return []
        return as_one_run(parse_events(self.progress.read_bytes().split(b"\n")))

    def start(self) -> None:
        """Begin the training's record: that of an earlier process which left no checkpoint does not count."""
        self.report("start", step=0)

    def forget_after(self, step: int) -> None:
        """Training goes on from `step`: what was recorded of later steps, which are done again, does not count."""
        self.report("resume", step=step)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run: ConfigError where another living process trains in this folder. It may be held twice."""
        self.root.mkdir(parents=True, exist_ok=True)
        owner = self.owner()
        if owner == ProcessIdentity.current():
            yield
            return
        if owner is not None:
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

    def _cut_log(self) -> None:
        # It was opened to append by who started us: what follows a cut begins at the new end.
        if not self.log.is_file() or self.log.stat().st_size < _LOG_BYTES:
            return
        with self.log.open("rb+") as stream:
            stream.seek(-_LOG_KEPT_BYTES, os.SEEK_END)
            tail = stream.read()
            stream.seek(0)
            stream.write(tail)
            stream.truncate()


def _ends_a_line(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return bool(stream.read(1) == b"\n")
