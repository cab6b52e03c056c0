"""Cases of the open scene: which nodes belong together, and what of it comes onto the disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from integration.mrml.scenes import SHAPE, add_transform, grid_matrix, scheme_of

import medai.mrml.labelled_export as labelled_export
from medai.errors import DatasetError, OutputError
from medai.image import Image
from medai.imageio import read_image, read_label_map
from medai.mrml import label_map_from_segmentation, volume_from_image, write_segmentation
from medai.mrml.labelled_cases import (
    case_of,
    check_cases,
    check_steps,
    export_cases,
    find_cases,
    labels_of,
    with_common_channels,
)
from medai.mrml.layers import new_layer

SMALL = (7, 12, 10)


def finished(steps):
    """What a generator returns, and how often it paused."""
    pauses = 0
    while True:
        try:
            fraction = next(steps)
        except StopIteration as end:
            return end.value, pauses
        assert 0.0 <= fraction <= 1.0
        pauses += 1


def add_volume(scene, name: str, seed: int = 0, matrix=None, shape=SHAPE):
    voxels = np.random.default_rng(seed).normal(100, 30, (1, *shape)).astype(np.int16)
    return volume_from_image(scene, Image(voxels, grid_matrix() if matrix is None else matrix), name)


def add_segmentation(scene, volume, labels: np.ndarray, name: str = "Segmentation", names=None):
    image = Image(labels[None], label_grid(volume), name)
    scheme = scheme_of(*range(1, int(labels.max()) + 1))
    result = write_segmentation(scene, image, scheme, volume, run_id=name, name=name)
    node = scene.GetNodeByID(result.segmentation_node_id)
    for n, title in enumerate(names or []):
        node.GetSegmentation().GetNthSegment(n).SetName(title)
    return node


def label_grid(volume) -> np.ndarray:
    from medai.mrml.volumes import volume_matrix

    return volume_matrix(volume)


def boxes(shape=SHAPE, *values: int) -> np.ndarray:
    """Values 1, 2 (or those given) as boxes, far from the faces of the grid."""
    labels = np.zeros(shape, np.uint8)
    k, j, i = shape
    for n, value in enumerate(values or (1, 2)):
        labels[k // 3 : 2 * k // 3, j // 4 + n * j // 4 : j // 2 + n * j // 4, i // 4 : i // 2] = value
    return labels


def forget_reference(segmentation) -> None:
    segmentation.SetNodeReferenceID(segmentation.GetReferenceImageGeometryReferenceRole(), None)


def under_patient(scene, patient: str, *nodes, patient_id: str = "") -> None:
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
    if patient_id:
        hierarchy.SetItemAttribute(item, "DICOM.PatientID", patient_id)
    for node in nodes:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), item)


def facts_of(scene) -> dict:
    """What a person would notice if it changed: nodes, their IDs and times, and what is selected."""
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return {
        "nodes": [(node.GetID(), node.GetName(), node.GetMTime()) for node in nodes],
        "url": scene.GetURL(),
        "undo": scene.GetNumberOfUndoLevels(),
    }


# --- Which nodes belong together


def test_the_reference_volume_is_the_cases_volume(scene) -> None:
    first, second = add_volume(scene, "one", 1), add_volume(scene, "two", 2)
    segmentation = add_segmentation(scene, second, boxes())
    (case,) = find_cases(scene)
    assert case.volume_ids == (second.GetID(),)
    assert case.segmentation_id == segmentation.GetID()
    assert [s.name for s in case.segments] == ["organ 1", "organ 2"]
    assert (case.name, case.patient) == ("two", "two")
    assert first.GetID() not in case.volume_ids


def test_without_a_reference_the_volume_that_holds_the_segments_is_found(scene) -> None:
    elsewhere = grid_matrix()
    elsewhere[:3, 3] += 500
    add_volume(scene, "elsewhere", 1, elsewhere)
    coarse = grid_matrix()
    coarse[:3, :3] *= 1.5
    add_volume(scene, "around it", 2, coarse)
    own = add_volume(scene, "own grid", 3)
    forget_reference(add_segmentation(scene, own, boxes()))
    (case,) = find_cases(scene)
    assert case.channel_names == ("own grid",)


def test_a_segmentation_without_a_volume_is_reported(scene) -> None:
    volume = add_volume(scene, "gone")
    segmentation = add_segmentation(scene, volume, boxes())
    scene.RemoveNode(volume)
    cases = find_cases(scene)
    assert [case.volume_ids for case in cases] == [()]
    report = check_cases(scene, cases, labels_of(cases))
    assert [(f.code, f.severity) for f in report.of_case(cases[0].name)] == [("missing-volume", "error")]
    assert segmentation.GetName() == cases[0].name


def test_the_patients_other_volumes_become_channels_where_every_case_has_them(scene) -> None:
    for number, patient in enumerate(("A", "B")):
        matrix = grid_matrix()
        matrix[:3, 3] += 1000 * number
        nodes = [add_volume(scene, f"{patient} {name}", n, matrix, SMALL) for n, name in enumerate(("T1", "FLAIR"))]
        if patient == "B":
            nodes.append(add_volume(scene, "B localizer", 9, matrix, SMALL))
        under_patient(scene, patient, *nodes, add_segmentation(scene, nodes[0], boxes(SMALL), f"{patient} drawn"))
    cases = find_cases(scene)
    assert [case.channel_names for case in cases] == [("A T1", "A FLAIR"), ("B T1", "B FLAIR")]
    assert [case.patient for case in cases] == ["A", "B"]
    single = [case_of(scene, cases[0].volume_ids[:1], cases[0].segmentation_id), cases[1]]
    assert [len(case.volume_ids) for case in with_common_channels(single)] == [1, 1]


def test_patients_go_by_their_id(scene) -> None:
    for number in range(2):
        volume = add_volume(scene, f"scan {number}", number, shape=SMALL)
        segmentation = add_segmentation(scene, volume, boxes(SMALL), f"drawn {number}")
        under_patient(scene, "Doe", volume, segmentation, patient_id=f"ID{number}")
    cases = find_cases(scene)
    assert [case.patient for case in cases] == ["ID0", "ID1"]
    report = check_cases(scene, cases, labels_of(cases))
    assert "2 patients have the name 'doe'" in next(f.message for f in report.warnings if f.code == "patient-name")


def add_sequence(scene, name: str, nodes, kind: str):
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetName(name)
    scene.AddNode(sequence)
    for number, node in enumerate(nodes):
        sequence.SetDataNodeAtValue(node, f"{number * 40}")
        scene.RemoveNode(node)
    return sequence


def cine(scene, frames: int = 3):
    """A volume sequence and a segmentation sequence of two of its frames, played by a browser."""
    arrays = [boxes(SMALL, 1), np.roll(boxes(SMALL, 1), 2, axis=2)]
    volumes = [add_volume(scene, f"frame {n}", n, shape=SMALL) for n in range(frames)]
    segmentations = [add_segmentation(scene, volumes[n], arrays[n], f"drawn {n}") for n in range(2)]
    volume_sequence = add_sequence(scene, "cine", volumes, "volume")
    segmentation_sequence = add_sequence(scene, "cine drawn", segmentations, "segmentation")
    browser = scene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    browser.SetAndObserveMasterSequenceNodeID(volume_sequence.GetID())
    browser.AddSynchronizedSequenceNode(segmentation_sequence)
    return volume_sequence, segmentation_sequence, arrays


def test_frames_of_sequences_are_cases_of_one_patient(scene, tmp_path: Path) -> None:
    volumes, segmentations, arrays = cine(scene)
    cases = find_cases(scene)
    assert [(c.frame, c.volume_ids, c.segmentation_id) for c in cases] == [
        (n, (volumes.GetID(),), segmentations.GetID()) for n in range(2)
    ]
    assert len({case.patient for case in cases}) == 1
    result, _ = finished(export_cases(scene, cases, labels_of(cases), tmp_path / "out"))
    for case, expected in zip(cases, arrays, strict=True):
        labels, _ = read_label_map(tmp_path / "out" / "labels" / f"{result.files[case.name]}.seg.nrrd")
        assert np.array_equal(labels.channel(0), expected)
        image = read_image(tmp_path / "out" / "images" / f"{result.files[case.name]}_0000.nrrd")
        frame = np.random.default_rng(case.frame).normal(100, 30, (1, *SMALL)).astype(np.int16)
        assert np.array_equal(image.array, frame)


def test_frames_around_the_labelled_one_can_be_its_channels(scene, tmp_path: Path) -> None:
    volumes, segmentations, _ = cine(scene)
    case = case_of(scene, [volumes.GetID()], segmentations.GetID(), frame=1, around=1)
    assert case.channel_names == ("cine t-1", "cine t", "cine t+1")
    first = case_of(scene, [volumes.GetID()], segmentations.GetID(), frame=0, around=1)
    result, _ = finished(export_cases(scene, [case, first], labels_of([case]), tmp_path / "out"))
    names = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["channel_names"]
    assert list(names.values()) == ["image t-1", "image t", "image t+1"]
    for one, frames in ((case, (0, 1, 2)), (first, (0, 0, 1))):  # before the first there is the first
        for channel, frame in enumerate(frames):
            image = read_image(tmp_path / "out" / "images" / f"{result.files[one.name]}_{channel:04d}.nrrd")
            expected = np.random.default_rng(frame).normal(100, 30, (1, *SMALL)).astype(np.int16)
            assert np.array_equal(image.array, expected)


# --- What comes onto the disk


@pytest.mark.parametrize("kind", ["none", "linear"])
def test_labels_and_voxels_are_exactly_those_of_the_scene(scene, volume, noise_labels, kind, tmp_path) -> None:
    segmentation = add_segmentation(scene, volume, noise_labels)
    transform = add_transform(scene, kind)
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)
    cases = find_cases(scene)
    before = facts_of(scene)
    _, pauses = finished(export_cases(scene, cases, labels_of(cases), tmp_path / "out"))
    assert facts_of(scene) == before
    assert pauses > 3
    labels, scheme = read_label_map(tmp_path / "out" / "labels" / "head.seg.nrrd")
    image = read_image(tmp_path / "out" / "images" / "head_0000.nrrd")
    assert np.array_equal(labels.channel(0), noise_labels)
    assert scheme is not None
    assert scheme.names == ("organ 1", "organ 2", "organ 3", "organ 4")
    voxels = slicer.util.arrayFromVolume(volume)
    assert np.array_equal(image.channel(0), voxels)
    assert image.array.dtype == voxels.dtype
    for ijk in ((0, 0, 0), (40, 36, 12), (3, 20, 7)):
        own = label_grid(volume) @ np.array([*ijk, 1.0])
        world = np.array(transform.GetTransformToParent().TransformPoint(own[:3])) if transform is not None else own[:3]
        assert np.allclose((image.ijk_to_ras @ np.array([*ijk, 1.0]))[:3], world, atol=1e-6)
    assert np.allclose(labels.ijk_to_ras, image.ijk_to_ras)


def ball_scene(scene, kind: str, on_volume: bool = True, on_segmentation: bool = True):
    """A volume whose bright ball is its segment, under a transform of a kind; both as functions of the place."""
    shape, matrix = (24, 44, 48), np.diag([1.1, 1.2, 2.4, 1.0])
    matrix[:3, 3] = (-150, 20, -1040)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ matrix.T
    centre = (matrix @ np.array([24, 22, 12, 1.0]))[:3]
    labels = (np.linalg.norm(ras[..., :3] - centre, axis=-1) < 14).astype(np.uint8)
    volume = volume_from_image(scene, Image((labels[None] * 200 + 50).astype(np.int16), matrix), "ball")
    segmentation = add_segmentation(scene, volume, labels)
    transform = add_matrix(scene, MATRICES[kind]) if kind in MATRICES else add_transform(scene, kind)
    for node, wanted in ((volume, on_volume), (segmentation, on_segmentation)):
        if wanted:
            node.SetAndObserveTransformNodeID(transform.GetID())
    return volume, segmentation, transform, centre


MATRICES = {
    "sheared": [1, 0.2, 0, 5, 0, 1, 0.1, -3, 0, 0, 1, 8, 0, 0, 0, 1],
    "turned": [0.8, -0.6, 0, 9, 0.6, 0.8, 0, 76, 0, 0, 1, 8, 0, 0, 0, 1],
}


def add_matrix(scene, values):
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(values)
    node = scene.AddNode(slicer.vtkMRMLTransformNode())
    node.SetMatrixTransformToParent(matrix)
    return node


@pytest.mark.parametrize("kind", ["sheared", "thin-plate"])
def test_under_shears_and_warps_image_and_labels_come_to_the_place_in_the_world(scene, kind, tmp_path) -> None:
    _volume, _segmentation, transform, centre = ball_scene(scene, kind)
    cases = find_cases(scene)
    finished(export_cases(scene, cases, labels_of(cases), tmp_path / "out"))
    image = read_image(tmp_path / "out" / "images" / "ball_0000.nrrd")  # refuses sheared grids
    labels, _ = read_label_map(tmp_path / "out" / "labels" / "ball.seg.nrrd")
    assert labels.same_grid(image)
    bright = image.channel(0) > 150
    drawn = labels.channel(0) == 1
    dice = 2 * (bright & drawn).sum() / (bright.sum() + drawn.sum())
    assert dice >= 0.97, dice  # the image is interpolated linearly, the labels to the nearest voxel
    where = (image.ijk_to_ras @ np.append(np.argwhere(drawn).mean(axis=0)[::-1], 1.0))[:3]
    place = np.array(transform.GetTransformToParent().TransformPoint(centre))
    assert np.linalg.norm(where - place) < 1.5
    spacing = np.array(image.spacing_mm)
    assert np.all(np.abs(spacing / np.array([2.4, 1.2, 1.1]) - 1) < 0.25)


def test_a_segmentation_elsewhere_in_the_tree_of_transforms_is_followed(scene, tmp_path) -> None:
    volume, _segmentation, transform, centre = ball_scene(scene, "turned", on_volume=False)
    case = find_cases(scene)[0]
    finished(export_cases(scene, [case], labels_of([case]), tmp_path / "out"))
    labels, _ = read_label_map(tmp_path / "out" / "labels" / "ball.seg.nrrd")
    assert np.allclose(labels.ijk_to_ras, label_grid(volume))
    expected, _ = label_map_from_segmentation(_segmentation, volume)
    overlap = (
        2 * ((labels.array > 0) & (expected.array > 0)).sum() / ((labels.array > 0).sum() + (expected.array > 0).sum())
    )
    assert overlap >= 0.99
    assert np.linalg.norm(centre - np.array(transform.GetTransformToParent().TransformPoint(centre))) > 5


def test_a_label_that_a_case_lacks_is_unknown_there_and_an_empty_segment_is_not(scene, tmp_path) -> None:
    volumes = [add_volume(scene, name, n, shape=SMALL) for n, name in enumerate(("a", "b", "c"))]
    for n, volume in enumerate(volumes):
        drawn = boxes(SMALL) if n == 0 else boxes(SMALL, 1)
        segmentation = add_segmentation(scene, volume, drawn, f"drawn {n}", ["liver", "spleen"][: drawn.max()])
        if n == 2:
            segmentation.GetSegmentation().AddEmptySegment("", "spleen")
    cases = find_cases(scene)
    result, _ = finished(export_cases(scene, cases, labels_of(cases), tmp_path / "out"))
    assert result.findings == ()
    description = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert description["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    assert description["unknown"] == {"b": ["spleen"]}
    _, scheme = read_label_map(tmp_path / "out" / "labels" / "c.seg.nrrd")
    assert scheme is not None
    assert scheme.names == ("liver", "spleen")
    report = check_cases(scene, cases, labels_of(cases))
    assert {(f.case, f.code) for f in report.findings if f.case} == {("b", "unknown"), ("c", "empty-label")}


def test_where_segments_overlap_the_later_label_wins_and_is_told(scene, tmp_path) -> None:
    volume = add_volume(scene, "a", shape=SMALL)
    segmentation = add_segmentation(scene, volume, boxes(SMALL, 1), names=["vessel"])
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "tumour")
    lesion = np.zeros(SMALL, np.uint8)
    lesion[2:4, 3:6, 2:5] = 1
    layer, voxels = new_layer(SMALL, (0, 0, 0), label_grid(volume), np.uint8)
    voxels[...] = lesion
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    segment.SetLabelValue(1)
    segment.AddRepresentation("Binary labelmap", layer)
    cases = find_cases(scene)
    table = labels_of(cases)
    result, _ = finished(export_cases(scene, cases, table, tmp_path / "out"))
    labels, _ = read_label_map(tmp_path / "out" / "labels" / "a.seg.nrrd")
    vessel = boxes(SMALL, 1) > 0
    assert np.array_equal(labels.channel(0) == 2, lesion > 0)
    assert np.array_equal(labels.channel(0) == 1, vessel & (lesion == 0))
    lost = int((vessel & (lesion > 0)).sum())
    assert lost > 0
    assert f"{lost} voxels" in next(f.message for f in result.findings if f.code == "overlap")
    # Ignored, it is background, and takes nothing away.
    finished(export_cases(scene, cases, table.ignore("tumour"), tmp_path / "without"))
    labels, _ = read_label_map(tmp_path / "without" / "labels" / "a.seg.nrrd")
    assert np.array_equal(labels.channel(0) == 1, vessel)
    finished(export_cases(scene, cases, table.merge(["tumour"], "vessel"), tmp_path / "merged"))
    labels, _ = read_label_map(tmp_path / "merged" / "labels" / "a.seg.nrrd")
    assert np.array_equal(labels.channel(0) == 1, vessel | (lesion > 0))


# --- What is wrong is said, and nothing is left half-written


def test_bad_cases_are_reported_and_left_out(scene, tmp_path) -> None:
    good = [add_volume(scene, f"good {n}", n, shape=SMALL) for n in range(2)]
    for n, volume in enumerate(good):
        add_segmentation(scene, volume, boxes(SMALL), f"drawn {n}")
    empty = add_segmentation(scene, add_volume(scene, "empty", 5, shape=SMALL), boxes(SMALL), "nothing drawn")
    for n in range(2):
        empty.GetSegmentation().GetNthSegment(n).RemoveAllRepresentations()
    tiny = np.zeros(SMALL, np.uint8)
    tiny[3, 4, 4:8] = 1
    add_segmentation(scene, add_volume(scene, "tiny", 6, shape=SMALL), tiny, "four voxels")
    far = add_volume(scene, "other place", 7, shape=SMALL)
    moved = add_segmentation(scene, far, boxes(SMALL), "moved")
    transform = scene.AddNode(slicer.vtkMRMLTransformNode())
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 900)
    transform.SetMatrixTransformToParent(matrix)
    moved.SetAndObserveTransformNodeID(transform.GetID())
    hollow = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no voxels")
    cases = [*find_cases(scene), case_of(scene, [hollow.GetID()], empty.GetID(), name="without voxels")]
    report, pauses = finished(check_steps(scene, cases, labels_of(cases)))
    assert pauses >= len(cases)
    codes = {(f.case, f.code) for f in report.findings if f.severity != "note" and f.case}
    assert codes >= {
        ("empty", "empty-segmentation"), ("tiny", "tiny-label"), ("other place", "empty-segmentation"),
        ("without voxels", "missing-volume"),
    }  # fmt: skip
    assert report.bad_cases == {"empty", "other place", "without voxels"}
    assert all(f.remedy for f in report.errors)
    result, _ = finished(export_cases(scene, cases, labels_of(cases), tmp_path / "out"))
    assert set(result.files) == {"good 0", "good 1", "tiny"}
    assert {f.case for f in result.findings if f.severity == "error"} == report.bad_cases
    excluded = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["excluded"]
    assert set(excluded) == {"empty", "other_place", "without_voxels"}


def test_a_segmentation_that_lies_half_outside_of_its_volume_is_told(scene) -> None:
    volume, segmentation, transform, _ = ball_scene(scene, "turned", on_volume=False)
    # Half of a ball of 14 mm in the middle of a volume of 52 mm along this axis.
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 27.0)
    transform.SetMatrixTransformToParent(matrix)
    case = case_of(scene, [volume.GetID()], segmentation.GetID())
    (finding,) = [f for f in check_cases(scene, [case], labels_of([case])).findings if f.code == "outside"]
    assert finding.case == case.name
    assert 0.3 < float(finding.message.split("%")[0].rsplit(" ", 1)[1]) / 100 < 0.7


def test_surfaces_without_voxels_and_colour_volumes_are_refused_with_a_remedy(scene) -> None:
    volume = add_volume(scene, "a", shape=SMALL)
    segmentation = add_segmentation(scene, volume, boxes(SMALL))
    segmentation.CreateClosedSurfaceRepresentation()
    segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segmentation.GetSegmentation().RemoveRepresentation("Binary labelmap")
    colour = scene.AddNode(slicer.vtkMRMLVectorVolumeNode())
    data = vtk.vtkImageData()
    data.SetDimensions(4, 4, 4)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(data)
    cases = [
        case_of(scene, [volume.GetID()], segmentation.GetID(), name="surface"),
        case_of(scene, [colour.GetID()], segmentation.GetID(), name="colour"),
    ]
    errors = {f.case: f for f in check_cases(scene, cases, labels_of(cases)).errors if f.case}
    assert "without a binary label map" in errors["surface"].message
    assert "Segmentations module" in errors["surface"].remedy
    assert (errors["colour"].code, errors["colour"].remedy) == ("colour", "Choose a grey-scale volume.")


def test_one_case_only_is_an_error_of_the_data_set(scene) -> None:
    add_segmentation(scene, add_volume(scene, "a", shape=SMALL), boxes(SMALL))
    cases = find_cases(scene)
    assert [f.code for f in check_cases(scene, cases, labels_of(cases)).errors] == ["one-case"]


@pytest.fixture
def one_case(scene):
    add_segmentation(scene, add_volume(scene, "a"), boxes())
    return find_cases(scene)


def test_a_full_disk_leaves_nothing_behind(scene, one_case, tmp_path, monkeypatch) -> None:
    def full(*arguments, **options):
        yield from ()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(labelled_export, "write_slabs", full)
    with pytest.raises(OutputError, match="disk is full"):
        finished(export_cases(scene, one_case, labels_of(one_case), tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_closing_the_export_early_leaves_nothing_behind(scene, one_case, tmp_path) -> None:
    steps = export_cases(scene, one_case, labels_of(one_case), tmp_path / "out")
    for _ in range(3):
        next(steps)
    assert len(list(tmp_path.iterdir())) == 1  # hidden, with a name of its own
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_cannot_work_is_refused_at_once(scene, one_case, tmp_path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    table = labels_of(one_case)
    for folder in (tmp_path / "full", tmp_path / "missing" / "out"):
        with pytest.raises(OutputError):
            export_cases(scene, one_case, table, folder)
    with pytest.raises(DatasetError, match="no label"):
        export_cases(scene, one_case, table.ignore("organ 1").ignore("organ 2"), tmp_path / "out")


def test_nodes_that_went_away_are_reported(scene, one_case, tmp_path) -> None:
    scene.RemoveNode(scene.GetNodeByID(one_case[0].volume_ids[0]))
    with pytest.raises(DatasetError, match="not in the scene"):
        finished(export_cases(scene, one_case, labels_of(one_case), tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
