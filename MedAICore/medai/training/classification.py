"""Training of classifiers on the same loop: whole inputs in place of patches, cross entropy, AUC as the watched figure.

The defaults of `ClassificationSettings` with ``optimizer="sgd"`` are those of the seed article: stochastic gradient
descent with momentum 0.9 and cross entropy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from medai.augmentation import augment_inputs
from medai.errors import Cancelled, ConfigError
from medai.image import Array
from medai.progress import CancelCheck, ProgressCallback, check_cancelled
from medai.training.checkpoint import load_checkpoint
from medai.training.loop import Outcome, Trainer
from medai.training.precision import Compute
from medai.training.run_folder import RunFolder
from medai.training.sampling import Batch
from medai.training.settings import TrainingSettings

_ORDER, _AUGMENTATION = 10, 12
_EVALUATED_TOGETHER = 64


@dataclass(frozen=True)
class ClassificationSettings(TrainingSettings):
    """What determines the training of a classifier beside what every training has; `label_names` are the classes.

    `class_weights` weigh the classes in the loss (empty: alike). `mixup`: parameter of the beta distribution with which
    pairs of inputs are blended (Zhang et al. 2018), 0 for none. `early_stopping`: validations without a better AUC
    after which the run ends, 0 for never; the best weights are then taken instead of the last. `masks`: which input
    channels are masks.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    mixup: float = 0.0
    early_stopping: int = 0
    masks: tuple[bool, ...] = (False,)

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming a value that cannot be trained with."""
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}.", "Give a number from 0 to below 1.")
        if self.mixup < 0 or self.early_stopping < 0:
            raise ConfigError(
                f"mixup {self.mixup} or early_stopping {self.early_stopping} is below 0.", "Use 0 or more."
            )
        if self.class_weights and (len(self.class_weights) != len(self.label_names) or min(self.class_weights) <= 0):
            raise ConfigError(
                f"class_weights {list(self.class_weights)} do not fit {len(self.label_names)} classes.",
                "Give one number above 0 for each.",
            )


@dataclass(frozen=True, eq=False)
class LabelledInputs:
    """Inputs (n, c, k, j, i) with their class indices (n,)."""

    inputs: Array
    labels: Array


class InputSampler:
    """Draws batches: every case once in a pass, in an order that comes from (seed, fold, pass) alone."""

    def __init__(self, data: LabelledInputs, settings: ClassificationSettings) -> None:
        self._data = data
        self._settings = settings

    def batch(self, step: int) -> Batch:
        """The batch of step `step`: images float32 (b, c, k, j, i) and labels int64 (b,)."""
        s, count = self._settings, len(self._data.labels)
        positions = np.arange(step * s.batch_size, (step + 1) * s.batch_size)
        rows = np.array([self._order(int(p) // count)[int(p) % count] for p in positions])
        rng = np.random.default_rng((s.seed, s.fold, step, _AUGMENTATION))
        images = self._data.inputs[rows].astype(np.float32)
        return Batch(images, self._data.labels[rows], int(rng.integers(2**62)))

    def _order(self, number: int) -> Array:
        s = self._settings
        return np.random.default_rng((s.seed, s.fold, number, _ORDER)).permutation(len(self._data.labels))


class ClassificationTrainer(Trainer):
    """`Trainer` for class labels: the same loop, checkpoints and record, with another loss and validation."""

    settings: ClassificationSettings

    def __init__(self, settings: ClassificationSettings, compute: Compute, folder: RunFolder) -> None:
        super().__init__(settings, compute, folder)
        weights = torch.tensor(settings.class_weights, device=compute.device) if settings.class_weights else None
        self.cross_entropy = nn.CrossEntropyLoss(weight=weights, label_smoothing=settings.label_smoothing)
        self.best: dict[str, Any] = {"auc": -1.0, "since": 0, "weights": {}}

    def fit(
        self,
        training: LabelledInputs,
        validation: LabelledInputs,
        progress: ProgressCallback,
        cancelled: CancelCheck,
    ) -> Outcome:
        """Train until the schedule's end, early stopping or `cancelled`; a checkpoint is left behind in any case.

        The outcome's `dice` holds the watched figures of the last validation: auc, accuracy, loss.
        """
        try:
            with ThreadPoolExecutor(1) as pool:
                self._steps(InputSampler(training, self.settings), pool, validation, progress, cancelled)
            self.validate(validation, cancelled)
            self.save()
            finished = True
        except Cancelled:
            self.save()
            finished = False
        self.folder.report("end", step=self.step, seconds=round(self.seconds, 1), finished=finished)
        weights = self.best["weights"] if self.settings.early_stopping and self.best["weights"] else None
        chosen = weights or self.average.network.state_dict()
        return Outcome(chosen, self.dice, self.step, self.seconds, finished, self.stopped_early)

    def train_step(self, batch: Batch, rate: float) -> torch.Tensor:
        """One update of the weights; returns the loss as a tensor, so that a GPU is not waited for."""
        s, device = self.settings, self.compute.device
        generator = torch.Generator(device=device).manual_seed(batch.seed)
        images = torch.from_numpy(batch.images).to(device, non_blocking=True)
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        with torch.no_grad():
            x = augment_inputs(images, s.spacing_mm, s.masks, s.augmentation, generator)
            x, partners, share = _mixed(x, s.mixup, batch.seed)
        x = x.squeeze(2) if self.flat else x
        x = x.contiguous(memory_format=self.compute.memory_format(2 if self.flat else 3))
        self.train_mode()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.compute.autocast():
            logits = self.network(x).float()
        loss: torch.Tensor = self.cross_entropy(logits, labels)
        if partners is not None:
            loss = share * loss + (1.0 - share) * self.cross_entropy(logits, labels[partners])
        self.update(loss)
        return loss.detach()

    def validate(self, cases: Any, cancelled: CancelCheck) -> None:
        """AUC, accuracy and loss of the averaged network, written to progress.jsonl; early stopping."""
        if not len(cases.labels):
            return
        started = time.perf_counter()
        logits = predict_logits(self.average.network, cases.inputs, self.compute, self.flat, cancelled)
        self.dice = watched_figures(logits, cases.labels)
        figures = {name: round(value, 5) for name, value in self.dice.items()}
        self.folder.report(
            "validation",
            step=self.step,
            seconds=round(self.seconds, 1),
            **figures,
            validation_seconds=round(time.perf_counter() - started, 1),
        )
        if not self.settings.early_stopping:
            return
        if self.dice["auc"] > self.best["auc"]:
            weights = {name: tensor.clone() for name, tensor in self.average.network.state_dict().items()}
            self.best = {"auc": self.dice["auc"], "since": 0, "weights": weights}
        else:
            self.best["since"] += 1
            self.stopped = self.best["since"] >= self.settings.early_stopping

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside every training's state: the best weights so far."""
        return {"best": self.best}

    def restore(self) -> None:
        """Go back to the state of the newest checkpoint."""
        super().restore()
        self.best = load_checkpoint(self.folder.checkpoint, self.compute.device)["best"]


def _mixed(x: torch.Tensor, strength: float, seed: int) -> tuple[torch.Tensor, torch.Tensor | None, float]:
    """Inputs blended with partners of the batch (Zhang et al. 2018, mixup), the partners, and the inputs' share."""
    if strength <= 0 or len(x) < 2:
        return x, None, 1.0
    rng = np.random.default_rng(seed)
    share = float(rng.beta(strength, strength))
    share = max(share, 1.0 - share)
    partners = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    return share * x + (1.0 - share) * x[partners], partners, share


@torch.no_grad()
def predict_logits(network: nn.Module, inputs: Array, compute: Compute, flat: bool, cancelled: CancelCheck) -> Array:
    """Logits (n, classes) of inputs (n, c, k, j, i)."""
    network.eval()
    parts = []
    for start in range(0, len(inputs), _EVALUATED_TOGETHER):
        check_cancelled(cancelled)
        x = torch.from_numpy(np.asarray(inputs[start : start + _EVALUATED_TOGETHER], dtype=np.float32))
        x = x.to(compute.device)
        with compute.autocast():
            parts.append(network(x.squeeze(2) if flat else x).float().cpu())
    logits: Array = torch.cat(parts).numpy().astype(np.float64)
    return logits


def watched_figures(logits: Array, labels: Array) -> dict[str, float]:
    """AUC (macro one-vs-rest of more than two classes), accuracy and cross entropy."""
    from medai.metrics.classification import macro_auc

    z = torch.from_numpy(logits)
    truth = torch.from_numpy(np.asarray(labels))
    return {
        "auc": macro_auc(z.softmax(1).numpy(), labels),
        "accuracy": float((z.argmax(1) == truth).double().mean()),
        "loss": float(F.cross_entropy(z, truth)),
    }


def with_steps(settings: ClassificationSettings, epochs: float) -> ClassificationSettings:
    """The settings with the steps that so many passes over the training cases take."""
    steps = max(1, round(epochs * len(settings.training_cases) / settings.batch_size))
    return replace(settings, steps=steps)


def balanced_weights(labels: Sequence[int], classes: int) -> tuple[float, ...]:
    """A weight for each class so that all count alike: cases / (classes * cases of the class)."""
    counts = np.bincount(np.asarray(labels), minlength=classes).clip(min=1)
    return tuple(round(float(len(labels) / (classes * count)), 6) for count in counts)
