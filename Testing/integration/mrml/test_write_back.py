"""Label maps into segmentations on the real MRML library: the right voxels at the right place, nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from integration.mrml.scenes import SHAPE, add_transform, scheme_of, segment_mask

from medai.errors import GeometryError, InputError
from medai.image import Image
from medai.labels import Code, Label, LabelScheme, Terminology
from medai.mrml import OverwritePolicy, image_from_volume, write_segmentation
from medai.mrml.overwrite import tag_of

KINDS = ("none", "linear", "thin-plate", "grid")


def write(scene, labels, scheme, volume, node=None, run="run-1", **options):
    return write_segmentation(scene, labels, scheme, volume, node, run_id=run, model_id="m", **options)


def node_of(scene, result):
    return scene.GetNodeByID(result.segmentation_node_id)


@pytest.mark.parametrize("kind", KINDS)
def test_every_voxel_is_written_where_slicer_reads_it(scene, volume, noise_labels, scheme, kind):
    transform = add_transform(scene, kind)
    if transform is not None:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    result = write(scene, noise_labels, scheme, volume)
    node = node_of(scene, result)
    exported = slicer.vtkMRMLLabelMapVolumeNode()
    scene.AddNode(exported)
    assert slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        node, list(result.segment_ids.values()), exported, volume
    )
    assert np.array_equal(slicer.util.arrayFromVolume(exported), noise_labels)
    for value, segment_id in result.segment_ids.items():
        assert np.array_equal(segment_mask(node, segment_id, volume), noise_labels == value)
        assert result.voxels[value] == np.count_nonzero(noise_labels == value)
    assert np.abs(world_positions(exported) - world_positions(volume)).max() < 1e-6
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()


def world_positions(volume_node) -> np.ndarray:
    """World positions (mm) of the corners and the centre of a volume, through its matrix and its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    i, j, k = (n - 1 for n in volume_node.GetImageData().GetDimensions())
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume_node.GetParentTransformNode(), None, to_world)
    points = [(0, 0, 0), (i, 0, 0), (0, j, 0), (0, 0, k), (i, j, k), (i / 2, j / 2, k / 2)]
    return np.array([to_world.TransformPoint(matrix.MultiplyPoint((*p, 1))[:3]) for p in points])


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_lies_where_the_anatomy_is_in_the_world(scene, volume, kind):
    """A single voxel: the centre of the segment in world mm is the position of that voxel through the transform."""
    transform = add_transform(scene, kind)
    if transform is not None:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 20, 31] = 1
    result = write(scene, labels, scheme_of(1), volume)
    node = node_of(scene, result)
    layer = node.GetSegmentation().GetSegment(result.segment_ids[1]).GetRepresentation("Binary labelmap")
    assert layer.GetNumberOfPoints() == 1  # cut to the result
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    image_to_segmentation = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(image_to_segmentation)
    found = to_world.TransformPoint(image_to_segmentation.MultiplyPoint((*layer.GetExtent()[::2], 1))[:3])
    volume_to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, volume_to_world)
    ras = image_from_volume(volume).ijk_to_ras @ [31, 20, 4, 1]
    assert np.allclose(found, volume_to_world.TransformPoint(ras[:3]), atol=1e-6)


def test_segments_carry_names_colours_codes_and_their_origin(scene, volume):
    anatomy = Code("SCT", "123037004", "Anatomical Structure")
    terminology = Terminology(anatomy, Code("SCT", "10200004", "Leber – Liver"))
    scheme = LabelScheme((Label(7, "Leber (größer)", (0.25, 0.5, 0.75), terminology), Label(3, "spleen", (1, 0, 0))))
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 3:9, 5:8] = 7
    labels[6:8, 3:9, 5:8] = 3
    result = write(scene, labels, scheme, volume, name="result")
    node = node_of(scene, result)
    segment = node.GetSegmentation().GetSegment(result.segment_ids[7])
    assert node.GetName() == "result"
    assert segment.GetName() == "Leber (größer)"
    assert segment.GetColor() == (0.25, 0.5, 0.75)
    assert Terminology.from_slicer(segment.GetTerminology()) == terminology
    assert [tag_of(segment, f"MedAI.{tag}") for tag in ("run", "model", "label")] == ["run-1", "m", "7"]
    assert segment.GetLabelValue() == 1  # the layer's own value, not the model's
    assert segment_mask(node, result.segment_ids[7], volume).sum() == np.count_nonzero(labels == 7)
    assert segment_mask(node, result.segment_ids[3], volume).sum() == np.count_nonzero(labels == 3)


def test_the_segmentation_stands_beside_its_volume(scene, volume, noise_labels, scheme):
    hierarchy = scene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "CT of today")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    node = node_of(scene, write(scene, noise_labels, scheme, volume))
    assert node.GetName() == "head segmentation"
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetNodeReferenceID("referenceImageGeometryRef") == volume.GetID()
    assert node.GetDisplayNode() is not None


@pytest.mark.parametrize("count", [100, 300])
def test_many_labels_share_one_layer(scene, volume, count):
    labels = np.random.default_rng(9).integers(0, count + 1, SHAPE).astype(np.uint16)
    scheme = scheme_of(*range(count, 0, -1))  # another order than the values
    result = write(scene, labels, scheme, volume)
    segmentation = node_of(scene, result).GetSegmentation()
    assert segmentation.GetNumberOfSegments() == count
    assert segmentation.GetNumberOfLayers() == 1
    for value in (1, 2, count // 2, 255, 256, count):
        if value <= count:
            mask = segment_mask(node_of(scene, result), result.segment_ids[value], volume)
            assert np.array_equal(mask, labels == value)


def test_an_empty_label_gives_an_empty_segment(scene, volume):
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 4, 5] = 2
    result = write(scene, labels, scheme_of(1, 2), volume)
    node = node_of(scene, result)
    assert result.voxels == {1: 0, 2: 1}
    assert not segment_mask(node, result.segment_ids[1], volume).any()


def test_a_wholly_empty_result_can_be_written_and_replaced(scene, volume, noise_labels, scheme):
    empty = write(scene, np.zeros(SHAPE, np.uint8), scheme, volume)
    node = node_of(scene, empty)
    assert set(empty.voxels.values()) == {0}
    assert not segment_mask(node, empty.segment_ids[1], volume).any()
    full = write(scene, noise_labels, scheme, volume, node, run="run-2")
    assert full.segment_ids == empty.segment_ids
    assert np.array_equal(segment_mask(node, full.segment_ids[2], volume), noise_labels == 2)


def test_a_rerun_replaces_its_own_segments_in_place(scene, volume, noise_labels, scheme):
    first = write(scene, noise_labels, scheme, volume)
    node = node_of(scene, first)
    node.GetSegmentation().GetSegment(first.segment_ids[2]).SetName("renamed by the user")
    node.GetDisplayNode().SetSegmentVisibility(first.segment_ids[3], False)
    flipped = noise_labels[::-1].copy()
    second = write(scene, flipped, scheme, volume, node, run="run-2")
    assert second.segmentation_node_id == first.segmentation_node_id
    assert second.segment_ids == first.segment_ids
    assert node.GetSegmentation().GetNumberOfSegments() == 4
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert node.GetSegmentation().GetSegment(first.segment_ids[2]).GetName() == "renamed by the user"
    assert not node.GetDisplayNode().GetSegmentVisibility(first.segment_ids[3])
    for value, segment_id in second.segment_ids.items():
        assert np.array_equal(segment_mask(node, segment_id, volume), flipped == value)
        assert tag_of(node.GetSegmentation().GetSegment(segment_id), "MedAI.run") == "run-2"


def test_a_rerun_for_some_labels_leaves_the_others(scene, volume, noise_labels, scheme):
    first = write(scene, noise_labels, scheme, volume)
    node = node_of(scene, first)
    only = np.where(noise_labels == 2, 2, 0).astype(np.uint8)
    second = write(scene, only, scheme.subset(["organ 2"]), volume, node, run="run-2")
    assert second.segment_ids == {2: first.segment_ids[2]}
    for value, segment_id in first.segment_ids.items():
        assert np.array_equal(segment_mask(node, segment_id, volume), noise_labels == value)


def test_segments_of_another_model_are_not_replaced(scene, volume, noise_labels, scheme):
    first = write(scene, noise_labels, scheme, volume)
    node = node_of(scene, first)
    second = write_segmentation(
        scene, noise_labels, scheme, volume, node, run_id="x", model_id="other", policy=OverwritePolicy.ALLOW_OVERLAP
    )
    assert node.GetSegmentation().GetNumberOfSegments() == 8
    for ids in (first.segment_ids, second.segment_ids):
        for value, segment_id in ids.items():
            assert np.array_equal(segment_mask(node, segment_id, volume), noise_labels == value)


def test_events_reach_those_who_watch_the_segmentation(scene, volume, noise_labels, scheme):
    node = node_of(scene, write(scene, noise_labels, scheme, volume))
    seen = []
    for event in (
        slicer.vtkSegmentation.SourceRepresentationModified,
        slicer.vtkSegmentation.SegmentModified,
        slicer.vtkSegmentation.SegmentAdded,
    ):
        node.AddObserver(event, lambda caller, name, event=event: seen.append(event))
    write(scene, noise_labels, scheme_of(1, 2, 3, 4, 5), volume, node, run="run-2")
    assert set(seen) == {
        slicer.vtkSegmentation.SourceRepresentationModified,
        slicer.vtkSegmentation.SegmentModified,
        slicer.vtkSegmentation.SegmentAdded,
    }


def test_an_image_is_accepted_on_the_grid_of_the_volume_only(scene, volume, noise_labels, scheme):
    image = image_from_volume(volume).with_array(noise_labels)
    result = write(scene, image, scheme, volume)
    assert np.array_equal(segment_mask(node_of(scene, result), result.segment_ids[1], volume), noise_labels == 1)
    before = scene.GetNumberOfNodes()
    moved = image.ijk_to_ras.copy()
    moved[0, 3] += 0.1
    with pytest.raises(GeometryError, match="grid of the volume 'head'"):
        write(scene, Image(image.array, moved), scheme, volume)
    with pytest.raises(GeometryError, match=r"\(12, 37, 41\)"):
        write(scene, noise_labels[1:], scheme, volume)
    assert scene.GetNumberOfNodes() == before


def test_values_without_a_name_are_refused(scene, volume, noise_labels):
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match=r"values \[3, 4\]"):
        write(scene, noise_labels, scheme_of(1, 2), volume)
    with pytest.raises(InputError, match="float64"):
        write(scene, noise_labels.astype(float), scheme_of(1, 2), volume)
    assert scene.GetNumberOfNodes() == before


def test_nodes_that_are_gone_or_empty_are_refused(scene, volume, noise_labels, scheme):
    result = write(scene, noise_labels, scheme, volume)
    node = node_of(scene, result)
    blank = slicer.vtkMRMLScalarVolumeNode()
    scene.AddNode(blank)
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="no voxels"):
        write(scene, noise_labels, scheme, blank)
    with pytest.raises(InputError, match="got nothing"):
        write(scene, noise_labels, scheme, None)
    with pytest.raises(InputError, match="vtkMRMLScalarVolumeNode"):
        write(scene, noise_labels, scheme, volume, volume)
    assert scene.GetNumberOfNodes() == before
    scene.RemoveNode(node)
    with pytest.raises(InputError, match="no longer in the scene"):
        write(scene, noise_labels, scheme, volume, node)
    scene.RemoveNode(volume)
    with pytest.raises(InputError, match="no longer in the scene"):
        write(scene, noise_labels, scheme, volume)
