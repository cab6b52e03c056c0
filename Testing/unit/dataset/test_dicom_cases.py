"""DICOM series with DICOM SEG, made here with pydicom and highdicom, and the field's own examples where they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medai.dataset.dicom_cases import export_dicom, has_dicom_segmentations, list_dicom, read_dicom_case
from medai.dataset.prepare import prepare
from medai.errors import DatasetError
from medai.imageio import read_image, read_label_map
from medai.label_table import labels_of

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

SHAPE = (5, 16, 12)
CT = "1.2.840.10008.5.1.4.1.1.2"


def write_series(folder: Path, patient: str, seed: int) -> list:
    """An oblique CT series; gives its data sets in the order of the slices."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    voxels = np.random.default_rng(seed).integers(0, 2000, SHAPE).astype(np.int16)
    c, s = np.cos(0.3), np.sin(0.3)
    row, column = np.array([c, s, 0.0]), np.array([-s * c, c * c, s])
    normal = np.cross(row, column)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for k in range(SHAPE[0]):
        data = pydicom.Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CT
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientID, data.PatientName = patient, f"{patient}^Test"
        data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.StudyID = data.ReferringPhysicianName = ""
        data.StudyDate, data.StudyTime, data.Modality = "20200101", "120000", "CT"
        data.SeriesNumber, data.InstanceNumber = 3, k + 1
        data.ImagePositionPatient = [round(float(v), 6) for v in np.array([-20.0, 30.0, 7.0]) + 2.5 * k * normal]
        data.ImageOrientationPatient = [round(float(v), 6) for v in (*row, *column)]
        data.PixelSpacing, data.SliceThickness = [0.9, 1.1], 2.5
        data.Rows, data.Columns = SHAPE[1:]
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.RescaleSlope, data.RescaleIntercept = 1, -1000
        data.PixelData = voxels[k].tobytes()
        data.save_as(folder / f"slice{SHAPE[0] - k}.dcm", enforce_file_format=True)
        slices.append(data)
    return slices


def write_seg(path: Path, slices: list, masks: np.ndarray, names: list[str], fractional: bool = False) -> None:
    """A SEG of segments (k, j, i, n), coded as liver, spleen, ..."""
    from highdicom.sr.coding import CodedConcept
    from pydicom.uid import generate_uid

    codes = {"liver": "10200004", "Leber": "10200004", "spleen": "78961009"}
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=n + 1,
            segment_label=name,
            segmented_property_category=CodedConcept("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=CodedConcept(codes[name], "SCT", name),
            algorithm_type="MANUAL",
        )
        for n, name in enumerate(names)
    ]
    seg = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=masks,
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="MedAI tests",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
    )
    seg.save_as(path)


def box(k: slice, j: slice, i: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[k, j, i] = 1
    return mask


LIVER = box(slice(1, 4), slice(2, 9), slice(3, 8))  # the first and last slices are left out of the SEG
SPLEEN = box(slice(2, 4), slice(10, 14), slice(5, 10))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two patients: liver and spleen of one, the liver alone of the other, under another name but the same code."""
    root = tmp_path / "dicom"
    first = write_series(root / "one" / "ct", "P1", 1)
    write_seg(root / "one" / "seg.dcm", first, np.stack([LIVER, SPLEEN], axis=-1), ["liver", "spleen"])
    second = write_series(root / "two", "P2", 2)
    write_seg(root / "two" / "seg.dcm", second, LIVER[..., None], ["Leber"])
    return root


def test_a_segmentation_is_read_voxel_by_voxel_on_the_grid_of_its_series(study: Path, tmp_path: Path) -> None:
    assert has_dicom_segmentations(study)
    assert export_dicom(study, tmp_path / "out") == []
    files = sorted(file.name for file in (tmp_path / "out" / "labels").iterdir())
    assert files == ["P1_series_3.seg.nrrd", "P2_series_3.seg.nrrd"]
    labels, scheme = read_label_map(tmp_path / "out" / "labels" / files[0])
    image = read_image(tmp_path / "out" / "images" / "P1_series_3_0000.nrrd")
    series = read_image(study / "one" / "ct")
    assert np.array_equal(image.array, series.array)
    assert labels.same_grid(series)
    # GDCM's order of slices along the normal is that in which they were written here.
    assert np.array_equal(labels.channel(0) == 1, LIVER > 0)
    assert np.array_equal(labels.channel(0) == 2, SPLEEN > 0)
    assert scheme is not None
    assert scheme.names == ("liver", "spleen")
    description = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert description["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    assert description["label_details"][0]["terminology"]["type"]["value"] == "10200004"
    assert description["unknown"] == {"P2_series_3": ["spleen"]}
    assert description["patients"] == {"P1_series_3": "P1", "P2_series_3": "P2"}
    assert description["modalities"] == ["CT"]
    card = prepare(tmp_path / "out", tmp_path / "cache").card
    assert [case.unknown_labels for case in card.cases] == [(), (2,)]


def test_fractions_count_from_a_half_and_a_note_says_so(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", "P1", 1)
    fractions = np.zeros(SHAPE)
    fractions[1:4, 2:9, 3:8] = np.linspace(0.1, 1.0, 5)
    write_seg(tmp_path / "dicom" / "seg.dcm", slices, fractions[..., None], ["liver"], fractional=True)
    notes = export_dicom(tmp_path / "dicom", tmp_path / "out")
    labels, _ = read_label_map(tmp_path / "out" / "labels" / "P1_series_3.seg.nrrd")
    assert np.array_equal(labels.channel(0) == 1, fractions >= 0.5)
    assert any("fractional" in note for note in notes)


def test_several_segmentations_of_a_series_are_one_case_and_overlaps_are_told(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", "P1", 1)
    other = box(slice(1, 4), slice(6, 12), slice(3, 8))
    write_seg(tmp_path / "dicom" / "a.dcm", slices, LIVER[..., None], ["liver"])
    write_seg(tmp_path / "dicom" / "b.dcm", slices, other[..., None], ["spleen"])
    (case,) = list_dicom(tmp_path / "dicom").cases
    _, labels, notes = read_dicom_case(case, labels_of([case]))
    assert np.array_equal(labels.channel(0) == 2, other > 0)
    assert np.array_equal(labels.channel(0) == 1, (LIVER > 0) & (other == 0))
    assert [f"overlap in {int((LIVER * other).sum())} voxels" in note for note in notes] == [True]


def test_a_segmentation_without_its_images_is_told(study: Path, tmp_path: Path) -> None:
    for file in (study / "two").glob("slice*"):
        file.unlink()
    export_dicom(study, tmp_path / "out")
    description = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert "not in the folder" in description["excluded"]["two/seg.dcm"]
    for file in (study / "one").rglob("slice*"):
        file.unlink()
    with pytest.raises(DatasetError, match="not in the folder"):
        export_dicom(study, tmp_path / "none")


def test_an_irregular_series_is_left_out_with_its_reason(study: Path, tmp_path: Path) -> None:
    (study / "two" / "slice3.dcm").unlink()
    export_dicom(study, tmp_path / "out")
    description = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert "slice" in description["excluded"]["P2_series_3"]
    assert list(description["patients"]) == ["P1_series_3"]


def test_a_folder_without_segmentations_is_none(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", "P1", 1)
    assert not has_dicom_segmentations(tmp_path / "dicom")


def test_dcmqis_segmentation_equals_the_label_map_it_was_made_of(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_small" / "dcmqi" / "segmentations"
    for file in (*sorted((folder / "ct-3slice").iterdir()), folder / "liver.dcm"):
        (tmp_path / file.name).symlink_to(file)
    (case,) = list_dicom(tmp_path).cases
    image, labels, notes = read_dicom_case(case, labels_of([case]))
    expected = read_image(folder / "liver_seg.nrrd")
    assert (image.modality, notes) == ("CT", [])
    assert labels.same_grid(expected, 0.05)
    assert np.array_equal(labels.array > 0, expected.array > 0)
