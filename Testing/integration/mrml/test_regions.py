"""ROIs in the coordinates of a volume: rotated, under linear transforms, under warps."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from integration.mrml.scenes import add_transform

from medai.mrml import roi_in_volume


@pytest.fixture
def roi(scene):
    """A rotated ROI of 10 x 12 x 14 mm near the volume."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "region")
    matrix = vtk.vtkTransform()
    matrix.Translate(-120, 80, -1000)
    matrix.RotateWXYZ(30, 1, 1, 0)
    node.SetAndObserveObjectToNodeMatrix(matrix.GetMatrix())
    node.SetSize(10, 12, 14)
    return node


def between(source, target):
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    return transform


def corners_of_node(roi):
    """The eight corners of an ROI node in the world."""
    matrix = roi.GetObjectToWorldMatrix()
    array = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    half = np.array(roi.GetSize()) / 2
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    return (np.c_[signs * half, np.ones(8)] @ array.T)[:, :3]


def test_without_transforms_the_box_is_kept(scene, volume, roi):
    found = roi_in_volume(roi, volume)
    np.testing.assert_allclose(sorted(found.size_mm), (10, 12, 14), atol=1e-6)
    np.testing.assert_allclose(found.corners_ras(), corners_of_node(roi), atol=1e-6)


def test_a_rigid_transform_of_the_volume_is_taken_off(scene, volume, roi):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(50, 1, 2, 3)
    transform.Translate(5, -6, 7)
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
    found = roi_in_volume(roi, volume)
    np.testing.assert_allclose(sorted(found.size_mm), (10, 12, 14), atol=1e-6)
    back = between(node, None)
    world = np.array([back.TransformPoint(corner) for corner in found.corners_ras()])
    np.testing.assert_allclose(world, corners_of_node(roi), atol=1e-5)


@pytest.mark.parametrize("kind", ["thin-plate", "grid"])
def test_under_a_warp_the_box_holds_all_moved_corners(scene, volume, roi, kind):
    warp = add_transform(scene, kind)
    volume.SetAndObserveTransformNodeID(warp.GetID())
    found = roi_in_volume(roi, volume)
    moved = np.array([between(None, warp).TransformPoint(corner) for corner in corners_of_node(roi)])
    assert found.axes == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    low, high = found.corners_ras().min(axis=0), found.corners_ras().max(axis=0)
    np.testing.assert_allclose(low, moved.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(high, moved.max(axis=0), atol=1e-6)
