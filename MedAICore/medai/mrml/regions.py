"""Regions of interest in the coordinates of a volume, whatever transforms both lie under."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from medai.image import Affine, Roi
from medai.mrml.transforms import transform_between
from medai.mrml.volumes import array_from_matrix


def roi_in_volume(roi_node: Any, volume_node: Any) -> Roi:
    """The ROI of a markups node in the coordinates of the volume (its parent transform taken off), RAS mm.

    Between linear transforms a rotated box stays one; under a warp the box around the eight moved corners is taken.
    """
    to_world = vtk.vtkMatrix4x4()
    to_world.DeepCopy(roi_node.GetObjectToWorldMatrix())
    half = np.array(roi_node.GetSize()) / 2
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    world = (np.c_[signs * half, np.ones(8)] @ array_from_matrix(to_world).T)[:, :3]
    between = transform_between(None, volume_node)
    corners = np.array([between.TransformPoint(point) for point in world])
    return roi_of_corners(corners)


def roi_of_corners(corners: Affine) -> Roi:
    """The box with these corners (8, 3), of which the last axis turns fastest; bent ones give the box around them."""
    sides = [corners[4] - corners[0], corners[2] - corners[0], corners[1] - corners[0]]
    lengths = [float(np.linalg.norm(side)) for side in sides]
    if _is_box(corners, sides, lengths):
        unit = np.array([side / length for side, length in zip(sides, lengths, strict=True)]).T
        return Roi(tuple(corners.mean(axis=0)), tuple(lengths), tuple(unit.reshape(9)))  # type: ignore[arg-type]
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Roi(tuple((low + high) / 2), tuple(high - low))


def _is_box(corners: Affine, sides: list[Affine], lengths: list[float]) -> bool:
    """Whether the eight corners still span a box with right angles."""
    if min(lengths) <= 0:
        return False
    unit = np.array([side / length for side, length in zip(sides, lengths, strict=True)])
    far = corners[0] + sides[0] + sides[1] + sides[2]
    return bool(np.abs(unit @ unit.T - np.eye(3)).max() < 1e-3 and np.abs(far - corners[7]).max() < 1e-2)
