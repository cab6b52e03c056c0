"""Voxel counts, boxes, volumes and intensities of the labels of a label map, in one pass of plain numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medai.errors import GeometryError, InputError
from medai.image import Array, Box, Image
from medai.labels import LabelScheme


@dataclass(frozen=True)
class LabelExtent:
    """How many voxels a label has and the smallest box (slices over k, j, i) that holds them."""

    voxels: int
    box: Box


@dataclass(frozen=True)
class LabelStatistics:
    """Size and intensity of one label. The intensities are None where the label is empty or no image was given."""

    value: int
    name: str
    voxels: int
    volume_ml: float
    mean: float | None = None
    standard_deviation: float | None = None


def label_extents(labels: Array) -> dict[int, LabelExtent]:
    """Voxel count and box of every value but 0 in an integer label map (k, j, i), in ascending order of the values.

    Works on runs of equal voxels along i, slice by slice: label maps have far fewer runs than voxels, so that this is
    several times faster than counting voxels, and needs the memory of a few slices only.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "ui":
        raise InputError(
            f"A label map needs integer voxels (k, j, i), got {labels.dtype} with {labels.ndim} axes.",
            "Round it to whole label values first.",
        )
    voxels: dict[int, int] = {}
    low: dict[int, npt.NDArray[np.intp]] = {}
    high: dict[int, npt.NDArray[np.intp]] = {}
    for k in range(labels.shape[0]):
        for value, count, j0, j1, i0, i1 in _slice_extents(labels[k]):
            first, last = np.array([k, j0, i0]), np.array([k + 1, j1, i1])
            voxels[value] = voxels.get(value, 0) + count
            low[value] = np.minimum(low[value], first) if value in low else first
            high[value] = np.maximum(high[value], last) if value in high else last
    return {value: LabelExtent(voxels[value], _box(low[value], high[value])) for value in sorted(voxels)}


def _box(low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> Box:
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _slice_extents(plane: Array) -> list[tuple[int, int, int, int, int, int]]:
    """(value, voxels, j0, j1, i0, i1) of every value but 0 in a plane (j, i); the ends are exclusive."""
    if not plane.size or not plane.any():
        return []
    width = plane.shape[1]
    flat = np.ascontiguousarray(plane).reshape(-1)
    change = np.empty(flat.size, bool)
    change[0] = True
    np.not_equal(flat[1:], flat[:-1], out=change[1:])
    change[::width] = True  # a run must not go on in the next row, its columns would be lost
    start = np.flatnonzero(change)
    length = np.diff(start, append=flat.size)
    value = flat[start]
    inside = value != 0
    start, length, value = start[inside], length[inside], value[inside]
    order = np.argsort(value, kind="stable")
    start, length, value = start[order], length[order], value[order]
    first = np.flatnonzero(np.r_[True, value[1:] != value[:-1]])
    row, column = np.divmod(start, width)
    return list(
        zip(
            value[first].tolist(),
            np.add.reduceat(length, first).tolist(),
            np.minimum.reduceat(row, first).tolist(),
            (np.maximum.reduceat(row, first) + 1).tolist(),
            np.minimum.reduceat(column, first).tolist(),
            np.maximum.reduceat(column + length, first).tolist(),
            strict=True,
        )
    )


def label_statistics(
    label_map: Image,
    scheme: LabelScheme,
    image: Image | None = None,
    extents: Mapping[int, LabelExtent] | None = None,
) -> list[LabelStatistics]:
    """Voxels, volume (mL) and, where `image` is given, mean and standard deviation of its first channel, per label.

    One entry for every label of the scheme, in its order, empty ones too. Raises GeometryError where the image lies on
    another grid than the label map. Voxels that are not finite are left out of the intensities. `extents` is what
    `label_extents` gives for this label map, where it is known already.
    """
    if image is not None and not image.same_grid(label_map):
        raise GeometryError(
            f"Image '{image.name}' {image.shape} and label map '{label_map.name}' {label_map.shape} do not lie on "
            "one grid.",
            "Resample the label map to the image first.",
        )
    labels = label_map.channel(0)
    extents = label_extents(labels) if extents is None else extents
    found = []
    for label in scheme:
        extent = extents.get(label.value)
        voxels = extent.voxels if extent else 0
        mean, deviation = None, None
        if extent is not None and image is not None:
            inside = image.channel(0)[extent.box][labels[extent.box] == label.value].astype(np.float64)
            inside = inside[np.isfinite(inside)]
            if inside.size:
                mean, deviation = float(inside.mean()), float(inside.std())
        volume_ml = voxels * label_map.voxel_volume_ml
        found.append(LabelStatistics(label.value, label.name, voxels, volume_ml, mean, deviation))
    return found
