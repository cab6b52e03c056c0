"""What a training costs on this device, from a few timed steps on small patches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medai.networks import size_divisor
from medai.training.loop import Trainer
from medai.training.precision import Compute
from medai.training.run_folder import RunFolder
from medai.training.sampling import Batch
from medai.training.settings import TrainingSettings

_SMALL_VOXELS = {"cpu": 32**3, "cuda": 64**3, "mps": 48**3}
_TIMED_STEPS = 3
_FORWARD_PART = 0.3  # of a training step's time that predicting as many voxels takes
_OVERLAP = 0.5  # of the validation's sliding window


@dataclass(frozen=True)
class Cost:
    """Measured cost of one training step at the planned patch and batch, and the network's size."""

    parameters: int
    seconds_per_step: float
    memory_mb: float


def measure(settings: TrainingSettings, compute: Compute) -> Cost:
    """Time and memory of a step, measured with a patch of at most 32^3 voxels (on a CPU) and scaled up by its voxels.

    The memory is what autograd keeps for the backward pass, counted tensor by tensor, with weights, gradients, the
    optimiser's state and the average; the process itself and its libraries come on top.
    """
    small = replace(settings, patch=_small_patch(settings, compute), batch_size=min(2, settings.batch_size))
    trainer = Trainer(replace(small, initial_weights="", processes=1), compute, RunFolder(Path()))
    scale = math.prod(settings.patch) * settings.batch_size / (math.prod(small.patch) * small.batch_size)
    with _SavedBytes() as saved:
        trainer.train_step(_noise(small, 0), settings.learning_rate)
    _synchronize(compute)
    started = time.perf_counter()
    for number in range(_TIMED_STEPS):
        trainer.train_step(_noise(small, number + 1), settings.learning_rate)
    _synchronize(compute)
    seconds = (time.perf_counter() - started) / _TIMED_STEPS * scale
    parameters = sum(p.numel() for p in trainer.network.parameters())
    states = {"adamw": 2, "sgd": 1}[settings.optimizer]
    fixed = 4 * parameters * (3 + states)  # weights, gradients, average
    memory = (saved.total + 2 * saved.largest) * scale + fixed
    return Cost(parameters, seconds, memory / 2**20)


def validation_seconds(settings: TrainingSettings, cost: Cost, shapes: Sequence[Sequence[int]]) -> float:
    """Expected time of all validations of a run on cases of these sizes (k, j, i)."""
    watched = shapes[: settings.validation_case_limit]
    windows = sum(
        math.prod(
            math.ceil(max(0, n - p) / (p * (1 - _OVERLAP))) + 1 for n, p in zip(shape, settings.patch, strict=True)
        )
        for shape in watched
    )
    return settings.validations * windows * cost.seconds_per_step / settings.batch_size * _FORWARD_PART


def _small_patch(settings: TrainingSettings, compute: Compute) -> tuple[int, int, int]:
    """The patch with its longest sides halved until it is small, in multiples of what the network divides by."""
    divisor = size_divisor(settings.network.name, settings.network.arguments)
    least = ((1,) if settings.patch[0] == 1 else ()) + tuple(divisor)
    # Instance norm needs more than one voxel in its deepest map.
    least = tuple(2 * n if size > n else n for n, size in zip(least, settings.patch, strict=True))
    patch = list(settings.patch)
    while math.prod(patch) > _SMALL_VOXELS[compute.device.type]:
        can = [n // 2 // low * low >= low for n, low in zip(patch, least, strict=True)]
        if not any(can):
            break
        axis = max((n for n in range(3) if can[n]), key=lambda n: patch[n])
        patch[axis] = patch[axis] // 2 // least[axis] * least[axis]
    return patch[0], patch[1], patch[2]


def _noise(settings: TrainingSettings, seed: int) -> Batch:
    """A batch of the sampler's size and types, of noise."""
    rng = np.random.default_rng(seed)
    factor = settings.augmentation.source_factor
    size = tuple(n if n == 1 else math.ceil(n * factor / 2) * 2 for n in settings.patch)
    channels = int(settings.network.arguments["in_channels"])
    images = rng.standard_normal((settings.batch_size, channels, *size), dtype=np.float32)
    labels = rng.integers(0, len(settings.label_names) + 1, (settings.batch_size, 1, *size), dtype=np.int16)
    return Batch(images, labels, seed)


def _synchronize(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)


class _SavedBytes:
    """Counts the bytes of the tensors that autograd keeps while the context is open; shared memory counts once."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._hooks: Any = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            self._seen[storage.data_ptr()] = max(self._seen.get(storage.data_ptr(), 0), storage.nbytes())
        return tensor

    def __enter__(self) -> _SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._hooks.__exit__(*details)

    @property
    def total(self) -> int:
        """Bytes of all that was kept."""
        return sum(self._seen.values())

    @property
    def largest(self) -> int:
        """Bytes of the largest tensor."""
        return max(self._seen.values(), default=0)
