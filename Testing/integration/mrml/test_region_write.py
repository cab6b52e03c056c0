"""Writing a box into one segment: exact, reversible, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from integration.mrml.scenes import SHAPE, add_transform, grid_matrix, segment_mask

from medai.errors import InputError
from medai.image import Image
from medai.labels import Label, LabelScheme, distinct_color
from medai.mrml import OverwritePolicy, create_surfaces, volume_from_image, write_segmentation
from medai.mrml.layers import LABELMAP, SURFACE, layer_array, segment_ids
from medai.mrml.overwrite import LOCKED_TAG
from medai.mrml.region_write import redo_region, segment_mask_on_grid, undo_region, write_region
from medai.mrml.volumes import volume_matrix
from medai.mrml.write_back import matrix_in_segmentation

BOX = (slice(3, 10), slice(6, 25), slice(9, 30))


def state_of(node) -> dict[str, tuple]:
    """Everything that a segment consists of: value, extent and bytes of its layer."""
    found = {}
    for segment_id in segment_ids(node.GetSegmentation()):
        segment = node.GetSegmentation().GetSegment(segment_id)
        layer = segment.GetRepresentation(LABELMAP)
        voxels = layer_array(layer).tobytes() if layer is not None else b""
        extent = tuple(layer.GetExtent()) if layer is not None and voxels else ()
        found[segment_id] = (segment.GetLabelValue(), extent, voxels)
    return found


def empty_segment(node, name: str = "mine") -> str:
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment_id = node.GetSegmentation().GenerateUniqueSegmentID(name)
    node.GetSegmentation().AddSegment(segment, segment_id)
    return segment_id


def noise_mask(seed: int = 7, box=BOX) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, [s.stop - s.start for s in box]).astype(np.uint8)


def start_of(box=BOX) -> tuple[int, int, int]:
    return box[2].start, box[1].start, box[0].start


@pytest.fixture
def segmentation(scene, volume, noise_labels, scheme):
    """Four organs of noise in one layer, as a model's run leaves them, half of the volume."""
    noise_labels[:, :, 20:] = 0
    written = write_segmentation(scene, noise_labels, scheme, volume, run_id="run")
    return scene.GetNodeByID(written.segmentation_node_id)


def write(node, segment_id, mask, volume, box=BOX, **options):
    matrix = matrix_in_segmentation(volume, node, True)
    return write_region(node, segment_id, mask, start_of(box), matrix, **options)


@pytest.mark.parametrize("kind", ["none", "linear", "thin-plate", "grid"])
def test_mask_lies_on_its_voxels_under_each_transform(scene, volume, kind) -> None:
    transform = add_transform(scene, kind)
    volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment_id = empty_segment(node)
    expected = np.zeros(SHAPE, np.uint8)
    for seed, box in ((1, BOX), (2, (slice(0, 4), slice(0, 37), slice(25, 41)))):
        mask = noise_mask(seed, box)
        change = write(node, segment_id, mask, volume, box)
        before = expected[box].copy()
        expected[box] = mask
        assert change.added == np.count_nonzero(mask > before)
        assert change.removed == np.count_nonzero(mask < before)
        np.testing.assert_array_equal(segment_mask(node, segment_id, volume), expected)


def test_protected_neighbours_keep_every_byte(segmentation, volume) -> None:
    neighbours = state_of(segmentation)
    others = sum(segment_mask(segmentation, i, volume).astype(int) for i in neighbours)
    segment_id = empty_segment(segmentation)
    mask = noise_mask()
    change = write(segmentation, segment_id, mask, volume)
    after = state_of(segmentation)
    assert {i: after[i] for i in neighbours} == neighbours
    assert change.protected == np.count_nonzero(mask & (others[BOX] > 0)) > 0
    expected = np.zeros(SHAPE, np.uint8)
    expected[BOX] = mask * (others[BOX] == 0)
    np.testing.assert_array_equal(segment_mask(segmentation, segment_id, volume), expected)


@pytest.mark.parametrize("policy", list(OverwritePolicy))
@pytest.mark.parametrize("own", ["empty", "of the run"])
def test_each_policy_and_back_and_forth(segmentation, volume, policy, own) -> None:
    node = segmentation
    first, second, *_ = ids = segment_ids(node.GetSegmentation())
    node.GetSegmentation().GetSegment(second).SetTag(LOCKED_TAG, "1")
    segment_id = empty_segment(node) if own == "empty" else first
    before = {i: segment_mask(node, i, volume) for i in {*ids, segment_id}}
    if policy is OverwritePolicy.ALLOW_OVERLAP and own == "of the run":
        node.GetSegmentation().SeparateSegmentLabelmap(first)
    start = state_of(node)
    mask = noise_mask()
    change = write(node, segment_id, mask, volume, policy=policy)
    end = state_of(node)
    assert end != start
    keeps = [
        i
        for i in ids
        if i != segment_id
        and (policy is OverwritePolicy.PROTECT or (policy is OverwritePolicy.OVERWRITE_UNLOCKED and i == second))
    ]
    shield = np.any([before[i] for i in keeps], axis=0) if keeps else np.zeros(SHAPE, bool)
    expected = before[segment_id].copy()
    expected[BOX] = mask & ~shield[BOX]
    np.testing.assert_array_equal(segment_mask(node, segment_id, volume), expected)
    for other in ids:
        if other == segment_id:
            continue
        wanted = before[other].copy()
        if policy is not OverwritePolicy.ALLOW_OVERLAP and other not in keeps:
            wanted[BOX] &= 1 - expected[BOX]
        np.testing.assert_array_equal(segment_mask(node, other, volume), wanted, err_msg=other)
        lost = int(before[other].sum()) - int(wanted.sum())
        assert change.cleared.get(other, 0) == lost
    undo_region(node, change)
    assert state_of(node) == {i: start.get(i, (1, (), b"")) if start[i][2] else (1, (), b"") for i in start}
    redo_region(node, change)
    assert state_of(node) == end


def test_ten_steps_there_and_back_are_exact(segmentation, volume) -> None:
    """Steps of many boxes that overlap, also outward: the layer grows and shrinks again."""
    segment_id = empty_segment(segmentation)
    states, changes = [state_of(segmentation)], []
    generator = np.random.default_rng(11)
    for seed in range(10):
        low = [int(generator.integers(0, n - 3)) for n in SHAPE]
        box = tuple(slice(a, min(n, a + int(generator.integers(3, 20)))) for a, n in zip(low, SHAPE, strict=True))
        mask = noise_mask(seed, box)
        changes.append(write(segmentation, segment_id, mask, volume, box, policy=OverwritePolicy.OVERWRITE_ALL))
        states.append(state_of(segmentation))
    for n in range(9, -1, -1):
        undo_region(segmentation, changes[n])
        assert {i: s[1:] for i, s in state_of(segmentation).items()} == {i: s[1:] for i, s in states[n].items()}
    for n in range(10):
        redo_region(segmentation, changes[n])
        assert state_of(segmentation) == states[n + 1]


def test_segment_on_another_grid_gets_the_nearest_voxels(scene, volume) -> None:
    """A segmentation made on a finer volume keeps its grid; only voxels within the box change."""
    coarse = volume_matrix(volume)
    fine = coarse @ np.diag([0.5, 0.5, 0.25, 1.0])
    fine[:3, 3] = (coarse @ np.array([5.0, 3.0, 1.0, 1.0]))[:3]
    other = volume_from_image(scene, Image(np.zeros((1, 40, 50, 60), np.uint8), fine), "fine")
    labels = np.ones((40, 50, 60), np.uint8)
    written = write_segmentation(scene, labels, LabelScheme((Label(1, "all", distinct_color(1)),)), other, run_id="r")
    node = scene.GetNodeByID(written.segmentation_node_id)
    segment_id = written.segment_ids[1]
    mask = np.zeros((5, 8, 9), np.uint8)
    mask[1:4, 2:6, 2:7] = 1
    box = (slice(2, 7), slice(8, 16), slice(10, 19))
    change = write(node, segment_id, mask, volume, box)
    found = segment_mask(node, segment_id, other)
    back = np.linalg.inv(coarse) @ fine
    k, j, i = np.indices(found.shape)
    place = np.einsum("rc,ckji->rkji", back, np.array([i, j, k, np.ones_like(i)]))[:3]
    index = np.rint(place + 1e-9).astype(int)
    inside = np.ones(found.shape, bool)
    for axis, side in enumerate(box[::-1]):
        inside &= (index[axis] >= side.start) & (index[axis] < side.stop)
    expected = labels.copy()
    local = [np.clip(index[a] - box[2 - a].start, 0, mask.shape[2 - a] - 1) for a in range(3)]
    expected[inside] = mask[local[2], local[1], local[0]][inside]
    # Voxel centres half-way between two voxels of the coarse grid may go either way.
    half = (
        np.abs(np.einsum("rc,ckji->rkji", back, np.array([i, j, k, np.ones_like(i)]))[:3] % 1 - 0.5).min(axis=0) < 1e-6
    )
    np.testing.assert_array_equal(found[~half], expected[~half])
    assert change.removed == np.count_nonzero(found == 0) > 500
    undo_region(node, change)
    assert segment_mask(node, segment_id, other).all()


def test_own_voxels_are_read_back_in_a_box(segmentation, volume, noise_labels) -> None:
    ids = segment_ids(segmentation.GetSegmentation())
    matrix = matrix_in_segmentation(volume, segmentation, True)
    found = segment_mask_on_grid(segmentation, ids[2], start_of(), noise_labels[BOX].shape, matrix)
    np.testing.assert_array_equal(found, noise_labels[BOX] == 3)


def test_only_surfaces_of_changed_segments_are_made_anew(segmentation, volume) -> None:
    create_surfaces(segmentation)
    ids = segment_ids(segmentation.GetSegmentation())
    before = {i: segmentation.GetSegmentation().GetSegment(i).GetRepresentation(SURFACE) for i in ids}
    change = write(segmentation, ids[0], np.zeros_like(noise_mask()), volume)
    after = {i: segmentation.GetSegmentation().GetSegment(i).GetRepresentation(SURFACE) for i in ids}
    assert after[ids[0]] is not before[ids[0]]
    assert after[ids[0]].GetNumberOfPoints() < before[ids[0]].GetNumberOfPoints()
    assert all(after[i] is before[i] for i in ids[1:])
    undo_region(segmentation, change)
    restored = segmentation.GetSegmentation().GetSegment(ids[0]).GetRepresentation(SURFACE)
    assert restored.GetNumberOfPoints() == before[ids[0]].GetNumberOfPoints()


def test_views_are_told_once_a_write(segmentation, volume) -> None:
    segment_id = empty_segment(segmentation)
    write(segmentation, segment_id, noise_mask(), volume)
    told: list[int] = []
    segmentation.GetSegmentation().AddObserver(
        slicer.vtkSegmentation.SourceRepresentationModified, lambda *_: told.append(1)
    )
    # Slice views do not listen to that, but to the next one, of the node.
    segmentation.AddObserver(slicer.vtkSegmentation.RepresentationModified, lambda *_: told.append(2))
    write(segmentation, segment_id, noise_mask(8), volume)
    assert sorted(told) == [1, 2]


def test_a_completed_segment_is_refused_and_nothing_changes(segmentation, volume) -> None:
    ids = segment_ids(segmentation.GetSegmentation())
    segmentation.GetSegmentation().GetSegment(ids[1]).SetTag(LOCKED_TAG, "1")
    before = state_of(segmentation)
    with pytest.raises(InputError, match="completed"):
        write(segmentation, ids[1], noise_mask(), volume)
    with pytest.raises(InputError, match="no longer in"):
        write(segmentation, "gone", noise_mask(), volume)
    assert state_of(segmentation) == before


def test_a_rebuilt_segmentation_cannot_be_taken_back_silently(segmentation, volume) -> None:
    segment_id = empty_segment(segmentation)
    change = write(segmentation, segment_id, noise_mask(), volume)
    segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    before = state_of(segmentation)
    with pytest.raises(InputError, match="rebuilt"):
        undo_region(segmentation, change)
    assert state_of(segmentation) == before
    segmentation.GetSegmentation().RemoveSegment(segment_id)
    with pytest.raises(InputError, match="removed"):
        undo_region(segmentation, change)


def test_scene_of_another_volume_matrix(scene) -> None:
    """A left-handed grid keeps its handedness in the layer."""
    volume = volume_from_image(scene, Image(np.zeros((1, *SHAPE), np.int16), grid_matrix(True)), "left")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment_id = empty_segment(node)
    mask = noise_mask()
    write(node, segment_id, mask, volume)
    expected = np.zeros(SHAPE, np.uint8)
    expected[BOX] = mask
    np.testing.assert_array_equal(segment_mask(node, segment_id, volume), expected)
