"""A whole run in its folder's record: when it began, what it does, how it ended; and what is asked of it meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from medai.config.training import TrainConfig
from medai.config.training_run import Ask, read_control, read_launch, write_whole
from medai.errors import Cancelled, ConfigError, MedAIError, OutOfMemoryError, is_out_of_memory, output_error
from medai.progress import CancelCheck, Progress, ProgressCallback
from medai.training.run_folder import RunFolder

_LOOK_EVERY_S = 0.25
_REPORT_EVERY_S = 2.0


class RunRecord:
    """What `recorded` gives to the use case: it tells the record where the run is, and asks whether to go on."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._since = _asked_since(folder)
        self._looked_s = float("-inf")
        self._asked: Ask | None = None
        self._reported_s = float("-inf")
        self.ended = False

    def stage(self, name: str, **values: Any) -> None:
        """The run now does `name`: preparing, training, evaluating, packaging."""
        self.folder.report("stage", stage=name, **values)

    def done(self, **values: Any) -> None:
        """The run has reached its end; `values` say with what: output, metrics, steps, minutes."""
        self.folder.report("done", **values)
        self.ended = True

    def stop_asked(self) -> bool:
        """Whether a person wants the run to finish with what it has."""
        return self._look() == "stop"

    def interrupted(self, cancelled: CancelCheck) -> CancelCheck:
        """`cancelled`, or a person wants a pause."""
        return lambda: cancelled() or self._look() == "pause"

    def told(self, progress: ProgressCallback, stage: str) -> ProgressCallback:
        """`progress`, and every other second the share of the stage in the record."""

        def report(inner: Progress) -> None:
            progress(inner)
            if time.monotonic() - self._reported_s >= _REPORT_EVERY_S:
                self._reported_s = time.monotonic()
                self.stage(stage, fraction=round(inner.fraction, 4))

        return report

    def _look(self) -> Ask | None:
        if self._asked is None and time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            self._asked = read_control(self.folder, self._since)
        return self._asked


@contextmanager
def recorded(config: TrainConfig, root: Path) -> Iterator[RunRecord]:
    """Hold the run folder while a run lasts, and write its beginning and its end into the record.

    The end is ``done`` (the use case said so), ``paused`` (it left without, or was cancelled), or ``error`` with
    message and remedy, which is raised again; a lack of memory becomes OutOfMemoryError. Raises ConfigError where
    another process trains there, or the folder holds an earlier run that `config` does not resume.
    """
    folder = RunFolder(root)
    with folder.locked():
        begun = folder.config.is_file() or folder.folds() or (root / "cache" / "dataset.json").is_file()
        if begun and not config.resume:
            raise ConfigError(
                f"'{root}' holds an earlier run.", "Go on with it by --resume, or remove that folder to start again."
            )
        if not (config.resume and folder.options.is_file()):
            write_whole(folder.options, _portable(config, root))
        record = RunRecord(folder)
        folder.report("begin", pid=os.getpid(), task=config.task, folds=config.folds, resumed=config.resume)
        try:
            _make_folder(Path(config.output).parent)
            yield record
            if not record.ended:
                folder.report("paused")
        except Cancelled:
            folder.report("paused")
            raise
        except Exception as error:
            failure = _explained(error)
            folder.report("error", code=failure.code, message=failure.message, remedy=failure.remedy)
            if failure is error:
                raise
            if isinstance(failure, OutOfMemoryError):
                raise failure from error
            raise
        finally:
            folder.control.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def _explained(error: Exception) -> MedAIError:
    if isinstance(error, MedAIError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(
            f"Memory ran out while training: {str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            "Choose a smaller patch or batch, or fewer channels (width), in a new run; close other programs.",
        )
    return MedAIError(
        f"Unexpected {type(error).__name__}: {error}", "This is a defect of MedAI: report it with the run's log."
    )


def _portable(config: TrainConfig, root: Path) -> TrainConfig:
    """The options with paths that mean the same from any folder."""
    description = str(Path(config.description).absolute()) if config.description else ""
    parent = Path(config.finetune_from)
    return replace(
        config,
        dataset=str(Path(config.dataset).absolute()),
        output=str(Path(config.output).absolute()),
        description=description,
        finetune_from=str(parent.absolute()) if config.finetune_from and parent.exists() else config.finetune_from,
        run_folder=str(root.absolute()),
        resume=False,
    )


def _asked_since(folder: RunFolder) -> float:
    """What was asked before belongs to an earlier process: since the start of this one, by whoever started it."""
    launch = read_launch(folder)
    # The parent: an interpreter of Windows' virtual environments is started by a program that waits for it.
    if launch is not None and launch.pid in (os.getpid(), os.getppid()):
        return launch.time
    return time.time()
