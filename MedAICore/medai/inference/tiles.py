"""Where the tiles of a sliding window lie and how much each of their voxels counts; as MONAI's inferer does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch

Shape = tuple[int, int, int]

# Width of the Gaussian as a part of the tile, and its floor: the values of MONAI and nnU-Net (Isensee et al. 2021).
SIGMA_SCALE = 0.125
SMALLEST_WEIGHT = 1e-3


def tile_starts(size: int, tile: int, overlap: float) -> list[int]:
    """First voxels of the tiles that cover `size` voxels (at least one tile's) along one axis, ascending."""
    if size == tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = math.ceil((size - tile) / step) + 1
    return [min(n * step, size - tile) for n in range(count)]


def importance(tile: Shape) -> torch.Tensor:
    """Gaussian weight of each voxel of a tile, (k, j, i), largest in the middle."""
    weights = torch.ones(())
    for size in tile:
        distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        weights = weights[..., None] * torch.exp(-(distance**2) / (2 * (SIGMA_SCALE * size) ** 2))
    return weights.clamp_(min=max(float(weights.min()), SMALLEST_WEIGHT))


@dataclass(frozen=True)
class TileGrid:
    """The tiles of one volume: `size` is the volume's, padded to at least one tile; `starts` per axis (k, j, i)."""

    size: Shape
    tile: Shape
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @classmethod
    def cover(cls, shape: Sequence[int], tile: Shape, overlap: float) -> TileGrid:
        """Tiles that cover a volume of `shape`."""
        size = tuple(max(n, t) for n, t in zip(shape, tile, strict=True))
        starts = [tuple(tile_starts(n, t, overlap)) for n, t in zip(size, tile, strict=True)]
        return cls((size[0], size[1], size[2]), tile, (starts[0], starts[1], starts[2]))

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.starts)

    def permuted(self, order: tuple[int, int, int]) -> TileGrid:
        """The same tiles with the axes in another order."""
        size, tile, starts = ([values[a] for a in order] for values in (self.size, self.tile, self.starts))
        return TileGrid(tuple(size), tuple(tile), tuple(starts))  # type: ignore[arg-type]

    def cross_section(self) -> list[tuple[int, int]]:
        """Starts (j, i) of the tiles at one position along the first axis, in order."""
        return list(product(self.starts[1], self.starts[2]))
