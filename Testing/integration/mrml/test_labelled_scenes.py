"""Scene files: each is loaded in a scene of its own; the open scene never notices."""

from __future__ import annotations

import gc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer
from integration.mrml.scenes import grid_matrix, scheme_of

from medai.errors import FileFormatError, OutputError
from medai.image import Image
from medai.imageio import read_image, read_label_map
from medai.mrml import save_scene_mrb, volume_from_image, write_segmentation
from medai.mrml.headless import headless_scene
from medai.mrml.labelled_cases import (
    check_cases,
    export_cases,
    find_cases,
    find_scene_cases,
    labels_of,
    scene_cases,
    scene_files,
    with_own_names,
)

SHAPE = (6, 9, 8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 30, SHAPE).astype(np.int16)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 100).integers(0, 3, SHAPE).astype(np.uint8)


def fill(scene, seed: int) -> None:
    image = Image(noise(seed)[None], grid_matrix(), "T1")
    volume = volume_from_image(scene, image)
    write_segmentation(scene, image.with_array(drawn(seed)), scheme_of(1, 2), volume, run_id="r", name="drawn")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[Path]:
    """Three scenes with a volume and a segmentation each; the third lists its patient."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    with headless_scene() as host:
        for seed in range(3):
            host.scene.Clear(False)
            fill(host.scene, seed)
            if seed == 2:
                hierarchy = host.scene.GetSubjectHierarchyNode()
                item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe")
                node = host.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
                hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), item)
            paths.append(save_scene_mrb(host.scene, folder / f"scan {seed}.mrb"))
    return paths


def state_of(scene) -> dict:
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return {
        "ids": [node.GetID() for node in nodes],
        "times": [node.GetMTime() for node in nodes],
        "singletons": sorted(node.GetSingletonTag() for node in nodes if node.GetSingletonTag()),
        "selected": [node.GetActiveVolumeID() for node in nodes if node.IsA("vtkMRMLSelectionNode")],
        "undo": (scene.GetUndoFlag(), scene.GetNumberOfUndoLevels(), scene.GetNumberOfRedoLevels()),
        "modified": scene.GetModifiedSinceRead() if hasattr(scene, "GetModifiedSinceRead") else None,
        "url": scene.GetURL(),
        "folder": scene.GetRootDirectory(),
    }


def finished(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_the_open_scene_does_not_notice_that_scenes_are_read(scene, bundles, tmp_path) -> None:
    fill(scene, 9)
    selection = scene.AddNewNodeByClass("vtkMRMLSelectionNode")
    selection.SetActiveVolumeID(scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode").GetID())
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    before = state_of(scene)
    cases = with_own_names([*find_cases(scene), *(case for path in bundles for case in find_scene_cases(path, scene))])
    table = labels_of(cases)
    report = check_cases(scene, cases, table)
    result = finished(export_cases(scene, cases, table, tmp_path / "out"))
    assert state_of(scene) == before
    assert report.errors == ()
    # IDs in different scenes are alike: each case must come from its own scene.
    assert len({case.volume_ids for case in cases}) == 1
    for case, seed in zip(cases, (9, 0, 1, 2), strict=True):
        file = result.files[case.name]
        labels, _ = read_label_map(tmp_path / "out" / "labels" / f"{file}.seg.nrrd")
        assert np.array_equal(labels.channel(0), drawn(seed)), case.name
        image = read_image(tmp_path / "out" / "images" / f"{file}_0000.nrrd")
        assert np.array_equal(image.channel(0), noise(seed))
        assert np.allclose(image.ijk_to_ras, grid_matrix())


def test_cases_are_named_after_their_file_and_know_their_patient(bundles) -> None:
    cases = [case for path in bundles for case in find_scene_cases(path)]
    assert [case.name for case in cases] == ["scan 0", "scan 1", "scan 2"]
    assert [case.patient for case in cases] == ["scan 0", "scan 1", "Doe"]
    assert [Path(case.source) for case in cases] == bundles


def test_the_scene_and_its_folder_are_freed(bundles, tmp_path, monkeypatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scene_cases(bundles[0]) as (place, cases):
        assert place.GetNumberOfNodes() > 3
        assert len(cases) == 1
        assert len(list(tmp_path.iterdir())) == 1
        seen = place
    assert list(tmp_path.iterdir()) == []
    assert seen.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None
    gc.collect()
    assert seen.GetReferenceCount() == 1  # nothing but this test holds it


def test_an_unpacked_scene_is_read_and_one_that_lacks_its_volume_is_reported(bundles, tmp_path) -> None:
    with zipfile.ZipFile(bundles[0]) as bundle:
        bundle.extractall(tmp_path)
    (scene_file,) = tmp_path.rglob("*.mrml")
    (case,) = find_scene_cases(scene_file)
    table = labels_of([case])
    assert {f.code for f in check_cases(None, [case], table).findings} == {"one-case"}
    (volume,) = [file for file in tmp_path.rglob("*.nrrd") if not file.name.endswith(".seg.nrrd")]
    volume.unlink()
    cases = find_scene_cases(scene_file)
    codes = {f.code for f in check_cases(None, cases, labels_of(cases)).findings if f.case}
    assert codes == {"missing-volume"}


def test_scene_files_of_a_folder_are_found(bundles, tmp_path) -> None:
    assert scene_files(bundles[0].parent) == bundles
    assert scene_files(bundles[0]) == bundles[:1]
    assert scene_files(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"no scene at all", b"PK\x03\x04 broken"])
def test_what_is_no_scene_is_refused(content, tmp_path) -> None:
    (tmp_path / "bad.mrb").write_bytes(content)
    with pytest.raises(FileFormatError):
        find_scene_cases(tmp_path / "bad.mrb")


def test_a_bundle_that_points_outside_of_itself_is_refused(tmp_path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with zipfile.ZipFile(inner / "evil.mrb", "w") as bundle:
        bundle.writestr("../escaped.mrml", "<MRML></MRML>")
    with pytest.raises(FileFormatError, match="outside"):
        find_scene_cases(inner / "evil.mrb")
    assert not list(tmp_path.rglob("escaped*"))


def test_a_full_disk_while_unpacking_is_told(bundles, monkeypatch) -> None:
    import shutil

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OutputError, match="disk is full"):
        find_scene_cases(bundles[0])


def test_a_scene_that_vanished_is_a_finding_and_the_others_go_on(bundles, tmp_path) -> None:
    copy = tmp_path / "copy.mrb"
    copy.write_bytes(bundles[0].read_bytes())
    cases = [*find_scene_cases(copy), *find_scene_cases(bundles[1]), *find_scene_cases(bundles[2])]
    copy.unlink()
    result = finished(export_cases(None, cases, labels_of(cases), tmp_path / "out"))
    assert set(result.files) == {"scan 1", "scan 2"}
    assert [(f.case, f.severity) for f in result.findings] == [("copy", "error")]


def test_two_scenes_with_one_patient_name_are_told(tmp_path, bundles) -> None:
    copies = []
    for seed in (5, 6):
        with headless_scene() as host:
            fill(host.scene, seed)
            hierarchy = host.scene.GetSubjectHierarchyNode()
            item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe")
            node = host.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), item)
            copies.append(save_scene_mrb(host.scene, tmp_path / f"visit {seed}.mrb"))
    cases = [case for path in [*copies, bundles[0]] for case in find_scene_cases(path)]
    report = check_cases(None, cases, labels_of(cases))
    assert [f.code for f in report.warnings] == ["patient-name"]
    assert "2 scenes have a patient 'Doe'" in report.warnings[0].message


def test_a_sequence_of_a_scene_file_keeps_its_frames(tmp_path) -> None:
    with headless_scene() as host:
        scene = host.scene
        image = Image(noise(0)[None], grid_matrix(), "frame")
        sequences = {}
        for kind in ("volume", "segmentation"):
            sequences[kind] = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{kind} sequence")
        for frame in range(2):
            volume = volume_from_image(scene, image.with_array(noise(frame)))
            labels = image.with_array(drawn(frame))
            result = write_segmentation(scene, labels, scheme_of(1, 2), volume, run_id="r", name="drawn")
            segmentation = scene.GetNodeByID(result.segmentation_node_id)
            sequences["volume"].SetDataNodeAtValue(volume, str(frame))
            sequences["segmentation"].SetDataNodeAtValue(segmentation, str(frame))
            scene.RemoveNode(segmentation)
            scene.RemoveNode(volume)
        browser = scene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
        browser.SetAndObserveMasterSequenceNodeID(sequences["volume"].GetID())
        browser.AddSynchronizedSequenceNode(sequences["segmentation"])
        path = save_scene_mrb(scene, tmp_path / "cine.mrb")
    cases = find_scene_cases(path)
    assert [case.frame for case in cases] == [0, 1]
    result = finished(export_cases(None, cases, labels_of(cases), tmp_path / "out"))
    for case in cases:
        labels, _ = read_label_map(tmp_path / "out" / "labels" / f"{result.files[case.name]}.seg.nrrd")
        assert np.array_equal(labels.channel(0), drawn(case.frame))
