"""Weighted sums of overlapping tiles that are held only from the first tile that adds to them to the last."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import torch

from medai.inference.tiles import TileGrid, importance

BlockSink = Callable[[torch.Tensor, int, int], None]


class Blending:
    """Blends tiles that come in order of their position along the first axis, then the second, then the third.

    The volume is cut wherever a tile begins or ends along its first two axes. A cell between cuts gets memory with the
    first tile that reaches it; when the last has, it is handed to `finished` as blended logits (n, m, r, c) with the
    index of its first plane and row, and forgotten: planes ascend, and the rows of each plane ascend. With `relative`
    the logits are those of the other classes minus the first's: whatever compares or normalises them is the same, and
    the first class needs no memory. The order of additions is fixed.
    """

    def __init__(self, grid: TileGrid, device: torch.device, finished: BlockSink, relative: bool = False) -> None:
        self._grid = grid
        self._device = device
        self._finished = finished
        self._first = 1 if relative else 0
        self._importance = importance(grid.tile).to(device)
        self._planes = _Cuts(grid.starts[0], grid.tile[0])
        self._rows = _Cuts(grid.starts[1], grid.tile[1])
        self._cells: dict[tuple[int, int], torch.Tensor] = {}

    def add(self, logits: torch.Tensor, plane: int, row: int, column: int) -> None:
        """Blend the logits (n, *tile) of the tile that begins at these voxels."""
        logits = logits.to(self._device)
        size = logits.shape[0] - self._first
        columns = slice(column, column + self._grid.tile[2])
        for cell, (planes, rows) in self._reached(plane, row):
            sums = self._cells.get(cell)
            if sums is None:
                shape = (planes.stop - planes.start, rows.stop - rows.start, self._grid.size[2])
                sums = self._cells[cell] = torch.zeros((size, *shape), device=self._device)
            part = (slice(planes.start - plane, planes.stop - plane), slice(rows.start - row, rows.stop - row))
            weights = self._importance[part]
            reference = logits[0][part] if self._first else None
            for total, values in zip(sums, logits[self._first :], strict=True):
                value = values[part] if reference is None else values[part] - reference
                total[:, :, columns].addcmul_(value, weights)

    def finish(self, plane: int, row: int) -> None:
        """Hand on what no tile after the ones at this position reaches."""
        for cell, (planes, rows) in self._reached(plane, row):
            if self._planes.last(cell[0]) != plane or self._rows.last(cell[1]) != row:
                continue
            sums = self._cells.pop(cell)
            sums.div_(self._weights(planes, rows))
            self._finished(sums, planes.start, rows.start)

    def _reached(self, plane: int, row: int) -> list[tuple[tuple[int, int], tuple[slice, slice]]]:
        pairs = product(self._planes.reached(plane), self._rows.reached(row))
        return [((p, r), (self._planes.cell(p), self._rows.cell(r))) for p, r in pairs]

    def _weights(self, planes: slice, rows: slice) -> torch.Tensor:
        """The sum of the importance of all tiles in a cell (m, r, c)."""
        shape = (planes.stop - planes.start, rows.stop - rows.start, self._grid.size[2])
        total = torch.zeros(shape, device=self._device)
        for p, r in product(self._planes.reaching(planes), self._rows.reaching(rows)):
            weights = self._importance[planes.start - p : planes.stop - p, rows.start - r : rows.stop - r]
            for column in self._grid.starts[2]:
                total[:, :, column : column + self._grid.tile[2]] += weights
        return total


class _Cuts:
    """The intervals between the beginnings and ends of the tiles along one axis."""

    def __init__(self, starts: tuple[int, ...], tile: int) -> None:
        self._starts = starts
        self._tile = tile
        cuts = sorted({*starts, *(start + tile for start in starts)})
        self._cells = [slice(low, high) for low, high in pairwise(cuts)]

    def cell(self, index: int) -> slice:
        return self._cells[index]

    def reached(self, start: int) -> list[int]:
        """Which intervals the tile at `start` covers, ascending."""
        return [n for n, c in enumerate(self._cells) if start <= c.start and c.stop <= start + self._tile]

    def reaching(self, cell: slice) -> list[int]:
        """Where the tiles begin that cover an interval, ascending."""
        return [start for start in self._starts if start <= cell.start and cell.stop <= start + self._tile]

    def last(self, index: int) -> int:
        """Where the last tile begins that covers an interval."""
        return self.reaching(self._cells[index])[-1]
