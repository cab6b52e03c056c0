"""A rerun into a segmentation that a person has worked on: their segments stay as they are, whatever they share."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from integration.mrml.scenes import SHAPE, add_transform, scheme_of, segment_mask
from vtk.util.numpy_support import vtk_to_numpy

from medai.errors import GeometryError, InputError
from medai.mrml import OverwritePolicy, create_surfaces, write_segmentation
from medai.mrml.layers import LABELMAP, SURFACE, new_layer
from medai.mrml.volumes import volume_matrix

BOX = (slice(3, 9), slice(10, 25), slice(12, 30))
PAINTED = (slice(5, 12), slice(14, 35), slice(5, 20))


def write(scene, labels, volume, node=None, run="run-1", policy=OverwritePolicy.PROTECT, **options):
    scheme = scheme_of(1, 2)
    return write_segmentation(scene, labels, scheme, volume, node, run_id=run, model_id="m", policy=policy, **options)


@pytest.fixture
def labels() -> np.ndarray:
    """Two labels, one beside the other."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[BOX] = 1
    labels[3:9, 10:25, 30:38] = 2
    return labels


@pytest.fixture
def moved(labels) -> np.ndarray:
    """What the second run finds: the same a few voxels further."""
    return np.roll(labels, (1, 3, -2), axis=(0, 1, 2))


def paint(host, node, volume, box, name="user", overwrite=True) -> str:
    """Add a segment and paint a box into it, by the logic of Slicer's segment editor."""
    editor = host.scene.AddNode(slicer.vtkMRMLSegmentEditorNode())
    editor.SetOverwriteMode(editor.OverwriteAllSegments if overwrite else editor.OverwriteNone)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(host.scene)
    logic.SetMRMLApplicationLogic(host.application_logic)
    logic.SetSegmentEditorNode(editor)
    logic.SetSegmentationNode(node)
    logic.SetSourceVolumeNode(volume)
    segment_id = node.GetSegmentation().AddEmptySegment(name, name)
    logic.SetCurrentSegmentID(segment_id)
    logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    k, j, i = modifier.GetDimensions()[::-1]
    vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(k, j, i)[box] = 1
    modifier.Modified()
    per_segment, bypass_masking = True, False
    logic.ModifySegmentByLabelmap(node, segment_id, modifier, logic.ModificationModeAdd, per_segment, bypass_masking)
    return segment_id


@pytest.mark.parametrize("overwrite", [True, False], ids=["over our segments", "beside our segments"])
def test_a_painted_segment_survives_a_rerun_byte_for_byte(host, scene, volume, labels, moved, overwrite):
    first = write(scene, labels, volume)
    node = scene.GetNodeByID(first.segmentation_node_id)
    user = paint(host, node, volume, PAINTED, overwrite=overwrite)
    segment = node.GetSegmentation().GetSegment(user)
    ours = node.GetSegmentation().GetSegment(first.segment_ids[1])
    if overwrite:  # the case that erases a person's work when the layer object is simply replaced
        assert segment.GetRepresentation(LABELMAP) is ours.GetRepresentation(LABELMAP)
    before = segment_mask(node, user, volume)
    expected = np.zeros(SHAPE, np.uint8)
    expected[PAINTED] = 1
    assert np.array_equal(before, expected)
    second = write(scene, moved, volume, node, run="run-2")
    assert segment_mask(node, user, volume).tobytes() == before.tobytes()
    assert segment.GetName() == "user"
    for value, segment_id in second.segment_ids.items():
        found = segment_mask(node, segment_id, volume)
        assert np.array_equal(found, (moved == value) & (expected == 0))
        assert second.voxels[value] == found.sum()
        assert second.protected_voxels.get(value, 0) == np.count_nonzero((moved == value) & (expected == 1))
    third = write(scene, labels, volume, node, run="run-3")
    assert third.segment_ids == first.segment_ids
    assert segment_mask(node, user, volume).tobytes() == before.tobytes()


@pytest.mark.parametrize("locked", [False, True], ids=["unlocked", "completed"])
@pytest.mark.parametrize("policy", list(OverwritePolicy))
def test_every_policy_decides_who_keeps_a_voxel(host, scene, volume, labels, policy, locked):
    first = write(scene, np.zeros(SHAPE, np.uint8), volume)
    node = scene.GetNodeByID(first.segmentation_node_id)
    user = paint(host, node, volume, PAINTED)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if locked:
        logic.SetSegmentStatus(node.GetSegmentation().GetSegment(user), logic.Completed)
    painted = segment_mask(node, user, volume).astype(bool)
    result = write(scene, labels, volume, node, run="run-2", policy=policy)
    users = segment_mask(node, user, volume).astype(bool)
    ours = np.zeros(SHAPE, bool)
    for segment_id in result.segment_ids.values():
        ours |= segment_mask(node, segment_id, volume).astype(bool)
    user_wins = policy is OverwritePolicy.PROTECT or (policy is OverwritePolicy.OVERWRITE_UNLOCKED and locked)
    if policy is OverwritePolicy.ALLOW_OVERLAP:
        assert np.array_equal(users, painted)
        assert np.array_equal(ours, labels > 0)
    elif user_wins:
        assert np.array_equal(users, painted)
        assert np.array_equal(ours, (labels > 0) & ~painted)
        assert "left to them" in " ".join(result.warnings)
    else:
        assert np.array_equal(users, painted & (labels == 0))
        assert np.array_equal(ours, labels > 0)
        assert result.cleared_voxels == {user: int(np.count_nonzero(painted & (labels > 0)))}


def test_our_completed_segment_is_not_written_again(scene, volume, labels, moved):
    first = write(scene, labels, volume)
    node = scene.GetNodeByID(first.segmentation_node_id)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment(first.segment_ids[1]), logic.Completed)
    second = write(scene, moved, volume, node, run="run-2")
    assert set(second.segment_ids) == {2}
    assert "completed" in second.warnings[0]
    assert np.array_equal(segment_mask(node, first.segment_ids[1], volume), labels == 1)
    assert np.array_equal(segment_mask(node, first.segment_ids[2], volume), (moved == 2) & (labels != 1))
    forced = write(scene, moved, volume, node, run="run-3", policy=OverwritePolicy.OVERWRITE_ALL)
    assert np.array_equal(segment_mask(node, forced.segment_ids[1], volume), moved == 1)


def test_a_segment_to_keep_becomes_the_persons_own(scene, volume, labels, moved):
    first = write(scene, labels, volume)
    node = scene.GetNodeByID(first.segmentation_node_id)
    second = write(scene, moved, volume, node, run="run-2", keep=[first.segment_ids[1]])
    assert second.segment_ids[1] != first.segment_ids[1]
    assert np.array_equal(segment_mask(node, first.segment_ids[1], volume), labels == 1)
    assert np.array_equal(segment_mask(node, second.segment_ids[1], volume), (moved == 1) & (labels != 1))


def add_segment_on_other_grid(node, volume, name="fine") -> str:
    """A ball-like segment with half the voxel size along i, on a grid that no voxel of the volume lies on."""
    matrix = volume_matrix(volume) @ np.diag([0.5, 1, 1, 1])
    matrix[:3, 3] = (volume_matrix(volume) @ [-0.21, 0.3, 0.1, 1])[:3]
    layer, voxels = new_layer((SHAPE[0], SHAPE[1], 2 * SHAPE[2]), (0, 0, 0), matrix, np.uint8)
    voxels[...] = 0
    voxels[4:11, 12:30, 20:50] = 1
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetLabelValue(1)
    segment.AddRepresentation(LABELMAP, layer)
    node.GetSegmentation().AddSegment(segment, name)
    return name


@pytest.mark.parametrize("policy", [OverwritePolicy.PROTECT, OverwritePolicy.OVERWRITE_ALL])
def test_a_segment_on_another_grid_is_met_where_it_lies(scene, volume, labels, policy):
    first = write(scene, np.zeros(SHAPE, np.uint8), volume)
    node = scene.GetNodeByID(first.segmentation_node_id)
    other = add_segment_on_other_grid(node, volume)
    seen = segment_mask(node, other, volume).astype(bool)
    assert (seen & (labels == 1)).any()
    result = write(scene, labels, volume, node, run="run-2", policy=policy)
    ours = segment_mask(node, result.segment_ids[1], volume).astype(bool)
    left = segment_mask(node, other, volume).astype(bool)
    if policy is OverwritePolicy.PROTECT:
        assert np.array_equal(left, seen)
        assert np.array_equal(ours, (labels == 1) & ~seen)
    else:
        assert np.array_equal(ours, labels == 1)
        assert not (left & (labels > 0)).any()
        assert (left & (labels == 0)).any() == (seen & (labels == 0)).any()


def test_a_linear_difference_of_transforms_is_taken_into_account(host, scene, volume, labels):
    """The user's segmentation was made before the volume was moved: the result follows the volume, exactly."""
    first = write(scene, labels, volume)
    node = scene.GetNodeByID(first.segmentation_node_id)
    paint(host, node, volume, (slice(0, 1), slice(0, 2), slice(0, 2)))
    rigid = slicer.vtkMRMLTransformNode()
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(30, 1, 2, 3)
    transform.Translate(10, 20, 30)
    rigid.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(scene.AddNode(rigid).GetID())
    result = write(scene, labels, volume, node, run="run-2")
    assert node.GetTransformNodeID() is None  # the user's segments have not moved
    for value, segment_id in result.segment_ids.items():
        assert np.array_equal(segment_mask(node, segment_id, volume), labels == value)


@pytest.mark.parametrize("kind", ["thin-plate", "grid"])
def test_a_warp_between_volume_and_segmentation_is_refused(host, scene, volume, labels, kind):
    node = scene.GetNodeByID(write(scene, labels, volume).segmentation_node_id)
    user = paint(host, node, volume, PAINTED)
    before = segment_mask(node, user, volume)
    volume.SetAndObserveTransformNodeID(add_transform(scene, kind).GetID())
    nodes = scene.GetNumberOfNodes()
    with pytest.raises(GeometryError, match="differ by a warp"):
        write(scene, labels, volume, node, run="run-2")
    assert scene.GetNumberOfNodes() == nodes
    volume.SetAndObserveTransformNodeID(None)
    assert segment_mask(node, user, volume).tobytes() == before.tobytes()


def test_a_segmentation_made_of_surfaces_is_refused(scene, volume, labels):
    node = scene.AddNode(slicer.vtkMRMLSegmentationNode())
    ball = vtk.vtkSphereSource()
    ball.Update()
    node.GetSegmentation().SetSourceRepresentationName(SURFACE)
    node.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "ball")
    with pytest.raises(InputError, match="Closed surface"):
        write(scene, labels, volume, node)
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_surfaces_are_slicers_own(scene, volume, labels):
    node = scene.GetNodeByID(write(scene, labels, volume).segmentation_node_id)
    segmentation = node.GetSegmentation()
    create_surfaces(node)
    ours = [segmentation.GetNthSegment(n).GetRepresentation(SURFACE) for n in range(2)]
    node.RemoveClosedSurfaceRepresentation()
    assert node.CreateClosedSurfaceRepresentation()
    for n, surface in enumerate(ours):
        slicers = segmentation.GetNthSegment(n).GetRepresentation(SURFACE)
        points = vtk_to_numpy(surface.GetPoints().GetData())
        expected = vtk_to_numpy(slicers.GetPoints().GetData())
        assert points.shape == expected.shape
        assert np.abs(points - expected).max() < 1e-3


def test_surfaces_follow_a_rerun(host, scene, volume, labels, moved):
    node = scene.GetNodeByID(write(scene, labels, volume).segmentation_node_id)
    user = paint(host, node, volume, (slice(0, 2), slice(28, 36), slice(2, 9)))
    create_surfaces(node)
    users = node.GetSegmentation().GetSegment(user).GetRepresentation(SURFACE)
    result = write(scene, moved, volume, node, run="run-2")
    segmentation = node.GetSegmentation()
    assert segmentation.GetSegment(user).GetRepresentation(SURFACE) is users
    surface = segmentation.GetSegment(result.segment_ids[1]).GetRepresentation(SURFACE)
    node.RemoveClosedSurfaceRepresentation()
    assert node.CreateClosedSurfaceRepresentation()
    expected = segmentation.GetSegment(result.segment_ids[1]).GetRepresentation(SURFACE)
    assert np.allclose(surface.GetBounds(), expected.GetBounds(), atol=1e-3)


def test_surfaces_may_be_left_for_later(scene, volume, labels, moved):
    node = scene.GetNodeByID(write(scene, labels, volume).segmentation_node_id)
    create_surfaces(node)
    write(scene, moved, volume, node, run="run-2", update_surfaces=False)
    assert not node.GetSegmentation().ContainsRepresentation(SURFACE)
    create_surfaces(node)
    assert all(node.GetSegmentation().GetNthSegment(n).GetRepresentation(SURFACE) for n in range(2))
