"""A volume on the grid of another one: the same values as point by point, through every kind of parent transform."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import slicer
import vtk
from integration.mrml.scenes import SHAPE, corner_warp, grid_matrix

from medai.errors import InputError
from medai.image import Image
from medai.mrml import GridResampler, linear_between, volume_from_image
from medai.mrml.volumes import volume_matrix


@pytest.fixture(params=[False, True], ids=["right-handed", "left-handed"])
def volume(scene, request):
    """The reference: noise on an oblique, anisotropic grid around the origin."""
    matrix = grid_matrix(request.param)
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(SHAPE[::-1]) / 2)
    voxels = np.random.default_rng(3).normal(100, 30, (1, *SHAPE)).astype(np.int16)
    return volume_from_image(scene, Image(voxels, matrix), "reference")


@pytest.fixture
def moving(scene):
    """Smooth values on a left-handed grid that the reference does not fit."""
    k, j, i = np.indices((15, 34, 40))
    matrix = np.diag([-2.1, 1.9, 3.3, 1.0])
    matrix[:3, 3] = (42.0, -32.0, -25.0)
    values = 50 * np.sin(i / 5) + 3.0 * j - 2.0 * k
    return volume_from_image(scene, Image(values[None].astype(np.float32), matrix), "moving")


def transform(scene, kind):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", kind)
    made = vtk.vtkTransform()
    if kind == "linear":
        made.RotateWXYZ(25, 1, 2, 3)
        made.Scale(1.0, 1.2, 0.9)  # with the rotation a shear, which no volume node could hold
        made.Translate(3, -4, 5)
    elif kind == "thin-plate":
        made = corner_warp(30.0, 2.0)
    node.SetAndObserveTransformToParent(made)
    return node


def point_by_point(moving, reference):
    """Each voxel's place through both transforms, and scipy's linear interpolation there."""
    to_world, from_world = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    between = slicer.vtkMRMLTransformNode.GetTransformBetweenNodes
    between(reference.GetParentTransformNode(), None, to_world)
    between(None, moving.GetParentTransformNode(), from_world)
    k, j, i = np.indices(SHAPE)
    places = np.stack([i, j, k, np.ones_like(i)], axis=-1).reshape(-1, 4) @ volume_matrix(reference).T
    moved = np.array([from_world.TransformPoint(to_world.TransformPoint(place)) for place in places[:, :3]])
    ijk = np.c_[moved, np.ones(len(moved))] @ np.linalg.inv(volume_matrix(moving)).T
    voxels = slicer.util.arrayFromVolume(moving).astype(np.float64)
    values = scipy.ndimage.map_coordinates(voxels, ijk[:, 2::-1].T, order=1, cval=voxels.min())
    return values.reshape(SHAPE)


@pytest.mark.parametrize("kinds", [("", ""), ("", "linear"), ("linear", "thin-plate"), ("thin-plate", "linear")])
def test_values_are_those_of_the_same_place(scene, volume, moving, kinds):
    for node, kind in zip((volume, moving), kinds, strict=True):
        node.SetAndObserveTransformNodeID(transform(scene, kind).GetID() if kind else None)
    resampler = GridResampler(moving, volume)
    assert resampler.shape == SHAPE
    found = np.stack([resampler.rows(k, 0, SHAPE[1]) for k in range(SHAPE[0])])
    expected = point_by_point(moving, volume)
    assert expected.std() > 5
    assert np.abs(found - expected).max() < 0.02  # VTK inverts a warp to a thousandth of a millimetre
    assert np.array_equal(resampler.rows(3, 2, 7), found[3, 2:7]), "a part is that part of the whole"


def test_extent_of_the_image_that_does_not_begin_at_zero(scene, volume, moving):
    whole = GridResampler(moving, volume).rows(4, 0, SHAPE[1])
    for node in (volume, moving):
        data, start = node.GetImageData(), np.array([3, -2, 5])
        matrix = volume_matrix(node)
        matrix[:3, 3] -= matrix[:3, :3] @ start
        i, j, k = data.GetDimensions()
        data.SetExtent(3, 2 + i, -2, j - 3, 5, 4 + k)
        shifted = vtk.vtkMatrix4x4()
        shifted.DeepCopy(matrix.ravel().tolist())
        node.SetIJKToRASMatrix(shifted)
    assert np.allclose(GridResampler(moving, volume).rows(4, 0, SHAPE[1]), whole, atol=1e-3)


def test_linear_difference_is_a_matrix_and_a_warp_is_none(scene, volume, moving):
    assert np.allclose(linear_between(moving, volume), np.eye(4))
    linear = transform(scene, "linear")
    moving.SetAndObserveTransformNodeID(linear.GetID())
    matrix = vtk.vtkMatrix4x4()
    linear.GetMatrixTransformToParent(matrix)
    expected = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    assert np.allclose(linear_between(moving, volume), expected)
    assert np.allclose(linear_between(volume, moving), np.linalg.inv(expected))
    volume.SetAndObserveTransformNodeID(transform(scene, "thin-plate").GetID())
    assert linear_between(moving, volume) is None
    moving.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    assert np.allclose(linear_between(moving, volume), np.eye(4)), "under one warp there is no difference"


def test_volume_without_voxels_is_refused(scene, volume):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(InputError, match="'empty' has no voxels"):
        GridResampler(empty, volume)
    with pytest.raises(InputError, match="'empty' has no voxels"):
        GridResampler(volume, empty)
