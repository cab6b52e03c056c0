"""Segmentations back to label maps, statistics and tables, scene files."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import pytest
import slicer
import slicer.util
from integration.mrml.scenes import SHAPE, add_transform, grid_matrix, scheme_of

from medai.config.requests import LabelFound, TotalFound
from medai.errors import GeometryError, InputError, OutputError
from medai.image import Image
from medai.label_statistics import label_statistics
from medai.mrml import (
    OverwritePolicy,
    image_from_volume,
    label_map_from_segmentation,
    save_scene_mrb,
    table_of_structures,
    volume_from_image,
    write_segmentation,
)
from medai.mrml.headless import headless_scene


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, np.float16, bool, np.int64])
def test_a_volume_keeps_voxels_and_geometry(scene, dtype):
    voxels = (np.random.default_rng(1).random((1, *SHAPE)) * 200).astype(dtype)
    image = Image(voxels, grid_matrix(left_handed=True), "v")
    node = volume_from_image(scene, image, "v")
    assert np.array_equal(slicer.util.arrayFromVolume(node), voxels[0])
    again = image_from_volume(node)
    assert np.array_equal(again.array, voxels)
    assert np.allclose(again.ijk_to_ras, image.ijk_to_ras, atol=1e-9)
    view = image_from_volume(node, copy=False).array
    assert not view.flags.writeable
    assert np.shares_memory(view, slicer.util.arrayFromVolume(node))


def test_volumes_that_slicer_cannot_hold_are_refused(scene):
    with pytest.raises(InputError, match="2 channels"):
        volume_from_image(scene, Image(np.zeros((2, 3, 4, 5)), np.eye(4), "two"))
    with pytest.raises(InputError, match="32-bit"):
        volume_from_image(scene, Image(np.full((1, 3, 4, 5), 2**40), np.eye(4), "big"))
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    with pytest.raises(GeometryError, match="sheared"):
        volume_from_image(scene, Image(np.zeros((1, 3, 4, 5)), sheared, "tilted"))


@pytest.mark.parametrize("kind", ["none", "linear", "grid"])
def test_labels_are_read_as_they_were_written(scene, volume, noise_labels, kind):
    transform = add_transform(scene, kind)
    if transform is not None:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    scheme = scheme_of(4, 2, 3, 1)
    result = write_segmentation(scene, noise_labels, scheme, volume, run_id="r")
    image, read = label_map_from_segmentation(scene.GetNodeByID(result.segmentation_node_id), volume)
    assert np.array_equal(image.channel(0), noise_labels)
    assert image.same_grid(image_from_volume(volume))
    assert read == scheme
    part, one = label_map_from_segmentation(
        scene.GetNodeByID(result.segmentation_node_id), volume, [result.segment_ids[3]]
    )
    assert np.array_equal(part.channel(0), np.where(noise_labels == 3, 3, 0))
    assert one.values == (3,)


def test_a_moved_segmentation_is_read_where_it_lies(scene, volume, noise_labels):
    """The warped position of every voxel says which label it must have (Slicer's own export resamples twice)."""
    result = write_segmentation(scene, noise_labels, scheme_of(1, 2, 3, 4), volume, run_id="r")
    node = scene.GetNodeByID(result.segmentation_node_id)
    warp = add_transform(scene, "grid")
    node.SetAndObserveTransformNodeID(warp.GetID())
    image, _ = label_map_from_segmentation(node, volume)
    ijk_to_ras = image.ijk_to_ras
    agree = 0
    indices = np.argwhere(np.ones(SHAPE, bool))[::29]
    for k, j, i in indices:
        world = (ijk_to_ras @ [i, j, k, 1])[:3]
        inside = warp.GetTransformFromParent().TransformPoint(world)
        a, b, c = np.rint((np.linalg.inv(ijk_to_ras) @ [*inside, 1])[:3]).astype(int)
        outside = not (0 <= c < SHAPE[0] and 0 <= b < SHAPE[1] and 0 <= a < SHAPE[2])
        agree += image.channel(0)[k, j, i] == (0 if outside else noise_labels[c, b, a])
    assert agree / len(indices) > 0.99


def test_overlapping_segments_are_refused(scene, volume, noise_labels):
    first = write_segmentation(scene, noise_labels, scheme_of(1, 2, 3, 4), volume, run_id="r", model_id="a")
    node = scene.GetNodeByID(first.segmentation_node_id)
    second = write_segmentation(
        scene,
        (noise_labels == 2).astype(np.uint8),
        scheme_of(1),
        volume,
        node,
        run_id="s",
        model_id="b",
        policy=OverwritePolicy.ALLOW_OVERLAP,
    )
    with pytest.raises(InputError, match="'organ 2' and 'organ 1' overlap"):
        label_map_from_segmentation(node, volume, [first.segment_ids[2], second.segment_ids[1]])


def test_statistics_and_their_table(scene, volume, noise_labels):
    image = image_from_volume(volume)
    statistics = label_statistics(image.with_array(noise_labels), scheme_of(1, 4, 9), image)
    assert [row.voxels for row in statistics] == [int((noise_labels == v).sum()) for v in (1, 4, 9)]
    assert statistics[0].volume_ml == pytest.approx(statistics[0].voxels * 0.37 * 0.91 * 4.3 / 1000)
    assert statistics[1].mean == pytest.approx(image.channel(0)[noise_labels == 4].mean())
    assert statistics[2].mean is None
    found = [LabelFound(**vars(row)) for row in statistics]
    table = table_of_structures(scene, found, name="volumes")
    assert table.GetNumberOfRows() == 3
    assert table.GetCellText(1, 0) == "organ 4"
    assert slicer.util.arrayFromTableColumn(table, "Volume (mL)")[0] == pytest.approx(statistics[0].volume_ml)
    assert math.isnan(slicer.util.arrayFromTableColumn(table, "Mean intensity")[2])
    assert table.GetColumnIndex("Expected Dice") == table.GetColumnIndex("Note") == -1
    again = table_of_structures(scene, found[:1], node=table)
    assert again is table
    assert table.GetNumberOfRows() == 1


def test_totals_quality_and_unusual_volumes_are_in_the_table(scene):
    structures = [
        LabelFound(1, "a", 10, 1.0, 5.0, 0.5, quality=0.9, usual_ml=(0.5, 2.0)),
        LabelFound(2, "b", 90, 9.0, 6.0, 0.5, quality=0.4, usual_ml=(1.0, 3.0)),
        LabelFound(3, "c", 0, 0.0),
    ]
    totals = [TotalFound("all", 100, 10.0, (11.0, 20.0)), TotalFound("a and c", 10, 1.0)]
    table = table_of_structures(scene, structures, totals)
    titles = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    cells = {t: [table.GetCellText(row, n) for row in range(5)] for n, t in enumerate(titles)}
    assert cells["Structure"] == ["a", "b", "c", "all", "a and c"]
    assert cells["Note"] == ["", "unusual volume", "", "unusual volume", ""]
    assert slicer.util.arrayFromTableColumn(table, "Voxels").tolist() == [10, 90, 0, 100, 10]
    assert slicer.util.arrayFromTableColumn(table, "Expected Dice")[:2] == pytest.approx([0.9, 0.4])
    assert np.isnan(slicer.util.arrayFromTableColumn(table, "Expected Dice")[2:]).all()
    assert slicer.util.arrayFromTableColumn(table, "Usual highest (mL)")[3] == 20.0


def test_a_scene_file_opens_with_volume_and_segments_as_they_were(scene, volume, noise_labels, tmp_path):
    scheme = scheme_of(1, 2, 3, 4)
    write_segmentation(scene, noise_labels, scheme, volume, run_id="r", model_id="m", name="result")
    path = save_scene_mrb(scene, tmp_path / "scene of today.mrb")
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]
    assert zipfile.is_zipfile(path)
    with headless_scene() as other:
        assert other.scene.ReadFromMRB(str(path), True)
        node = other.scene.GetFirstNodeByName("result")
        head = other.scene.GetFirstNodeByName("head")
        image, read = label_map_from_segmentation(node, head)
        again = image_from_volume(head)
        # Slicer's file reader may turn a left-handed grid: what counts is what lies at a place in the patient.
        to_file = np.linalg.inv(again.ijk_to_ras) @ image_from_volume(volume).ijk_to_ras
        k, j, i = np.indices(SHAPE)
        a, b, c = np.rint(np.einsum("ab,b...->a...", to_file, np.stack([i, j, k, np.ones_like(i)])))[:3].astype(int)
        assert np.array_equal(image.channel(0)[c, b, a], noise_labels)
        assert np.array_equal(again.channel(0)[c, b, a], slicer.util.arrayFromVolume(volume))
        assert [label.name for label in read] == [label.name for label in scheme]
        assert read.values == scheme.values  # the tags are in the file


def test_a_scene_file_that_cannot_be_written_leaves_nothing(scene, tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        save_scene_mrb(scene, tmp_path / "missing" / "a.mrb")
    with pytest.raises(OutputError, match=r"ends in \.mrb"):
        save_scene_mrb(scene, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []
