"""Segments as label maps: on a volume's grid under each kind of transform, overlapping, empty, a hundred layers."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from integration.mrml.scenes import SHAPE, add_transform, scheme_of, segment_mask

from medai.errors import InputError
from medai.mrml import SegmentMaps, label_map_from_segmentation, write_segmentation
from medai.mrml.layers import new_layer
from medai.mrml.volumes import volume_matrix


def collect(*args, **kwargs):
    """The maps, the warnings, and how many steps it took."""
    work = SegmentMaps(*args, **kwargs)
    fractions = []
    while not work.step():
        fractions.append(work.fraction)
    assert fractions == sorted(fractions)
    assert work.fraction == 1.0
    return work.maps(), work.warnings, len(fractions)


def add_segment(node, name, voxels, start, matrix):
    """A segment in a layer of its own; `voxels` (k, j, i) begin at index `start` (i, j, k)."""
    layer, array = new_layer(voxels.shape, start, matrix, np.uint8)
    if array.size:
        array[...] = voxels
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.AddRepresentation("Binary labelmap", layer)
    segment_id = node.GetSegmentation().GenerateUniqueSegmentID(name)
    node.GetSegmentation().AddSegment(segment, segment_id)
    return segment_id


def turn_about(scene, volume):
    """A transform that turns the volume about its centre by 20 degrees and moves it by some mm."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    centre = [(bounds[2 * n] + bounds[2 * n + 1]) / 2 for n in range(3)]
    transform = vtk.vtkTransform()
    transform.Translate(1.5, -2.0, 3.0)
    transform.Translate(*centre)
    transform.RotateWXYZ(20, 1, 2, 3)
    transform.Translate(*(-c for c in centre))
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "turn")
    node.SetAndObserveTransformToParent(transform)
    return node


@pytest.fixture
def segmentation(scene):
    """An empty segmentation."""
    node = scene.AddNode(slicer.vtkMRMLSegmentationNode())
    node.SetName("drawn")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    return node


def test_voxels_on_the_same_grid_are_copied_exactly(scene, volume, noise_labels):
    written = write_segmentation(scene, noise_labels, scheme_of(1, 2, 3, 4), volume, run_id="r", model_id="m")
    (exact,), warnings, _ = collect(scene.GetNodeByID(written.segmentation_node_id), volume)
    assert warnings == []
    for value, segment_id in exact.ids.items():
        label = int(segment_id.rsplit("_", 1)[1])
        np.testing.assert_array_equal(exact.label_map.channel(0) == value, noise_labels == label)
        assert exact.labels.by_value(value).name == f"organ {label}"


@pytest.mark.parametrize("kind", ["linear", "thin-plate", "grid"])
def test_a_transform_is_followed(scene, volume, noise_labels, kind):
    """The volume alone is moved: the segments stay in the world."""
    k, j, i = np.indices(SHAPE)
    labels = (1 + (i > 20) + 2 * (j > 18)).astype(np.uint8)
    labels[(k < 3) | (k > 9)] = 0
    written = write_segmentation(scene, labels, scheme_of(1, 2, 3, 4), volume, run_id="r", model_id="m")
    node = scene.GetNodeByID(written.segmentation_node_id)
    moving = turn_about(scene, volume) if kind == "linear" else add_transform(scene, kind)
    volume.SetAndObserveTransformNodeID(moving.GetID())
    (moved,), _, _ = collect(node, volume)
    np.testing.assert_array_equal(moved.label_map.array, label_map_from_segmentation(node, volume)[0].array)
    assert (moved.label_map.channel(0) != labels).mean() > 0.1
    # Where each voxel's centre lies in the segmentation: its world place, as the segmentation has no parent.
    matrix, to_world = volume_matrix(volume), vtk.vtkGeneralTransform()
    volume.GetParentTransformNode().GetTransformToWorld(to_world)
    local = np.stack([i, j, k, np.ones_like(k)], axis=-1).reshape(-1, 4) @ matrix.T
    world = np.array([to_world.TransformPoint(point[:3]) for point in local])
    ijk = np.rint(np.c_[world, np.ones(len(world))] @ np.linalg.inv(matrix).T)[:, :3].astype(int)
    inside = ((ijk >= 0) & (ijk < SHAPE[::-1])).all(axis=1)
    expected = np.zeros(len(ijk), np.uint8)
    expected[inside] = labels[tuple(ijk[inside].T[::-1])]
    assert np.count_nonzero(expected) > 500
    assert (moved.label_map.array.ravel() != expected).mean() < 0.01


def test_overlapping_segments_go_into_several_maps(scene, volume, segmentation):
    matrix = volume_matrix(volume)
    ones = np.ones((4, 5, 6), np.uint8)
    ids = [
        add_segment(segmentation, name, ones, start, matrix)
        for name, start in (("a", (2, 2, 2)), ("b", (5, 4, 3)), ("c", (20, 20, 2)), ("a", (6, 6, 4)))
    ]
    maps, warnings, _ = collect(segmentation, volume)
    assert warnings == []
    assert [sorted(found.ids.values()) for found in maps] == [sorted([ids[0], ids[2]]), [ids[1]], [ids[3]]]
    names = [label.name for found in maps for label in found.labels]
    assert sorted(names) == ["a", "a (2)", "b", "c"]
    for found in maps:
        for value, segment_id in found.ids.items():
            expected = segment_mask(segmentation, segment_id, volume) > 0
            assert expected.sum() == ones.size
            np.testing.assert_array_equal(found.label_map.channel(0) == value, expected)


def test_hundred_layers_make_one_map(scene, volume, segmentation):
    matrix = volume_matrix(volume)
    for n in range(100):
        add_segment(segmentation, f"s{n}", np.ones((1, 2, 3), np.uint8), (4 * (n % 10), 3 * (n // 10), n % 13), matrix)
    (found,), warnings, _ = collect(segmentation, volume)
    assert warnings == []
    assert len(found.ids) == 100
    values, counts = np.unique(found.label_map.array, return_counts=True)
    assert list(values) == list(range(101))
    assert set(counts[1:]) == {6}


def test_empty_segments_and_those_outside_are_left_out_with_a_warning(scene, volume, segmentation):
    matrix = volume_matrix(volume)
    add_segment(segmentation, "empty", np.zeros((0, 0, 0), np.uint8), (0, 0, 0), matrix)
    add_segment(segmentation, "zeros", np.zeros((2, 2, 2), np.uint8), (0, 0, 0), matrix)
    add_segment(segmentation, "far", np.ones((2, 2, 2), np.uint8), (900, 0, 0), matrix)
    inside = add_segment(segmentation, "inside", np.ones((2, 2, 2), np.uint8), (3, 3, 3), matrix)
    (found,), (warning,), _ = collect(segmentation, volume)
    assert list(found.ids.values()) == [inside]
    assert all(name in warning for name in ("'empty'", "'zeros'", "'far'"))
    assert "inside" not in warning
    with pytest.raises(InputError, match="no voxels in the volume"):
        collect(segmentation, volume, ids=["far"])


def test_without_a_volume_each_layer_keeps_its_own_grid(scene, volume, noise_labels, segmentation):
    matrix = volume_matrix(volume)
    block = np.random.default_rng(1).integers(0, 2, (3, 4, 5)).astype(np.uint8)
    add_segment(segmentation, "block", block, (7, 6, 5), matrix)
    (found,), _, _ = collect(segmentation)
    np.testing.assert_array_equal(found.label_map.channel(0), block)
    # The first voxel of the layer lies where index (7, 6, 5) of the volume does.
    np.testing.assert_allclose(
        found.label_map.ijk_to_ras @ np.array([0, 0, 0, 1]), matrix @ np.array([7, 6, 5, 1]), atol=1e-9
    )


def test_work_is_done_in_slabs(scene, noise_labels, volume, monkeypatch):
    monkeypatch.setattr("medai.mrml.segment_maps._SLAB_VOXELS", 2 * SHAPE[1] * SHAPE[2])
    written = write_segmentation(scene, noise_labels, scheme_of(1, 2, 3, 4), volume, run_id="r", model_id="m")
    node = scene.GetNodeByID(written.segmentation_node_id)
    (found,), _, steps = collect(node, volume)
    assert steps >= SHAPE[0]
    expected = {i: segment_mask(node, i, volume) > 0 for i in found.ids.values()}
    for value, segment_id in found.ids.items():
        np.testing.assert_array_equal(found.label_map.channel(0) == value, expected[segment_id])


def test_wrong_segments_are_named(scene, volume, segmentation):
    with pytest.raises(InputError, match="'drawn' has no segments"):
        SegmentMaps(segmentation, volume)
    add_segment(segmentation, "a", np.ones((2, 2, 2), np.uint8), (0, 0, 0), volume_matrix(volume))
    with pytest.raises(InputError, match=r"no segments \['gone'\]"):
        SegmentMaps(segmentation, volume, ids=["gone"])
    with pytest.raises(InputError, match="needed"):
        SegmentMaps(segmentation, segmentation)
