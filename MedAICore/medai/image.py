"""Images whose geometry travels with their voxels. World coordinates are RAS millimetres, as in Slicer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medai.errors import GeometryError, InputError

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Image:
    """A 3D image, or a label map: voxels and the place of the voxels in the patient.

    `array` has the axes (channel, k, j, i); `ijk_to_ras` is the 4x4 matrix that takes a voxel index (i, j, k, 1)
    to RAS mm. Index (0, 0, 0) is the *centre* of the first voxel. A left-handed matrix is
    allowed, a singular one is not.
    """

    array: Array
    ijk_to_ras: Affine
    name: str = ""
    modality: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim != 4:
            raise InputError(
                f"Image '{self.name}' has {self.array.ndim} axes, shape {self.array.shape}.",
                "Give the axes (channel, k, j, i).",
            )
        matrix = np.asarray(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise GeometryError(
                f"Image '{self.name}': the voxel-to-RAS matrix is not a finite 4x4 matrix: {matrix.tolist()}.",
                "Repair the header of the file.",
            )
        columns = np.linalg.norm(matrix[:3, :3], axis=0)
        if not columns.all() or abs(np.linalg.det(matrix[:3, :3] / columns)) < 1e-6:
            raise GeometryError(
                f"Image '{self.name}': the axes of the voxel grid are not independent: {matrix[:3, :3].tolist()}.",
                "Repair the header of the file: every axis needs a direction of its own and a spacing above zero.",
            )
        object.__setattr__(self, "ijk_to_ras", matrix)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (k, j, i)."""
        return self.array.shape[1], self.array.shape[2], self.array.shape[3]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[0])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along (k, j, i), in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres; right for sheared grids too."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    def channel(self, index: int) -> Array:
        """The voxels (k, j, i) of one channel, as a view."""
        channel: Array = self.array[index]
        return channel

    def same_grid(self, other: Image, tolerance_voxels: float = 1e-3) -> bool:
        """Whether both have the same shape and every corner voxel lies at the same place, within a part of a voxel."""
        if self.shape != other.shape:
            return False
        distance_mm = np.linalg.norm(corners_ras(self) - corners_ras(other), axis=1).max()
        return bool(distance_mm <= tolerance_voxels * min(self.spacing_mm))

    def with_array(self, array: Array) -> Image:
        """The same geometry and name with other voxels, axes (channel, k, j, i) or (k, j, i), of the same grid."""
        array = array[None] if array.ndim == 3 else array
        if array.shape[1:] != self.array.shape[1:]:
            raise GeometryError(
                f"Voxels of shape {array.shape[1:]} do not fit the grid of image '{self.name}', {self.shape}.",
                "Resample them to that grid first.",
            )
        return replace(self, array=array)


def corners_ras(image: Image) -> Affine:
    """Centres of the eight corner voxels, (8, 3), RAS mm."""
    k, j, i = (n - 1 for n in image.shape)
    index = np.array([(a, b, c, 1) for a in (0, i) for b in (0, j) for c in (0, k)], dtype=np.float64)
    corners: Affine = (index @ image.ijk_to_ras.T)[:, :3]
    return corners


def crop(image: Image, box: Box) -> Image:
    """The part of the image inside `box` (slices over k, j, i, with start and stop); its geometry follows."""
    start_ijk = np.array([box[2].start, box[1].start, box[0].start, 1.0])
    ijk_to_ras = image.ijk_to_ras.copy()
    ijk_to_ras[:3, 3] = (image.ijk_to_ras @ start_ijk)[:3]
    return replace(image, array=image.array[(slice(None), *box)], ijk_to_ras=ijk_to_ras)


@dataclass(frozen=True)
class Roi:
    """A box in the patient that may be rotated, as Slicer's ROI nodes are.

    `center_ras` and `size_mm` (full lengths along the ROI's own axes) in mm; `axes` is the row-major 3x3 matrix whose
    columns are the ROI's unit axes in RAS.
    """

    center_ras: tuple[float, float, float]
    size_mm: tuple[float, float, float]
    axes: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        values = (*self.center_ras, *self.size_mm, *self.axes)
        if len(self.center_ras) != 3 or len(self.size_mm) != 3 or len(self.axes) != 9 or not np.isfinite(values).all():
            raise InputError(
                f"The ROI is not a box of finite numbers: centre {self.center_ras}, size {self.size_mm}.",
                "Give a centre (3), a size in mm (3) and axes (9).",
            )
        if min(self.size_mm) <= 0:
            raise InputError(
                f"The ROI has a side of no length: {self.size_mm} mm.", "Make every side longer than 0 mm."
            )

    @classmethod
    def from_bounds(cls, bounds: Sequence[float]) -> Roi:
        """An axis-aligned ROI from (R0, R1, A0, A1, S0, S1) in mm; each pair in either order."""
        if len(bounds) != 6:
            raise InputError(f"An ROI needs six numbers, got {len(bounds)}: {list(bounds)}.", "Give R0,R1,A0,A1,S0,S1.")
        low = [min(bounds[2 * a], bounds[2 * a + 1]) for a in range(3)]
        high = [max(bounds[2 * a], bounds[2 * a + 1]) for a in range(3)]
        center = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
        size = tuple(b - a for a, b in zip(low, high, strict=True))
        return cls(center, size)  # type: ignore[arg-type]

    def corners_ras(self) -> Affine:
        """The eight corners, (8, 3), RAS mm."""
        axes = np.array(self.axes, dtype=np.float64).reshape(3, 3)
        half = np.array(self.size_mm) / 2
        signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=np.float64)
        corners: Affine = np.array(self.center_ras) + (signs * half) @ axes.T
        return corners

    def index_box(self, image: Image) -> Box:
        """The smallest box of voxels (slices over k, j, i) of `image` that covers the ROI, cut at the image's border.

        Raises InputError where the ROI lies outside the image.
        """
        corners = np.c_[self.corners_ras(), np.ones(8)]
        ijk = (corners @ np.linalg.inv(image.ijk_to_ras).T)[:, :3]
        low = np.floor(ijk.min(axis=0) + 0.5 + 1e-6).astype(int)
        high = np.ceil(ijk.max(axis=0) + 0.5 - 1e-6).astype(int)
        size_ijk = image.shape[::-1]
        if (high <= 0).any() or (low >= size_ijk).any():
            raise InputError(
                f"The ROI (centre {tuple(round(c, 1) for c in self.center_ras)} mm) lies outside image '{image.name}'.",
                "Move the ROI onto the image.",
            )
        low = np.clip(low, 0, np.array(size_ijk) - 1)
        high = np.clip(high, low + 1, size_ijk)
        box = tuple(slice(int(low[a]), int(high[a])) for a in (2, 1, 0))
        return box[0], box[1], box[2]
