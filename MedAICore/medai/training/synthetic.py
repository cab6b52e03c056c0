"""Training on painted images without end: samples by their number, a constant rate, and a final fall of it.

A run has no planned end: it goes on until it is stopped, and resumes. When it is to end, it is resumed with
`cooldown_steps`, over which the learning rate falls to zero.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from medai.errors import Cancelled, ConfigError
from medai.losses.sparse_dice import at_every_resolution
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled
from medai.synthesis.label_volumes import LabelTable, LabelVolume
from medai.synthesis.scans import ScanFrame, ScanSettings, paint_scan
from medai.training.loop import Trainer
from medai.training.precision import Compute
from medai.training.run_folder import RunFolder
from medai.training.sampling import Batch
from medai.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
_REPORT_EVERY_S = 60.0
_AHEAD = 3  # batches that are painted while the network computes
_VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class SyntheticSettings(TrainingSettings):
    """What determines such a run beside what every training has; the cases are names of label maps.

    `steps` is a limit. `cooldown_from` is the step from which the rate falls, over `cooldown_steps`; None while the run
    has no end in sight. `validation_samples` fixed samples are painted from the maps that are held out.
    """

    scans: ScanSettings = field(default_factory=ScanSettings)
    warmup_steps: int = 100
    cooldown_from: int | None = None
    cooldown_steps: int = 0
    validation_minutes: float = 35.0
    validation_samples: int = 12

    @property
    def last_step(self) -> int:
        """The step at which the run ends."""
        if self.cooldown_from is None:
            return self.steps
        return min(self.steps, self.cooldown_from + self.cooldown_steps)

    def rate_at(self, step: int) -> float:
        """Linear warm-up, plateau, and a linear fall to zero over the cooldown."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warmup_steps, 1))
        if self.cooldown_from is not None and step >= self.cooldown_from:
            rate *= max(1.0 - (step - self.cooldown_from) / max(self.cooldown_steps, 1), 0.02)
        return rate


class SyntheticSampler:
    """Paints the batch of a step; all of it comes from (seed, step): a resumed run goes on as an unbroken one."""

    def __init__(self, volumes: Sequence[LabelVolume], table: LabelTable, settings: SyntheticSettings) -> None:
        if not volumes:
            raise ConfigError("There is no label map to paint from.", "Hold out fewer of them.")
        self._volumes, self._table, self._settings = volumes, table, settings
        self._frame = ScanFrame(settings.patch, settings.spacing_mm)

    def batch(self, step: int) -> Batch:
        """Images (b, 1, k, j, i) float32 and classes (b, 1, k, j, i) int16 of step `step`."""
        size = self._settings.batch_size
        samples = [self.sample(step * size + n) for n in range(size)]
        images = np.stack([image.numpy() for image, _ in samples])[:, None]
        labels = np.stack([labels.numpy().astype(np.int16) for _, labels in samples])[:, None]
        return Batch(images, labels, step)

    def sample(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The painted image and the classes, both (k, j, i), of a sample by its number."""
        seed = int(np.random.default_rng([self._settings.seed, number]).integers(2**62))
        generator = torch.Generator().manual_seed(seed)
        volume = self._volumes[int(torch.randint(len(self._volumes), (), generator=generator))]
        return paint_scan(volume, self._table, self._frame, self._settings.scans, generator)


class SyntheticTrainer(Trainer):
    """`Trainer` for painted images: the same state, checkpoints and record, with its own schedule and loss."""

    settings: SyntheticSettings

    def __init__(self, settings: SyntheticSettings, compute: Compute, folder: RunFolder) -> None:
        super().__init__(settings, compute, folder)
        self.label_names = settings.label_names

    def fit(
        self,
        sampler: SyntheticSampler,
        validation: SyntheticSampler | None,
        progress: ProgressCallback,
        cancelled: CancelCheck,
    ) -> bool:
        """Train until the last step (True) or until `cancelled` (False); a checkpoint is left behind in both cases."""
        try:
            with _flushed_denormals(), ThreadPoolExecutor(1) as pool:
                self._loop(sampler, validation, pool, progress, cancelled)
            finished = True
        except Cancelled:
            finished = False
        self.save()
        self.folder.report("end", step=self.step, seconds=round(self.seconds, 1), finished=finished)
        return finished

    def _loop(
        self,
        sampler: SyntheticSampler,
        validation: SyntheticSampler | None,
        pool: ThreadPoolExecutor,
        progress: ProgressCallback,
        cancelled: CancelCheck,
    ) -> None:
        s = self.settings
        waiting: list[Future[Batch]] = [pool.submit(sampler.batch, self.step + n) for n in range(_AHEAD)]
        clock = reported = saved = validated = time.monotonic()
        losses: list[torch.Tensor] = []
        waited_s = 0.0
        while self.step < s.last_step:
            check_cancelled(cancelled)
            before = time.monotonic()
            batch = waiting.pop(0).result()
            waited_s += time.monotonic() - before
            waiting.append(pool.submit(sampler.batch, self.step + _AHEAD))
            losses.append(self.train_step(batch, s.rate_at(self.step)))
            self.step += 1
            self.average.update(self.network, self.step)
            now = time.monotonic()
            self.seconds, clock = self.seconds + now - clock, now
            progress(Progress(min(self.step / s.last_step, 1.0), "training"))
            if now - reported > _REPORT_EVERY_S or self.step == s.last_step:
                self._report(losses, now - reported, waited_s)
                reported, waited_s, losses = now, 0.0, []
            if now - saved > 60 * s.checkpoint_minutes:
                self.save()
                saved = now
            if validation is not None and now - validated > 60 * s.validation_minutes:
                self.watch(validation, cancelled)
                validated = clock = time.monotonic()
        if validation is not None:
            self.watch(validation, cancelled)

    def train_step(self, batch: Batch, rate: float) -> torch.Tensor:
        """One update of the weights; returns the loss as a tensor, so that a GPU is not waited for."""
        device = self.compute.device
        x = torch.from_numpy(batch.images).to(device, non_blocking=True)
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)[:, 0].long()
        x = x.contiguous(memory_format=self.compute.memory_format(3))
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.compute.autocast():
            outputs = self.network(x)
        outputs = [o.float() for o in outputs] if isinstance(outputs, list) else outputs.float()
        loss = at_every_resolution(outputs, labels)
        self.update(loss)
        return loss.detach()

    def watch(self, validation: SyntheticSampler, cancelled: CancelCheck) -> dict[str, float]:
        """Dice of the averaged network on the fixed samples, by label, written to progress.jsonl."""
        started = time.monotonic()
        self.dice = painted_dice(self.average.network, validation, self.settings, self.compute, cancelled)
        self.folder.report(
            "validation",
            step=self.step,
            seconds=round(self.seconds, 1),
            mean_dice=round(sum(self.dice.values()) / max(len(self.dice), 1), 5),
            dice=self.dice,
            validation_seconds=round(time.monotonic() - started, 1),
        )
        return self.dice

    def _report(self, losses: list[torch.Tensor], seconds: float, waited_s: float) -> None:
        s = self.settings
        self.folder.report(
            "step",
            step=self.step,
            seconds=round(self.seconds, 1),
            fraction=round(self.step / s.last_step, 6),
            loss=round(float(torch.stack(losses).mean()), 5),
            learning_rate=s.rate_at(self.step - 1),
            samples_per_s=round(len(losses) * s.batch_size / seconds, 3),
            data_wait=round(waited_s / seconds, 4),
        )


@torch.no_grad()
def painted_dice(
    network: nn.Module,
    sampler: SyntheticSampler,
    settings: SyntheticSettings,
    compute: Compute,
    cancelled: CancelCheck,
) -> dict[str, float]:
    """Dice by label, of all voxels of the fixed samples together."""
    network.eval()
    count = len(settings.label_names) + 1
    sums: dict[str, Any] = {name: torch.zeros(count) for name in ("both", "found", "truth")}
    for number in range(settings.validation_samples):
        check_cancelled(cancelled)
        image, labels = sampler.sample(_VALIDATION_SEED + number)
        found = network(image[None, None].to(compute.device)).argmax(1)[0].cpu()
        sums["found"] += torch.bincount(found.flatten(), minlength=count)
        sums["truth"] += torch.bincount(labels.flatten(), minlength=count)
        sums["both"] += torch.bincount(labels[found == labels], minlength=count)
    dice = 2 * sums["both"] / (sums["found"] + sums["truth"]).clamp_min(1)
    return {
        name: round(float(dice[n]), 4)
        for n, name in enumerate(settings.label_names, start=1)
        if float(sums["truth"][n]) > 0
    }


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Probabilities of dozens of classes come below the smallest normal number, with which a CPU is slow.

    For the training only: with such numbers taken for 0, scipy's k-d tree never ends and the process dies.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
