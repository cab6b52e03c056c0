"""Random draws from an explicit generator, so that a run can be repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def uniform(shape: Sequence[int], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers in low..high on the generator's device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device) * (high - low) + low


def log_uniform(shape: Sequence[int], limits: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Numbers whose logarithm is uniform: halving is as likely as doubling."""
    return uniform(shape, math.log(limits[0]), math.log(limits[1]), generator).exp()


def chosen(count: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Boolean (count,): which samples of the batch an augmentation is applied to."""
    return uniform((count,), 0.0, 1.0, generator) < probability
