"""Label map layers of a segmentation as numpy arrays: vtkOrientedImageData objects that several segments may share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from medai.image import Affine, Array, Box
from medai.mrml.volumes import array_from_matrix, matrix_from_array

LABELMAP = "Binary labelmap"
SURFACE = "Closed surface"

Extent = tuple[int, int, int, int, int, int]

# Part of a voxel by which two grids may differ and still count as one: headers are written with 6 to 7 digits.
_SAME_GRID_VOXELS = 1e-3


def new_layer(shape: tuple[int, int, int], start_ijk: Iterable[int], matrix: Affine, dtype: Any) -> tuple[Any, Array]:
    """A layer and the writable view (k, j, i) of its voxels, not initialised.

    `matrix` takes the indices (i, j, k) of the whole grid to the segmentation's coordinates (mm); the layer covers the
    part of that grid that begins at `start_ijk`. An empty shape gives a layer without voxels, as Slicer's empty
    segments have.
    """
    layer = slicer.vtkOrientedImageData()
    layer.SetGeometryFromImageToWorldMatrix(matrix_from_array(matrix))
    size_ijk = shape[::-1] if all(shape) else (0, 0, 0)
    extent: list[int] = []
    for start, size in zip(start_ijk, size_ijk, strict=True):
        extent += [int(start), int(start) + size - 1] if size else [0, -1]
    layer.SetExtent(extent)
    layer.AllocateScalars(numpy_support.get_vtk_array_type(np.dtype(dtype)), 1)
    return layer, layer_array(layer)


def layer_array(layer: Any) -> Array:
    """The voxels (k, j, i) of a layer, as a view; of shape (0, 0, 0) where it has none."""
    i, j, k = layer.GetDimensions()
    scalars = layer.GetPointData().GetScalars()
    if scalars is None or i * j * k == 0:
        return np.zeros((0, 0, 0), np.uint8)
    array: Array = numpy_support.vtk_to_numpy(scalars).reshape(k, j, i)
    return array


def layer_matrix(layer: Any) -> Affine:
    """The 4x4 matrix from the layer's extent indices (i, j, k) to the segmentation's coordinates, mm."""
    matrix = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(matrix)
    return array_from_matrix(matrix)


def segment_ids(segmentation: Any) -> list[str]:
    """The ids of all segments, in their order."""
    return [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]


def layers_of(segmentation: Any, ids: Iterable[str]) -> list[tuple[Any, dict[str, int]]]:
    """The layers of these segments, each with {segment id: the segment's value in that layer}."""
    found: dict[int, tuple[Any, dict[str, int]]] = {}
    for segment_id in ids:
        segment = segmentation.GetSegment(segment_id)
        layer = segment.GetRepresentation(LABELMAP)
        if layer is not None:
            found.setdefault(id(layer), (layer, {}))[1][segment_id] = segment.GetLabelValue()
    return list(found.values())


def bounding_box(array: Array) -> Box | None:
    """The smallest box (slices over k, j, i) around the voxels that are not 0; None where all are."""
    if not array.size:
        return None
    plane = np.bitwise_or.reduce(array, axis=0) if array.dtype.kind in "uib" else (array != 0).any(axis=0)
    if not plane.any():
        return None
    j, i = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    first = next(k for k in range(array.shape[0]) if array[k].any())
    last = next(k for k in reversed(range(array.shape[0])) if array[k].any())
    return slice(first, last + 1), slice(int(j[0]), int(j[-1]) + 1), slice(int(i[0]), int(i[-1]) + 1)


def first_index(layer: Any, box: Box) -> tuple[int, int, int]:
    """The extent index (i, j, k) of the first voxel of a box (slices over k, j, i of the layer's array)."""
    i, j, k = layer.GetExtent()[::2]
    return i + box[2].start, j + box[1].start, k + box[0].start


def values_on_grid(
    layer: Any, start_ijk: Iterable[int], shape: tuple[int, int, int], matrix: Affine, transform: Any = None
) -> Array:
    """The layer's values on another grid, (k, j, i) of `shape`; 0 where the layer does not reach.

    `matrix` takes the indices of the other grid to the segmentation's coordinates, `start_ijk` is the index of the
    first voxel wanted. A grid that differs by whole voxels only is copied exactly, any other is resampled to the
    nearest voxel. `transform` (vtkAbstractTransform) takes the layer's coordinates to those of the other grid.
    """
    source = layer_array(layer)
    values = np.zeros(shape, source.dtype)
    if not source.size or not values.size:
        return values
    start = np.array(tuple(start_ijk))
    offset = None if transform is not None else _whole_voxel_offset(layer_matrix(layer), matrix)
    if offset is None:
        return _resampled(layer, start, shape, matrix, transform)
    # Index of the layer's first voxel relative to the first voxel wanted, along (k, j, i).
    first = (np.array(layer.GetExtent()[::2]) + offset - start)[::-1]
    low = np.maximum(first, 0)
    high = np.minimum(first + source.shape, shape)
    if (low >= high).any():
        return values
    target_box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    source_box = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
    values[target_box] = source[source_box]
    return values


def mask_on_grid(
    layer: Any, values: Collection[int], start_ijk: Iterable[int], shape: tuple[int, int, int], matrix: Affine
) -> npt.NDArray[np.bool_]:
    """Where the layer has one of `values` on another grid, bool (k, j, i); see `values_on_grid`."""
    mask: npt.NDArray[np.bool_] = np.isin(values_on_grid(layer, start_ijk, shape, matrix), list(values))
    return mask


def _whole_voxel_offset(source: Affine, target: Affine) -> npt.NDArray[np.int64] | None:
    """Indices (i, j, k) to add to those of the source grid to get those of the target grid; None for other grids."""
    between = np.linalg.inv(target) @ source
    offset = np.rint(between[:3, 3])
    drift = np.abs(between[:3, :3] - np.eye(3)).max() * 1000.0  # over a thousand voxels
    if drift > _SAME_GRID_VOXELS * 10 or np.abs(between[:3, 3] - offset).max() > _SAME_GRID_VOXELS * 10:
        return None
    return offset.astype(np.int64)


def _resampled(layer: Any, start_ijk: Array, shape: tuple[int, int, int], matrix: Affine, transform: Any) -> Array:
    reference, _ = new_layer(shape, start_ijk, matrix, np.uint8)
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        layer, reference, resampled, False, False, transform
    )
    found = layer_array(resampled)
    if found.shape != shape:
        raise RuntimeError(f"Slicer resampled a segment to {found.shape} voxels instead of {shape}.")
    return found.copy()  # the view dies with `resampled`
