"""Random numbers and random smooth fields, all from one generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number between `low` and `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def log_uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number between `low` and `high` whose logarithm is uniform."""
    return math.exp(uniform(math.log(low), math.log(high), generator))


def whole(low: int, high: int, generator: torch.Generator) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def chance(probability: float, generator: torch.Generator) -> bool:
    """True with this probability."""
    return float(torch.rand((), generator=generator)) < probability


def choose(weights: Sequence[float], generator: torch.Generator) -> int:
    """An index, drawn by weight."""
    return int(torch.multinomial(torch.tensor(weights, dtype=torch.float64), 1, generator=generator))


def smooth_field(size: int, cells: int, generator: torch.Generator, count: int = 1) -> torch.Tensor:
    """`count` fields (count, size, size, size) of about unit spread that vary over size / `cells` voxels."""
    coarse = torch.randn(1, count, *(cells + 2,) * 3, generator=generator)
    extended = functional.interpolate(coarse, size=(size + 2 * size // cells,) * 3, mode="trilinear")
    start = size // cells
    field = extended[0, :, start : start + size, start : start + size, start : start + size]
    return field / field.std().clamp_min(1e-6)


def blur(image: torch.Tensor, sigma: Sequence[float]) -> torch.Tensor:
    """Gaussian blur of (n, n, n), with a standard deviation per axis in voxels; borders are repeated."""
    for axis, width in enumerate(sigma):
        if width < 0.2:
            continue
        reach = max(1, math.ceil(2.5 * width))
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=image.dtype) / width) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(kernel)
        padding = [0] * 6
        padding[5 - 2 * axis] = padding[4 - 2 * axis] = reach
        padded = functional.pad(image[None, None], padding, mode="replicate")
        image = functional.conv3d(padded, (kernel / kernel.sum()).reshape(shape))[0, 0]
    return image
