"""What is tried, in which order, when a run does not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from medai.inference.device import half_precision
from medai.inference.tiles import Shape

_HALVINGS = 2


@dataclass(frozen=True)
class Attempt:
    """One way to run: tile (k, j, i), arithmetic (None: float32), device; `change` says what is given up for it."""

    patch: Shape
    dtype: torch.dtype | None
    device: torch.device
    change: str = ""


def attempts(first: Attempt, divisor: Shape) -> Iterator[Attempt]:
    """`first`, then smaller tiles, then half precision (not on CPU), then the CPU: until one fits."""
    yield first
    smaller = list(_smaller_tiles(first, divisor))
    yield from smaller
    half = half_precision(first.device) if first.device.type != "cpu" else None
    if half is not None and first.dtype is None:
        last = smaller[-1] if smaller else first
        yield replace(last, dtype=half, change=f"{str(half).removeprefix('torch.')} arithmetic")
    if first.device.type != "cpu":
        yield Attempt(first.patch, None, torch.device("cpu"), "the CPU")


def _smaller_tiles(first: Attempt, divisor: Shape) -> Iterator[Attempt]:
    patch = first.patch
    for _ in range(_HALVINGS):
        halved = [max(2 * d, math.ceil(n / 2 / d) * d) if n > 1 else 1 for n, d in zip(patch, divisor, strict=True)]
        patch_next = tuple(min(a, b) for a, b in zip(halved, patch, strict=True))
        if patch_next == patch:
            return
        patch = (patch_next[0], patch_next[1], patch_next[2])
        i, j, k = patch[::-1]
        yield replace(first, patch=patch, change=f"smaller tiles of {i} x {j} x {k} voxels")
