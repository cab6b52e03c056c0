"""Sliding window whose memory does not grow with classes times volume.

The window's tiles are walked plane by plane along one axis, row by row along a second. Only what the tiles so far and
the tiles to come both reach is held; what no later tile touches is finished, handed on, and forgotten. Blending is the
Gaussian weighting of MONAI's `sliding_window_inference`, whose result this equals up to the order of float32 additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from medai.image import Array
from medai.inference.blending import Blending, BlockSink
from medai.inference.predictor import Predictor
from medai.inference.tiles import Shape, TileGrid
from medai.progress import CancelCheck, check_cancelled, never_cancelled

PlaneSink = Callable[[torch.Tensor], None]
FractionCallback = Callable[[float], None]

# Finished planes are handed on a few at a time, so that these copies, and the receiver's, stay small.
_PLANES_AT_ONCE = 8
_BYTES_AT_ONCE = 4e6


def _ignore(fraction: float) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class SlidingWindow:
    """Runs `predictor` over tiles of `patch` (k, j, i) that overlap by the part `overlap` (0..<1) of a tile.

    Volumes smaller than a patch are padded with zeros on both sides. The order of tiles and additions is fixed: equal
    input gives equal output on one device. `accumulate_on`: where the sums lie (default: the predictor's device).
    `relative`: the logits are handed on minus the first class's, which changes no label and no probability and saves
    the first class's memory.
    """

    predictor: Predictor
    patch: Shape
    overlap: float = 0.5
    accumulate_on: torch.device | None = None
    relative: bool = False

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
        self._run(array, axis, lambda inside: _WholePlanes(inside, planes), progress, cancelled)

    def stream_blocks(
        self,
        array: npt.NDArray[np.float32],
        blocks: BlockSink,
        axis: int | None = None,
        progress: FractionCallback = _ignore,
        cancelled: CancelCheck = never_cancelled,
    ) -> None:
        """As `stream`, but hand on part of the rows of a few planes as soon as they are finished.

        Each call gets (n, m, r, b) and the indices of its first plane along `axis` and of its first row along the first
        of the other two axes. Planes ascend, and the rows of a plane ascend. Less is held than for whole planes: of the
        finished ones one row of tiles in place of all. The tensor is only valid during the call. Raises Cancelled.
        """
        self._run(array, axis, lambda inside: _Blocks(inside, blocks), progress, cancelled)

    def _run(
        self,
        array: npt.NDArray[np.float32],
        axis: int | None,
        receiver: Callable[[_Inside], _Receiver],
        progress: FractionCallback,
        cancelled: CancelCheck,
    ) -> None:
        axis = self.axis(array.shape[1:]) if axis is None else axis
        order = (axis, *(a for a in range(3) if a != axis))
        grid = self.grid(array.shape[1:]).permuted((order[0], order[1], order[2]))
        volume = _padded(array.transpose(0, *(a + 1 for a in order)), grid.size)
        back = tuple(order.index(a) + 1 for a in range(3))  # from streaming order to (k, j, i), of (c, ...)
        finished = receiver(_Inside.of(array, order, grid.size, self.relative))
        device = self.accumulate_on or self.predictor.device
        blending = Blending(grid, device, finished.take, self.relative)
        depth, height, width = grid.tile
        done = 0
        for plane, row in product(grid.starts[0], grid.starts[1]):
            for column in grid.starts[2]:
                check_cancelled(cancelled)
                tile = volume[:, plane : plane + depth, row : row + height, column : column + width]
                natural = torch.from_numpy(_own(tile.transpose(0, *back)))
                logits = self.predictor(natural, cancelled)
                blending.add(logits.permute(0, *(a + 1 for a in order)), plane, row, column)
                done += 1
                progress(done / len(grid))
            blending.finish(plane, row)

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


@dataclass(frozen=True)
class _Inside:
    """The part of the padded volume that is the volume, in streaming order; `relative` as in the window."""

    planes: slice
    rows: slice
    columns: slice
    relative: bool

    @classmethod
    def of(cls, array: Array, order: tuple[int, ...], size: Shape, relative: bool) -> _Inside:
        slices = []
        for axis, want in zip(order, size, strict=True):
            have = array.shape[axis + 1]
            first = (want - have) // 2
            slices.append(slice(first, first + have))
        return cls(slices[0], slices[1], slices[2], relative)

    def pieces(self, sums: torch.Tensor, plane: int, rows: int) -> Iterator[tuple[slice, int]]:
        """Which planes of a block whose first plane is `plane` to hand on at a time, and the volume's plane they are.

        `rows` is how many rows are handed on with them.
        """
        low, high = max(self.planes.start - plane, 0), min(self.planes.stop - plane, sums.shape[1])
        classes = sums.shape[0] + self.relative
        fit = int(_BYTES_AT_ONCE / (classes * max(rows, 1) * sums.shape[3] * sums.element_size()))
        step = min(max(fit, 1), _PLANES_AT_ONCE)
        for start in range(low, high, step):
            yield slice(start, min(start + step, high)), plane + start - self.planes.start

    def cut(self, sums: torch.Tensor, planes: slice, row: int) -> torch.Tensor:
        """These planes of a block whose first row is `row`, without what lies outside of the volume's rows, columns."""
        rows = slice(max(self.rows.start - row, 0), max(min(self.rows.stop - row, sums.shape[2]), 0))
        return sums[:, planes, rows, self.columns]

    def joined(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Parts with ascending rows as one tensor, with the zeros of the first class where the sums leave it out."""
        if not self.relative:
            return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        classes, planes, _, columns = parts[0].shape
        whole = parts[0].new_empty((classes + 1, planes, sum(p.shape[2] for p in parts), columns))
        whole[0] = 0.0
        row = 0
        for part in parts:
            whole[1:, :, row : row + part.shape[2]] = part
            row += part.shape[2]
        return whole


class _Receiver(Protocol):
    """Takes the finished cells of a `Blending`."""

    def take(self, sums: torch.Tensor, plane: int, row: int) -> None: ...


class _Blocks:
    """Hands every cell on at once."""

    def __init__(self, inside: _Inside, blocks: BlockSink) -> None:
        self._inside = inside
        self._blocks = blocks

    def take(self, sums: torch.Tensor, plane: int, row: int) -> None:
        for planes, first in self._inside.pieces(sums, plane, sums.shape[2]):
            part = self._inside.cut(sums, planes, row)
            if part.shape[2]:
                self._blocks(self._inside.joined([part]), first, max(row - self._inside.rows.start, 0))


class _WholePlanes:
    """Keeps cells until the last rows of their planes have come."""

    def __init__(self, inside: _Inside, planes: PlaneSink) -> None:
        self._inside = inside
        self._planes = planes
        self._waiting: dict[int, list[tuple[torch.Tensor, int]]] = {}

    def take(self, sums: torch.Tensor, plane: int, row: int) -> None:
        waiting = self._waiting.setdefault(plane, [])
        waiting.append((sums, row))
        if row + sums.shape[2] < self._inside.rows.stop:
            return
        del self._waiting[plane]
        rows = self._inside.rows.stop - self._inside.rows.start
        for planes, _ in self._inside.pieces(sums, plane, rows):
            parts = [self._inside.cut(cell, planes, first) for cell, first in waiting]
            self._planes(self._inside.joined([part for part in parts if part.shape[2]]))


def _own(tile: Array) -> Array:
    """The tile as one piece of memory that torch may have: images can be files that are mapped for reading only."""
    contiguous = np.ascontiguousarray(tile)
    return contiguous if contiguous.flags.writeable else contiguous.copy()


def _padded(array: Array, size: Shape) -> Array:
    """`array` (c, ...) with zeros on both sides up to `size`; the array itself where nothing is missing."""
    missing = [want - have for want, have in zip(size, array.shape[1:], strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0), *((m // 2, m - m // 2) for m in missing)])
