"""Linear interpolation of logits, block by block of the target grid, each block small enough for the cache.

Grids share their outer faces (torch's ``align_corners=False``). On a CPU a block is 16 rows of the streaming axis times
a tile of the two other axes, and the rows are its *last* axis: then every voxel of the tile is 16 neighbouring floats,
the streaming axis is a small matrix product, and the two others together are one weighted sum of four such pieces,
which torch's `embedding_bag` does with the processor's vector instructions. That is three to four times faster than
`interpolate`, which goes voxel by voxel along the last axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as functional

from medai.image import Array

# A vector's worth of rows, and the voxels of a tile: 128 x 128 x 16 floats are 1 MiB.
_ROWS = 16
_TILE = 128
# On a device so many voxels are interpolated at a time (float32: 16 MB), of all classes that are kept together.
_DEVICE_VOXELS = 4_000_000
_DEVICE_VALUES = 10 * _DEVICE_VOXELS


@dataclass(frozen=True, eq=False)
class Taps:
    """For each row of one axis of the target the source rows below and above it, and the share of the upper one."""

    lower: Array
    upper: Array
    fraction: Array

    @classmethod
    def between(cls, size: int, new_size: int) -> Taps:
        """Taps from `size` to `new_size` rows between the same outer faces."""
        if size == new_size:
            index = np.arange(size, dtype=np.int64)
            return cls(index, index, np.zeros(size, np.float32))
        position = np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)
        lower = np.floor(position).astype(np.int64)
        return cls(lower, np.minimum(lower + 1, size - 1), (position - lower).astype(np.float32))

    @property
    def plain(self) -> bool:
        """Whether every row is a source row, one after the other."""
        return not self.fraction.any() and bool((np.diff(self.lower) == 1).all())

    def within(self, first: int, stop: int) -> tuple[slice, Taps]:
        """The rows that need none but the source rows first..stop, and their taps into these."""
        rows = slice(int(np.searchsorted(self.lower, first)), int(np.searchsorted(self.upper, stop, side="left")))
        return rows, Taps(self.lower[rows] - first, self.upper[rows] - first, self.fraction[rows])

    def part(self, start: int, stop: int) -> tuple[slice, Taps]:
        """The source rows that the rows start..stop need, and the taps into these alone."""
        first, last = int(self.lower[start]), int(self.upper[stop - 1]) + 1
        rows = slice(start, stop)
        return slice(first, last), Taps(self.lower[rows] - first, self.upper[rows] - first, self.fraction[rows])


class Block(Protocol):
    """A part of the target grid, axes (row of the streaming axis, a, b), whose logits are computed when asked for."""

    @property
    def index(self) -> tuple[slice, slice, slice]:
        """Where in the target it lies."""

    def source(self) -> torch.Tensor:
        """All source logits (n, p, a, b), float32, between which the block is interpolated."""

    def logits(self, n: int) -> torch.Tensor:
        """Class n, float32, in the block's own order of axes; the caller may overwrite it."""

    def arranged(self, values: torch.Tensor) -> Array:
        """Values in the block's own order as an array (row, a, b)."""


class BlockInterpolator(Protocol):
    """Cuts rows of the target into blocks."""

    def blocks(self, planes: torch.Tensor, rows: Taps, start: int) -> Iterator[Block]:
        """Blocks for the target rows from `start` on that `rows` (taps into `planes`, (n, p, a, b)) describes."""


def interpolator(a: Taps, b: Taps, device: torch.device, classes_at_once: int = 1) -> BlockInterpolator:
    """The way from planes (a, b) to the rows of both taps that is fast on `device`.

    The caller keeps the logits of `classes_at_once` classes of a block.
    """
    if device.type == "cpu":
        return _TiledInterpolator(a, b)
    return _DeviceInterpolator(a, b, min(_DEVICE_VOXELS, _DEVICE_VALUES // classes_at_once))


@dataclass(frozen=True, eq=False)
class _Tile:
    """A tile of the target's planes: `target` and `source` slices over (a, b), and the sum of four of each voxel."""

    target: tuple[slice, slice]
    source: tuple[slice, slice]
    indices: torch.Tensor
    offsets: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, a: Taps, b: Taps, target: tuple[slice, slice]) -> _Tile:
        source_a, taps_a = a.part(target[0].start, target[0].stop)
        source_b, taps_b = b.part(target[1].start, target[1].stop)
        width = source_b.stop - source_b.start
        corners, weights = [], []
        for row, row_weight in ((taps_a.lower, 1 - taps_a.fraction), (taps_a.upper, taps_a.fraction)):
            for column, column_weight in ((taps_b.lower, 1 - taps_b.fraction), (taps_b.upper, taps_b.fraction)):
                corners.append(row[:, None] * width + column[None])
                weights.append(row_weight[:, None] * column_weight[None])
        # int32: with it the library takes its vectorised way.
        indices = torch.from_numpy(np.stack(corners, -1).ravel().astype(np.int32))
        offsets = torch.arange(0, len(indices), 4, dtype=torch.int32)
        return cls(target, (source_a, source_b), indices, offsets, torch.from_numpy(np.stack(weights, -1).ravel()))


class _TiledInterpolator:
    def __init__(self, a: Taps, b: Taps) -> None:
        self._interpolates = not (a.plain and b.plain)
        self._tiles = [
            _Tile.of(a, b, (_cut(start_a, len(a.lower)), _cut(start_b, len(b.lower))))
            for start_a in range(0, len(a.lower), _TILE)
            for start_b in range(0, len(b.lower), _TILE)
        ]

    def blocks(self, planes: torch.Tensor, rows: Taps, start: int) -> Iterator[Block]:
        for first in range(0, len(rows.lower), _ROWS):
            last = min(first + _ROWS, len(rows.lower))
            source_rows, taps = rows.part(first, last)
            weights = torch.from_numpy(_row_weights(taps, source_rows.stop - source_rows.start))
            for tile in self._tiles:
                index = (slice(start + first, start + last), *tile.target)
                source = planes[(slice(None), source_rows, *tile.source)]
                yield _TiledBlock(index, source, weights, tile, self._interpolates)


@dataclass(frozen=True, eq=False)
class _TiledBlock:
    """Own order of axes: (voxel of the tile, row), the rows filled up to 16."""

    index: tuple[slice, slice, slice]
    planes: torch.Tensor
    weights: torch.Tensor
    tile: _Tile
    interpolates: bool

    @cached_property
    def _source(self) -> torch.Tensor:
        return self.planes.float().contiguous()

    def source(self) -> torch.Tensor:
        return self._source

    def logits(self, n: int) -> torch.Tensor:
        table = self._source[n].flatten(1).t() @ self.weights
        if not self.interpolates:
            return table
        tile = self.tile
        return functional.embedding_bag(tile.indices, table, tile.offsets, mode="sum", per_sample_weights=tile.weights)

    def arranged(self, values: torch.Tensor) -> Array:
        rows, a, b = (part.stop - part.start for part in self.index)
        arranged: Array = values.view(a, b, _ROWS)[..., :rows].permute(2, 0, 1).numpy()
        return arranged


class _DeviceInterpolator:
    """On a graphics card slabs of whole planes are fast, and small blocks would not be."""

    def __init__(self, a: Taps, b: Taps, voxels: int) -> None:
        self._plane = (a, b)
        self._rows_at_once = max(1, voxels // max(1, len(a.lower) * len(b.lower)))

    def blocks(self, planes: torch.Tensor, rows: Taps, start: int) -> Iterator[Block]:
        a, b = self._plane
        for first in range(0, len(rows.lower), self._rows_at_once):
            source_rows, taps = rows.part(first, min(first + self._rows_at_once, len(rows.lower)))
            last = start + first + len(taps.lower)
            index = (slice(start + first, last), slice(0, len(a.lower)), slice(0, len(b.lower)))
            yield _DeviceBlock(index, planes[:, source_rows], (taps, a, b))


@dataclass(frozen=True, eq=False)
class _DeviceBlock:
    """Own order of axes: (row, a, b)."""

    index: tuple[slice, slice, slice]
    planes: torch.Tensor
    taps: tuple[Taps, Taps, Taps]

    def source(self) -> torch.Tensor:
        return self.planes.float()

    def logits(self, n: int) -> torch.Tensor:
        values = self.planes[n].float()
        for axis, taps in enumerate(self.taps):
            lower, upper = (torch.from_numpy(rows).to(values.device) for rows in (taps.lower, taps.upper))
            if taps.plain:
                values = values.index_select(axis, lower)
                continue
            shape = [-1 if a == axis else 1 for a in range(3)]
            share = torch.from_numpy(taps.fraction).to(values.device).reshape(shape)
            values = torch.lerp(values.index_select(axis, lower), values.index_select(axis, upper), share)
        return values

    def arranged(self, values: torch.Tensor) -> Array:
        arranged: Array = values.cpu().numpy()
        return arranged


def _cut(start: int, size: int) -> slice:
    return slice(start, min(start + _TILE, size))


def _row_weights(taps: Taps, planes: int) -> Array:
    """(planes, 16): what each plane counts for each row; the columns beyond the last row are zero."""
    weights = np.zeros((planes, _ROWS), np.float32)
    columns = np.arange(len(taps.lower))
    np.add.at(weights, (taps.lower, columns), 1 - taps.fraction)
    np.add.at(weights, (taps.upper, columns), taps.fraction)
    return weights


def candidates(source: torch.Tensor) -> Sequence[int]:
    """The classes of `source` (n, p, a, b) that can be the largest anywhere between these voxels; exact.

    Interpolated logits are weighted means of the source's. Of any set of classes, the largest is at least their mean:
    so a class that is below the mean of a few leading classes at every voxel of the source is below the largest of them
    everywhere in between. The leading classes are those that win at every fourth voxel.
    """
    count = source.shape[0]
    sampled = source[:, ::4, ::4, ::4].reshape(count, -1)
    leading = torch.unique(sampled.argmax(0)).tolist()
    reference = source[leading[0]]
    for n in leading[1:]:
        reference = reference + source[n]
    reference = reference / len(leading)
    # Rounding must not decide: a class that is below by less than float32's noise stays.
    margin = 1e-5 * float(torch.maximum(reference.amax(), -reference.amin()))
    gap = torch.empty_like(reference)
    stay = set(leading)
    for n in range(count):
        if n not in stay and not float(torch.sub(reference, source[n], out=gap).amin()) > margin:
            stay.add(n)
    return sorted(stay)
