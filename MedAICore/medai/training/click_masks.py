"""Morphology of boolean masks (n, n, n) by shifts: no other library is needed, and it is quick on small cubes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_DEEPEST = 40


def erode(mask: torch.Tensor) -> torch.Tensor:
    """Voxels whose six face neighbours are all in the mask; what lies beyond the border counts as inside."""
    result = mask.clone()
    for axis in range(3):
        n = mask.shape[axis]
        result.narrow(axis, 1, n - 1).logical_and_(mask.narrow(axis, 0, n - 1))
        result.narrow(axis, 0, n - 1).logical_and_(mask.narrow(axis, 1, n - 1))
    return result


def dilate(mask: torch.Tensor) -> torch.Tensor:
    """The mask and the face neighbours of its voxels."""
    result = mask.clone()
    for axis in range(3):
        n = mask.shape[axis]
        result.narrow(axis, 1, n - 1).logical_or_(mask.narrow(axis, 0, n - 1))
        result.narrow(axis, 0, n - 1).logical_or_(mask.narrow(axis, 1, n - 1))
    return result


def flood(mask: torch.Tensor, seed: Sequence[int]) -> torch.Tensor:
    """The part of the mask that hangs together with the voxel `seed`."""
    reached = torch.zeros_like(mask)
    reached[tuple(seed)] = True
    count = 0
    while True:
        for _ in range(4):
            reached = dilate(reached) & mask
        now = int(reached.sum())
        if now == count:
            return reached
        count = now


def depth(mask: torch.Tensor) -> torch.Tensor:
    """How many erosions a voxel survives, plus one; 0 outside of the mask. uint8."""
    result = mask.to(torch.uint8)
    for _ in range(_DEEPEST):
        mask = erode(mask)
        if not bool(mask.any()):
            break
        result += mask
    return result
