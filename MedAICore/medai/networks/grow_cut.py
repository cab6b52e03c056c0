"""Grow-cut (Vezhnevets and Konouchine 2005): seeds of object and background conquer their neighbours.

A cell attacks a neighbour with its own strength, weakened by the difference of their intensities. It needs no model:
it is what segments where none is installed, the peer that a model is measured against, and a hint to the model.
"""

from __future__ import annotations

import torch
from torch.nn import functional

# Even where nothing changes in intensity the strength fades with distance, so that the nearer seed wins.
_FADING = 0.985
_SETTLED = 1e-4


def grow_cut(image: torch.Tensor, seeds: torch.Tensor, rounds: int = 24) -> torch.Tensor:
    """Strengths (b, 1, n, n, n) from -1 (surely background) to 1 (surely object); 0 where no seed reached.

    `seeds` (b, 1, n, n, n) is 1, -1 or 0. Ends after `rounds`, or as soon as nothing moves. One round runs through the
    cube along each axis, there and back, so that a front crosses it at once: the end is that of attacks of all
    neighbours at a time, in a tenth of the steps.
    """
    spread = (image.amax(dim=(1, 2, 3, 4), keepdim=True) - image.amin(dim=(1, 2, 3, 4), keepdim=True)).clamp_min(1e-6)
    passages = [_FADING * (1 - image.diff(dim=axis).abs() / spread).square() for axis in (2, 3, 4)]
    strength = seeds.clone()
    for _ in range(rounds):
        before = strength.clone()
        for axis, passage in zip((2, 3, 4), passages, strict=True):
            _run_through(strength, passage, axis)
        if float((strength - before).abs().max()) < _SETTLED:
            break
    return strength


def smoothed(image: torch.Tensor) -> torch.Tensor:
    """The image (b, 1, n, n, n), blurred a little: noise is not a border."""
    kernel = torch.tensor([0.2, 0.6, 0.2], dtype=image.dtype, device=image.device)
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 3
        padding = [0] * 6
        padding[5 - 2 * axis] = padding[4 - 2 * axis] = 1
        image = functional.conv3d(functional.pad(image, padding, mode="replicate"), kernel.reshape(shape))
    return image


def _run_through(strength: torch.Tensor, passage: torch.Tensor, axis: int) -> None:
    """Let every plane across an axis attack the next one, there and back, in place."""
    planes, gates = strength.unbind(axis), passage.unbind(axis)
    ahead = [(planes[i], planes[i + 1], gate) for i, gate in enumerate(gates)]
    back = [(after, before, gate) for before, after, gate in reversed(ahead)]
    for source, target, gate in (*ahead, *back):
        blow = source * gate
        torch.where(blow.abs() > target.abs(), blow, target, out=target)
