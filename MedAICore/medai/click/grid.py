"""The region of interest of a click session: a cube in the patient, sampled on the small grid that an engine sees.

The cube's axes are those of the voxel grid, its voxels are equally long in mm along all three: so anisotropic images
look to an engine as the anatomy does. Interpolation is separable: one small matrix per axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medai.image import Array, Box

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """`size` voxels along each axis, `voxel_mm` long; `center` is a voxel position (k, j, i) of the image.

    `shape` and `spacing_mm` (k, j, i) are those of the image.
    """

    center: tuple[float, float, float]
    voxel_mm: float
    size: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def steps(self) -> Doubles:
        """Length of a grid voxel in image voxels, along (k, j, i)."""
        return self.voxel_mm / np.asarray(self.spacing_mm)

    def positions(self, axis: int) -> Doubles:
        """Where the grid's voxel centres lie along this axis of the image, in voxels."""
        offsets = np.arange(self.size) - (self.size - 1) / 2
        return self.center[axis] + offsets * self.steps[axis]

    def to_grid(self, kji: npt.ArrayLike) -> Doubles:
        """Positions (n, 3) in image voxels (k, j, i) as positions in grid voxels."""
        moved: Doubles = (np.asarray(kji, np.float64) - self.center) / self.steps + (self.size - 1) / 2
        return moved

    def to_image(self, position: npt.ArrayLike) -> Doubles:
        """A position in grid voxels as one in image voxels, both (k, j, i)."""
        moved: Doubles = (np.asarray(position, np.float64) - (self.size - 1) / 2) * self.steps + np.array(self.center)
        return moved

    def from_grid(self, values: Floats, other: Grid) -> Floats:
        """Values that lie on another grid of the same image, at this grid's voxels, linear; 0 beyond the other."""
        matrices, within = [], []
        for axis in range(3):
            where = (self.positions(axis) - other.center[axis]) / other.steps[axis] + (other.size - 1) / 2
            _, matrix = _sampling(where, 1.0, other.size, whole=True)
            within.append((where > -0.5) & (where < other.size - 0.5))
            matrices.append(matrix)
        k, j, i = within
        inside = k[:, None, None] & j[None, :, None] & i[None, None, :]
        return np.where(inside, _multiply(values, matrices), np.float32(0))

    def box(self) -> Box:
        """The voxels of the image whose centres lie in the cube; at least one along every axis."""
        sides = []
        for axis in range(3):
            half = self.steps[axis] * self.size / 2
            start = min(max(math.ceil(self.center[axis] - half), 0), self.shape[axis] - 1)
            stop = max(min(math.floor(self.center[axis] + half) + 1, self.shape[axis]), start + 1)
            sides.append(slice(start, stop))
        return sides[0], sides[1], sides[2]

    def inside(self) -> npt.NDArray[np.bool_]:
        """(size, size, size): whether a grid voxel lies in the image's extent; beyond it the border is repeated."""
        k, j, i = (
            (self.positions(a) > -0.5 - 1e-6) & (self.positions(a) < self.shape[a] - 0.5 + 1e-6) for a in range(3)
        )
        return k[:, None, None] & j[None, :, None] & i[None, None, :]

    def covers_image(self) -> bool:
        """Whether the whole image lies in the cube."""
        return all(side.start == 0 and side.stop == n for side, n in zip(self.box(), self.shape, strict=True))

    def sample(self, array: Array) -> Floats:
        """The image's voxels (k, j, i) on the grid, linear between voxels, averaged where the grid is the coarser."""
        parts, matrices = [], []
        for axis in range(3):
            part, matrix = _sampling(self.positions(axis), float(self.steps[axis]), self.shape[axis])
            parts.append(part)
            matrices.append(matrix)
        return _multiply(np.asarray(array[tuple(parts)], np.float32), matrices)

    def restore(self, values: Floats, box: Box | None = None) -> Floats:
        """Values on the grid (size, size, size) at the image's voxels in `box` (default: the cube's), linear."""
        matrices = []
        for axis, side in enumerate(box or self.box()):
            where = (np.arange(side.start, side.stop) - self.center[axis]) / self.steps[axis] + (self.size - 1) / 2
            _, matrix = _sampling(where, 1.0, self.size, whole=True)
            matrices.append(matrix)
        return _multiply(values, matrices)


def _sampling(positions: Doubles, step: float, size: int, whole: bool = False) -> tuple[slice, Floats]:
    """Which samples of an axis of `size` are needed, and the weights (positions, samples) that interpolate them.

    The weights are a tent as wide as the coarser of the two grids; positions beyond the ends take the end's value.
    """
    width = max(step, 1.0)
    inside = np.clip(positions, 0, size - 1)
    start = 0 if whole else max(math.floor(inside.min() - width), 0)
    stop = size if whole else min(math.ceil(inside.max() + width) + 1, size)
    # Of a much finer axis every second (third, ...) sample is enough for the tent.
    stride = 1 if whole else max(int(width // 2), 1)
    samples = np.arange(start, stop, stride)
    weights = np.maximum(1.0 - np.abs(inside[:, None] - samples[None]) / max(width, stride), 0.0)
    totals = weights.sum(axis=1, keepdims=True)
    matrix = np.ascontiguousarray(weights / totals, dtype=np.float32)
    return slice(start, stop, stride), matrix


def _multiply(values: Floats, matrices: list[Floats]) -> Floats:
    """Multiply every axis of (k, j, i) by its matrix, the axis that shrinks most first."""
    order = sorted(range(3), key=lambda a: matrices[a].shape[0] / matrices[a].shape[1])
    for axis in order:
        values = np.moveaxis(np.tensordot(matrices[axis], values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values, dtype=np.float32)
