"""The training loop: read it from top to bottom.

One step: draw patches, augment them on the device, forward, loss, backward, clip, optimiser, average of the weights.
At equal parts of the run the averaged network is validated; every few minutes a checkpoint is written. A run that was
killed goes on from its checkpoint with the same numbers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import nn

from medai.augmentation import augment
from medai.dataset.cache import CaseArrays
from medai.errors import Cancelled, MedAIError
from medai.losses import DeepSupervision, merge_unknown, segmentation_loss
from medai.networks import build_network, load_weights
from medai.progress import CancelCheck, Progress, ProgressCallback
from medai.training.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint
from medai.training.ema import WeightAverage
from medai.training.precision import Compute
from medai.training.preview import write_preview
from medai.training.ranks import Ranks
from medai.training.reporter import Reporter, remaining_s
from medai.training.run_folder import RunFolder
from medai.training.sampling import Batch, PatchSampler
from medai.training.schedule import learning_rate, run_fraction
from medai.training.settings import TrainingSettings
from medai.training.validation import validate

_log = logging.getLogger(__name__)
_MOST_CHECKPOINT_MINUTES = 5.0
_SAVED_LATELY_S = 60.0
_BAD_STEPS = 50  # so many steps in a row without a finite gradient, and the run has failed


@dataclass(frozen=True)
class Outcome:
    """Result of a run: the averaged weights, the last validation's Dice by label, and how far the run came.

    `finished` is False for a run that was interrupted and can go on. One that was stopped early is finished, with
    `stopped_early`: that its schedule was not done.
    """

    weights: dict[str, torch.Tensor]
    dice: dict[str, float]
    steps: int
    seconds: float
    finished: bool
    stopped_early: bool = False


class Sampler(Protocol):
    """What draws the batch of a step, from the step's number alone."""

    def batch(self, step: int) -> Batch:
        """The batch of step `step`."""


class Trainer:
    """State of one run: network, average, optimiser, step, seconds of training so far.

    `stop_asked` is looked at between steps: where it says so, the run ends as if its schedule were done.
    """

    def __init__(self, settings: TrainingSettings, compute: Compute, folder: RunFolder) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.compute, self.folder = settings, compute, folder
        self.flat = settings.patch[0] == 1
        layout = compute.memory_format(2 if self.flat else 3)
        network = build_network(settings.network.name, settings.network.arguments)
        if settings.initial_weights:
            load_weights(network, load_file(folder.root / settings.initial_weights))
        self._still = freeze(network, settings.frozen)
        self.network: nn.Module = network.to(compute.device).to(memory_format=layout)  # type: ignore[call-overload]
        self.ranks = Ranks.current()
        self.average = WeightAverage(self.network, settings.ema_decay)
        self._parallel = self.ranks.wrap(self.network)
        if not self.ranks.first:
            torch.manual_seed(settings.seed + self.ranks.rank)  # dropout of its own; the weights are the first's
        self.optimizer = make_optimizer(self.network, settings)
        self.loss = DeepSupervision(segmentation_loss(settings.loss))
        self.step, self.seconds = 0, 0.0
        self.validated = 0
        self.dice: dict[str, float] = {}
        self.stopped, self.stopped_early = False, False
        self.stop_asked: Callable[[], bool] = lambda: False
        self._bad_steps = 0

    def run(
        self,
        training: Sequence[CaseArrays],
        validation: Sequence[CaseArrays],
        progress: ProgressCallback,
        cancelled: CancelCheck,
    ) -> Outcome:
        """Train until the schedule's end, or until `cancelled`; a checkpoint is left behind in both cases."""
        sampler = PatchSampler(training, self.settings, self.ranks.rank, self.ranks.count)
        watched = validation[: self.settings.validation_case_limit]  # `medai.train` measures the result on all of them
        try:
            # One thread draws the next batch while the device computes this one.
            with ThreadPoolExecutor(1) as pool:
                self._steps(sampler, pool, watched, progress, cancelled)
            self.save()
            self.validate(watched, cancelled)
            finished = True
        except Cancelled:
            self.save()
            finished = False
        self.folder.report("end", step=self.step, seconds=round(self.seconds, 1), finished=finished)
        return Outcome(
            self.average.network.state_dict(), self.dice, self.step, self.seconds, finished, self.stopped_early
        )

    def _steps(
        self,
        sampler: Sampler,
        pool: ThreadPoolExecutor,
        validation: Any,
        progress: ProgressCallback,
        cancelled: CancelCheck,
    ) -> None:
        s = self.settings
        clock = _Clock(self.seconds)
        reporter = Reporter(self.folder, self.step, s.batch_size * s.processes, self.compute.device)
        interval_s = 60 * min(s.checkpoint_minutes, _MOST_CHECKPOINT_MINUTES)
        saved_s = clock.seconds()
        upcoming = pool.submit(sampler.batch, self.step)
        while not self.stopped:
            seen = [clock.seconds(), float(cancelled()), float(self.stop_asked())]
            seconds, wants_pause, wants_stop = self.ranks.agree(seen, self.compute.device)
            if (fraction := run_fraction(self.step, seconds, s)) >= 1.0:
                break
            if wants_pause:
                reporter.flush()
                raise Cancelled()
            if wants_stop:
                reporter.flush()
                self.stopped = self.stopped_early = True
                break
            # Looked at before the step, not behind it: a run that was killed while validating validates again here.
            validates = int(fraction * s.validations) > self.validated
            # A validation may take minutes, in which a kill must not cost the steps before it.
            if clock.seconds() - saved_s >= (min(interval_s, _SAVED_LATELY_S) if validates else interval_s):
                reporter.flush()
                self.save()
                saved_s = clock.seconds()
            if validates:
                reporter.flush()
                self.validate(validation, cancelled)
                self.validated = int(fraction * s.validations)
            rate = learning_rate(fraction, s)
            batch = reporter.wait_for(upcoming)
            upcoming = pool.submit(sampler.batch, self.step + 1)
            loss = self.train_step(batch, rate)
            self.step += 1
            self.average.update(self.network, self.step)
            self.seconds = clock.seconds()
            fraction = run_fraction(self.step, self.seconds, s)
            reporter.step(self.step, self.seconds, fraction, rate, loss)
            progress(Progress(fraction, "training", remaining_s(fraction, self.seconds)))
        self.seconds = clock.seconds()

    def train_step(self, batch: Batch, rate: float) -> torch.Tensor:
        """One update of the weights; returns the loss as a tensor, so that a GPU is not waited for."""
        s, device = self.settings, self.compute.device
        generator = torch.Generator(device=device).manual_seed(batch.seed)
        images = torch.from_numpy(batch.images).to(device, non_blocking=True)
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        with torch.no_grad():
            x, y = augment(images, labels, s.patch, s.spacing_mm, len(s.label_names), s.augmentation, generator)
        if self.flat:  # (b, c, 1, j, i) -> (b, c, j, i)
            x, y = x.squeeze(2), y.squeeze(2)
        x = x.contiguous(memory_format=self.compute.memory_format(2 if self.flat else 3))
        self.train_mode()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.compute.autocast():
            outputs = self._parallel(x)
        if batch.unknown is not None:
            outputs = merge_unknown(outputs, torch.from_numpy(batch.unknown).to(device))
        loss: torch.Tensor = self.loss(outputs, y.float())
        self.update(loss)
        return self.ranks.mean(loss.detach())

    def train_mode(self) -> None:
        """The network in training mode, but for the norms of a frozen encoder, whose statistics must stay."""
        self.network.train()
        for norm in self._still:
            norm.eval()

    def update(self, loss: torch.Tensor) -> None:
        """Backward pass, clipping and step of the optimiser; a step without finite gradient is left out."""
        s = self.settings
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), s.gradient_clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self._bad_steps = 0
        else:
            self._skip_step()

    def _skip_step(self) -> None:
        self._bad_steps += 1
        _log.warning("Step %d has no finite gradient and is skipped.", self.step)
        if self._bad_steps >= _BAD_STEPS:
            raise MedAIError(
                f"The loss has not been finite for {_BAD_STEPS} steps (step {self.step}).",
                "Lower the learning rate, or look for broken intensities in the data set.",
            )

    def validate(self, cases: Any, cancelled: CancelCheck) -> None:
        """Dice of the averaged network on the validation cases, written to progress.jsonl."""
        if not cases or not self.ranks.first:
            return
        started = time.perf_counter()
        self.dice = validate(
            self.average.network, cases, self.settings, self.compute, cancelled, seen=self._preview(cases)
        )
        mean = sum(self.dice.values()) / max(len(self.dice), 1)
        self.folder.report(
            "validation",
            step=self.step,
            seconds=round(self.seconds, 1),
            mean_dice=round(mean, 5),
            dice=self.dice,
            validation_seconds=round(time.perf_counter() - started, 1),
        )

    def _preview(self, cases: Any) -> Callable[[int, Any], None]:
        def see(number: int, prediction: Any) -> None:
            if number == 0:
                write_preview(self.folder, self.settings, self.step, cases[0], prediction)

        return see

    def save(self) -> None:
        """Write the checkpoint from which `restore` goes on exactly."""
        if not self.ranks.first:
            return
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "validated": self.validated,
            "dice": self.dice,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_states(),
            **self.extra_state(),
        }
        save_checkpoint(self.folder.checkpoint, state)
        self.folder.report("checkpoint", step=self.step, seconds=round(self.seconds, 1))

    def extra_state(self) -> dict[str, Any]:
        """What else a checkpoint of this kind of training holds."""
        return {}

    def restore(self) -> None:
        """Go back to the state of the newest checkpoint."""
        state = load_checkpoint(self.folder.checkpoint, self.compute.device)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.validated, self.dice = state["validated"], state["dice"]
        if self.ranks.first:
            restore_random_states(state["random"])
        else:
            torch.manual_seed(self.settings.seed + self.ranks.rank + self.step)
        self.folder.forget_after(self.step)


def freeze(network: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """Keep the weights whose names begin so from being trained; the norms among them, whose statistics must stay."""
    for name, parameter in network.named_parameters():
        if name.startswith(names):
            parameter.requires_grad_(False)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
    return [norm for norm in norms if norm.weight is not None and not norm.weight.requires_grad]


def make_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW (Loshchilov and Hutter 2019); norms and biases are not decayed."""
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    plain = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


class _Clock:
    """Seconds of training, over all parts of a resumed run."""

    def __init__(self, before_s: float) -> None:
        self._before_s = before_s
        self._started_s = time.monotonic()

    def seconds(self) -> float:
        return self._before_s + time.monotonic() - self._started_s
