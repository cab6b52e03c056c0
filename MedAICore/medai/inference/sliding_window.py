"""Sliding window whose memory does not grow with classes times volume.

The window's tiles are walked plane by plane along one axis. Only the slab that the current tiles reach is held; planes
that no later tile touches are finished, handed on, and forgotten. Blending is the Gaussian weighting of MONAI's
`sliding_window_inference`, whose result this equals up to the order of float32 additions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medai.image import Array
from medai.inference.predictor import Predictor
from medai.inference.tiles import Shape, TileGrid, importance
from medai.progress import CancelCheck, check_cancelled, never_cancelled

PlaneSink = Callable[[torch.Tensor], None]
FractionCallback = Callable[[float], None]

# Finished planes are handed on a few at a time, so that what the receiver copies stays small.
_PLANES_AT_ONCE = 8


def _ignore(fraction: float) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class SlidingWindow:
    """Runs `predictor` over tiles of `patch` (k, j, i) that overlap by the part `overlap` (0..<1) of a tile.

    Volumes smaller than a patch are padded with zeros on both sides. The order of tiles and additions is fixed: equal
    input gives equal output on one device. `accumulate_on`: where the slab lies (default: the predictor's device).
    """

    predictor: Predictor
    patch: Shape
    overlap: float = 0.5
    accumulate_on: torch.device | None = None

    def grid(self, shape: tuple[int, ...]) -> TileGrid:
        """The tiles for a volume of `shape` (k, j, i)."""
        return TileGrid.cover(shape, self.patch, self.overlap)

    def axis(self, shape: tuple[int, ...]) -> int:
        """The streaming axis that needs the smallest slab for a volume of `shape` (k, j, i); the first of equals."""
        size = self.grid(shape).size
        return min(range(3), key=lambda a: self.patch[a] / size[a])

    def stream(
        self,
        array: npt.NDArray[np.float32],
        planes: PlaneSink,
        axis: int | None = None,
        progress: FractionCallback = _ignore,
        cancelled: CancelCheck = never_cancelled,
    ) -> None:
        """Hand the logits of `array` (c, k, j, i) to `planes`, in ascending order along `axis`, a few planes at a time.

        Each call gets (n, m, a, b): m finished planes, and the other two axes of the volume in ascending order. The
        tensor is only valid during the call. Raises Cancelled.
        """
        axis = self.axis(array.shape[1:]) if axis is None else axis
        order = (axis, *(a for a in range(3) if a != axis))
        grid = self.grid(array.shape[1:]).permuted((order[0], order[1], order[2]))
        volume = _padded(array.transpose(0, *(a + 1 for a in order)), grid.size)
        inside = _inside(array, order, grid.size)
        back = tuple(order.index(a) + 1 for a in range(3))  # from streaming order to (k, j, i), of (c, ...)
        slab = _Slab(grid, inside, self.accumulate_on or self.predictor.device)
        done = 0
        for start in grid.starts[0]:
            slab.advance(start, planes)
            for j, i in grid.cross_section():
                check_cancelled(cancelled)
                tile = volume[:, start : start + grid.tile[0], j : j + grid.tile[1], i : i + grid.tile[2]]
                natural = torch.from_numpy(np.ascontiguousarray(tile.transpose(0, *back)))
                logits = self.predictor(natural, cancelled)
                slab.add(logits.permute(0, *(a + 1 for a in order)), j, i)
                done += 1
                progress(done / len(grid))
        slab.advance(grid.size[0], planes)

    def logits(
        self,
        array: npt.NDArray[np.float32],
        progress: FractionCallback = _ignore,
        cancelled: CancelCheck = never_cancelled,
    ) -> torch.Tensor:
        """All logits (n, k, j, i), float32 on the CPU, of `array` (c, k, j, i); for small volumes and for tests."""
        parts: list[torch.Tensor] = []
        self.stream(array, lambda planes: parts.append(planes.cpu().clone()), 0, progress, cancelled)
        return torch.cat(parts, dim=1)


class _Slab:
    """Weighted sums of logits of the planes that tiles at the current position reach."""

    def __init__(self, grid: TileGrid, inside: tuple[slice, slice, slice], device: torch.device) -> None:
        self._grid = grid
        self._inside = inside  # the part of the padded volume that is the volume
        self._device = device
        self._importance = importance(grid.tile).to(device)
        shape = (grid.tile[0], grid.size[1], grid.size[2])
        self._weights = torch.zeros(shape, device=device)
        self._sums: torch.Tensor | None = None
        self._start = 0

    def add(self, logits: torch.Tensor, j: int, i: int) -> None:
        """Blend the logits (n, *tile) of the tile at (j, i) of the current position."""
        if self._sums is None:  # the number of classes is known only now
            self._sums = torch.zeros((logits.shape[0], *self._weights.shape), device=self._device)
        _, height, width = self._grid.tile
        region = (slice(None), slice(j, j + height), slice(i, i + width))
        logits = logits.to(self._device)
        for total, values in zip(self._sums, logits, strict=True):
            total[region].addcmul_(values, self._importance)
        self._weights[region] += self._importance

    def advance(self, start: int, planes: PlaneSink) -> None:
        """Go to the position `start`: hand on the planes before it, make room for those after."""
        count = start - self._start
        if self._sums is None or count == 0:
            return
        depth = self._weights.shape[0]
        self._hand_on(min(count, depth), planes)
        keep = depth - count
        for total in (*self._sums, self._weights):
            # Forward in order and in pieces no larger than the shift: source and target of a piece never overlap.
            for first in range(0, max(keep, 0), count):
                last = min(first + count, keep)
                total[first:last] = total[first + count : last + count]
            total[max(keep, 0) :] = 0
        self._start = start

    def _hand_on(self, count: int, planes: PlaneSink) -> None:
        assert self._sums is not None
        first, last = self._inside[0].start - self._start, self._inside[0].stop - self._start
        first, last = max(first, 0), min(last, count)
        for low in range(first, last, _PLANES_AT_ONCE):
            part = slice(low, min(low + _PLANES_AT_ONCE, last))
            finished = self._sums[:, part, self._inside[1], self._inside[2]]
            planes(finished.div_(self._weights[part, self._inside[1], self._inside[2]]))


def _padded(array: Array, size: Shape) -> Array:
    """`array` (c, ...) with zeros on both sides up to `size`; the array itself where nothing is missing."""
    missing = [want - have for want, have in zip(size, array.shape[1:], strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0), *((m // 2, m - m // 2) for m in missing)])


def _inside(array: Array, order: tuple[int, ...], size: Shape) -> tuple[slice, slice, slice]:
    slices = []
    for axis, want in zip(order, size, strict=True):
        have = array.shape[axis + 1]
        first = (want - have) // 2
        slices.append(slice(first, first + have))
    return slices[0], slices[1], slices[2]
