"""Several GPUs (on a CPU: processes) of one machine that train one network: torchrun starts this module in each.

    python -m torch.distributed.run --standalone --nproc-per-node N -m medai.training.together RUN_FOLDER/together.json

`train_together` is what the use case calls: it starts them, hands on requests to pause or stop, and comes back with the
outcome. Every process takes `batch_size` patches of its own; gradients are averaged and the sums of the Dice loss added
up, so that N processes do what one with N times the batch would. The first alone writes files.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed

from medai.config import from_json, read_json
from medai.config.training_run import write_whole
from medai.dataset.cache import Cache, open_cache
from medai.errors import ConfigError, EnvironmentFailure, MedAIError
from medai.process_identity import ProcessIdentity
from medai.progress import CancelCheck, Progress, ProgressCallback, never_cancelled, no_progress
from medai.training.checkpoint import load_checkpoint
from medai.training.loop import Outcome, Trainer
from medai.training.precision import Compute, choose_compute
from medai.training.ranks import Ranks
from medai.training.run_folder import RunFolder

_REQUEST, _ASK, _RESULT, _LOG = "together.json", "together.ask", "together.result.json", "together.log"
_POLL_S = 0.2
_LOOK_EVERY_S = 1.0
# The others wait while the first validates.
_PATIENCE = datetime.timedelta(hours=12)
_SHOWN_LOG = 1500


@dataclass(frozen=True)
class Request:
    """What every process is told: the cache, the kind of device, whether to go on, and who waits for the result."""

    cache: str
    device: str
    resume: bool
    owner: ProcessIdentity


@dataclass(frozen=True)
class Result:
    """How it ended; `error` and `remedy` where it could not."""

    dice: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    finished: bool = False
    stopped_early: bool = False
    error: str = ""
    remedy: str = ""


class QuietFolder(RunFolder):
    """The run folder as the other processes see it: they write nothing."""

    def report(self, event: str, **values: object) -> None:
        """Nothing: the first process keeps the record."""


def check_devices(count: int, compute: Compute) -> None:
    """Raise EnvironmentFailure or ConfigError where `count` processes cannot each have a device."""
    if count == 1 or compute.device.type == "cpu":
        return
    if compute.device.type != "cuda":
        raise ConfigError(f"gpus is {count} on the device '{compute.device}'.", "Use CUDA GPUs, or --device cpu.")
    if compute.device.index is not None:
        raise ConfigError(f"gpus is {count} and the device '{compute.device}'.", "Leave the device's number out.")
    if torch.cuda.device_count() < count:
        raise EnvironmentFailure(
            f"{count} GPUs were asked for, torch sees {torch.cuda.device_count()}.", "Give a smaller number of GPUs."
        )


def train_together(
    folder: RunFolder,
    cache: Cache,
    device: str,
    resume: bool,
    stop_asked: Callable[[], bool],
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> Outcome:
    """Train in as many processes as the folder's settings say; as `Trainer.run`, whose checkpoint is left behind."""
    settings = folder.read_settings()
    for name in (_ASK, _RESULT):
        (folder.root / name).unlink(missing_ok=True)
    request = Request(str(cache.root.absolute()), device, resume, ProcessIdentity.current())
    write_whole(folder.root / _REQUEST, request)
    command = [
        sys.executable, "-X", "utf8", "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={settings.processes}", "-m", "medai.training.together",
        str((folder.root / _REQUEST).absolute()),
    ]  # fmt: skip
    with (folder.root / _LOG).open("w", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        try:
            _wait(process, folder, stop_asked, progress, cancelled)
        finally:
            if process.poll() is None:  # this process itself is being ended
                process.terminate()
    return _outcome(folder, process.returncode)


def _wait(
    process: subprocess.Popen[bytes],
    folder: RunFolder,
    stop_asked: Callable[[], bool],
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> None:
    """Wait for the end; requests are handed on in a file, which works on every system, and progress is read back."""
    looked_s = time.monotonic()
    while process.poll() is None:
        if not (folder.root / _ASK).exists():
            ask = "pause" if cancelled() else "stop" if stop_asked() else ""
            if ask:
                (folder.root / _ASK).write_text(ask, encoding="utf-8")
        if time.monotonic() - looked_s >= _LOOK_EVERY_S:
            looked_s = time.monotonic()
            steps = [event for event in folder.events() if event.get("event") == "step"]
            if steps:
                progress(Progress(float(steps[-1]["fraction"]), "training", steps[-1].get("eta_s")))
        time.sleep(_POLL_S)


def _outcome(folder: RunFolder, code: int) -> Outcome:
    if not (folder.root / _RESULT).is_file():
        text = (folder.root / _LOG).read_text(encoding="utf-8", errors="replace").strip()
        raise MedAIError(
            f"The processes that train together ended with code {code}: {text[-_SHOWN_LOG:]}",
            f"See '{folder.root / _LOG}'; train with one process, or go on with --resume.",
        )
    result = from_json(Result, read_json(folder.root / _RESULT), str(folder.root / _RESULT))
    if result.error:
        raise MedAIError(result.error, result.remedy)
    state = load_checkpoint(folder.checkpoint, torch.device("cpu"))
    return Outcome(state["average"], result.dice, result.steps, result.seconds, result.finished, result.stopped_early)


def _environment() -> dict[str, str]:
    """The children find this very `medai` and its libraries, wherever this process has them from."""
    home = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([home, *filter(None, sys.path)]))}
    if sys.platform == "win32":
        environment["USE_LIBUV"] = "0"  # torch's wheels for Windows have no libuv, which its store would ask for
    return environment


def main(arguments: list[str]) -> int:
    """One of the processes; the first leaves the result behind."""
    path = Path(arguments[0])
    request = from_json(Request, read_json(path), str(path))
    compute = _compute(request.device)
    backend = "nccl" if compute.device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    ranks = Ranks.current()
    folder = (RunFolder if ranks.first else QuietFolder)(path.parent)
    try:
        result = _train(folder, request, compute, ranks)
    except MedAIError as error:
        _leave(path.parent / _RESULT, Result(error=error.message, remedy=error.remedy), ranks)
        return 1  # torchrun then ends the others, which may be waiting for this one
    if ranks.first:
        write_whole(path.parent / _RESULT, result)
    torch.distributed.destroy_process_group()
    return 0


def _leave(path: Path, result: Result, ranks: Ranks) -> None:
    """Write why this process failed, unless the first one, which mostly fails with it, has done so."""
    if not ranks.first:
        time.sleep(_LOOK_EVERY_S)
        if path.is_file():
            return
    write_whole(path, result)


def _compute(device: str) -> Compute:
    if device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
        return choose_compute("cpu")
    compute = choose_compute(f"cuda:{os.environ['LOCAL_RANK']}")
    torch.cuda.set_device(compute.device)
    return compute


def _train(folder: RunFolder, request: Request, compute: Compute, ranks: Ranks) -> Result:
    settings = folder.read_settings()
    cache = open_cache(Path(request.cache))
    by_name = {case.name: case for case in cache.card.cases}
    trainer = Trainer(settings, compute, folder)
    if request.resume and folder.checkpoint.is_file():
        trainer.restore()
    else:
        folder.start()
    asked = _Asked(folder.root / _ASK, request.owner)
    trainer.stop_asked = asked.stop if ranks.first else never_cancelled
    outcome = trainer.run(
        [cache.load(by_name[name]) for name in settings.training_cases],
        [cache.load(by_name[name]) for name in settings.validation_cases] if ranks.first else [],
        no_progress,
        asked.pause if ranks.first else never_cancelled,
    )
    return Result(outcome.dice, outcome.steps, outcome.seconds, outcome.finished, outcome.stopped_early)


class _Asked:
    """What the waiting process asks for; where that process is gone, a pause."""

    def __init__(self, path: Path, owner: ProcessIdentity) -> None:
        self._path, self._owner = path, owner
        self._looked_s = float("-inf")
        self._ask = ""

    def pause(self) -> bool:
        return self._look() == "pause"

    def stop(self) -> bool:
        return self._look() == "stop"

    def _look(self) -> str:
        if not self._ask and time.monotonic() - self._looked_s >= _POLL_S:
            self._looked_s = time.monotonic()
            if self._path.is_file():
                self._ask = self._path.read_text(encoding="utf-8")
            elif not self._owner.alive():
                self._ask = "pause"
        return self._ask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
