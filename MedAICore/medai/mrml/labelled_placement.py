"""A volume's voxels where its parent transforms put them, as a file can hold them: on a regular grid in world RAS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from medai.image import Affine, Array
from medai.mrml.resampling import GridResampler
from medai.mrml.volumes import array_from_matrix, check_volume, image_from_volume, matrix_from_array, volume_matrix
from medai.nrrd_stream import slabs_of

_SHEAR = 1e-3  # as files are refused: over 500 slices it moves a voxel by half its size
_LATTICE = 9  # places per axis that are followed through a warp, to find where the volume comes to lie
_LARGEST_GROWTH = 8.0  # voxels of the new grid per voxel of the warped volume; beyond it the warp is no registration
_SLAB_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a volume lies in the world.

    `ijk_to_ras` takes the index of a voxel of the exported array to world RAS mm. `grid` is the node on whose voxels
    labels are read: the volume itself or, where its transforms bend or shear it (`resampled`), a node with the regular
    grid that it is interpolated to, which is in no scene.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: Affine
    grid: Any
    resampled: bool


def placement_of(volume: Any) -> Placement:
    """Where the volume's parent transforms put it. InputError for a node that is no volume or has no voxels."""
    check_volume(volume)
    own = volume_matrix(volume)
    shape: tuple[int, int, int] = tuple(volume.GetImageData().GetDimensions()[::-1])
    to_world = _to_world(volume)
    if to_world is None:
        return Placement(shape, own, volume, False)
    linear = vtk.vtkTransform()
    if slicer.vtkOrientedImageDataResample.IsTransformLinear(to_world, linear):
        matrix: Affine = array_from_matrix(linear.GetMatrix()) @ own
        axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
        if np.abs(axes.T @ axes - np.eye(3)).max() <= _SHEAR:
            return Placement(shape, matrix, volume, False)
    return _regular_grid(own, shape, to_world)


def voxel_slabs(volume: Any, placement: Placement) -> tuple[np.dtype[Any], Iterator[Array]]:
    """The type of the exported voxels, and the voxels as slabs (k, j, i): the volume's own, or float32 interpolated."""
    if not placement.resampled:
        array = image_from_volume(volume, copy=False).channel(0)
        return array.dtype, slabs_of(array, _SLAB_BYTES)
    return np.dtype(np.float32), _interpolated(volume, placement)


def cover(volume: Any, first: Placement) -> float:
    """The part of the first volume's grid that lies inside `volume`, judged on up to 16 places along each axis."""
    axes = [np.unique(np.linspace(0, n - 1, min(n, 16)).astype(int)) for n in first.shape[::-1]]
    ijk = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = (np.c_[ijk, np.ones(len(ijk))] @ first.ijk_to_ras.T)[:, :3]
    to_world = _to_world(volume)
    if to_world is not None:
        from_world = to_world.GetInverse()
        places = np.array([from_world.TransformPoint(place) for place in places])
    own = (np.c_[places, np.ones(len(places))] @ np.linalg.inv(volume_matrix(volume)).T)[:, :3]
    size = np.array(volume.GetImageData().GetDimensions())
    return float(((own >= -0.5) & (own <= size - 0.5)).all(axis=1).mean())


def _interpolated(volume: Any, placement: Placement) -> Iterator[Array]:
    resampler = GridResampler(volume, placement.grid)
    rows = placement.shape[1]
    for k in range(placement.shape[0]):
        yield resampler.rows(k, 0, rows)[None].copy()


def _to_world(node: Any) -> Any:
    parent = node.GetParentTransformNode()
    if parent is None:
        return None
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, None, transform)
    return transform


def _regular_grid(own: Affine, shape: tuple[int, int, int], to_world: Any) -> Placement:
    """The rectangular grid around the bent volume, its axes and spacing as near to the volume's as can be."""
    axes = [np.linspace(0, n - 1, min(n, _LATTICE)) for n in shape[::-1]]
    ijk = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    before = (np.c_[ijk, np.ones(len(ijk))] @ own.T)[:, :3]
    after = np.array([to_world.TransformPoint(point) for point in before])
    # The linear part of the warp tells directions and spacing; a flat axis has no extent that could.
    shift, *_ = np.linalg.lstsq(np.c_[before - before.mean(axis=0), np.ones(len(before))], after - before, rcond=None)
    columns = (np.eye(3) + shift[:3].T) @ own[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    left, _, right = np.linalg.svd(columns / spacing)
    directions = left @ right
    places = after @ directions
    low, high = places.min(axis=0), places.max(axis=0)
    size = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    growth = float(np.prod(size, dtype=float)) / float(np.prod(shape, dtype=float))
    if growth > _LARGEST_GROWTH:
        spacing = spacing * (growth / _LARGEST_GROWTH) ** (1 / 3)
        size = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = directions * spacing
    matrix[:3, 3] = directions @ low
    return Placement((int(size[2]), int(size[1]), int(size[0])), matrix, _grid_node(matrix, size), True)


def _grid_node(matrix: Affine, size_ijk: Array) -> Any:
    node = slicer.vtkMRMLScalarVolumeNode()
    data = vtk.vtkImageData()
    data.SetDimensions([int(n) for n in size_ijk])
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    node.SetIJKToRASMatrix(matrix_from_array(matrix))
    node.SetAndObserveImageData(data)
    node.SetName("grid")
    return node
