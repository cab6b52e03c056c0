"""DICOM series: regular ones are read exactly, irregular ones refused by their cause."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medai.errors import FileFormatError, GeometryError, MedAIError
from medai.imageio import read_image

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

MR = "1.2.840.10008.5.1.4.1.1.4"
SPACING = 2.5


def slices_of(
    count: int = 7, oblique: bool = True, series: str = "", description: str = "T1 axial"
) -> list[FileDataset]:
    """The data sets of one regular series of 9 x 11 pixels, on an oblique grid, ready to be spoilt."""
    rng = np.random.default_rng(5)
    angle = 0.3 if oblique else 0.0
    row = np.array([np.cos(angle), np.sin(angle), 0.0])
    column = np.array([-np.sin(angle) * np.cos(0.2), np.cos(angle) * np.cos(0.2), np.sin(0.2)])
    column = column if oblique else np.array([0.0, 1.0, 0.0])
    normal = np.cross(row, column)
    series = series or generate_uid()
    result = []
    for n in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MR, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = MR, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.StudyInstanceUID = series, generate_uid()
        data.SeriesDescription, data.Modality, data.PatientID = description, "MR", "phantom"
        data.ImageType = ["ORIGINAL", "PRIMARY"]
        data.Rows, data.Columns, data.PixelSpacing = 9, 11, [0.8, 0.6]
        data.ImageOrientationPatient = [f"{v:.10f}" for v in (*row, *column)]
        data.ImagePositionPatient = [f"{v:.6f}" for v in np.array([10, -20, 30]) + n * SPACING * normal]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = rng.integers(-500, 500, (9, 11)).astype("<i2").tobytes()
        data.InstanceNumber = n + 1
        result.append(data)
    return result


def saved(datasets: list[FileDataset], folder: Path, shuffled: bool = True) -> Path:
    """Write the data sets under names that tell nothing of their order."""
    folder.mkdir(exist_ok=True)
    order = np.random.default_rng(1).permutation(len(datasets)) if shuffled else range(len(datasets))
    taken = len(list(folder.iterdir()))
    for name, n in enumerate(order, start=taken):
        datasets[n].save_as(folder / f"IM{name:03d}.dcm", enforce_file_format=True)
    return folder


def moved(data: FileDataset, along: float, normal: np.ndarray) -> None:
    position = np.array([float(v) for v in data.ImagePositionPatient]) + along * normal
    data.ImagePositionPatient = [f"{v:.6f}" for v in position]


def normal_of(data: FileDataset) -> np.ndarray:
    cosines = np.array([float(v) for v in data.ImageOrientationPatient]).reshape(2, 3)
    return np.cross(cosines[0], cosines[1])


def test_a_regular_series_is_read_exactly(tmp_path):
    datasets = slices_of()
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "notes.txt").write_text("not DICOM")
    image = read_image(saved(datasets, tmp_path / "series"))
    assert image.array.dtype == np.int16
    assert image.modality == "MR"
    assert image.name == "T1 axial"
    for n, data in enumerate(datasets):
        assert np.array_equal(image.array[0, n], np.frombuffer(data.PixelData, "<i2").reshape(9, 11))
        # DICOM PS3.3, C.7.6.2.1.1: the place of pixel (column 4, row 6) of slice n, from LPS to RAS.
        cosines = np.array([float(v) for v in data.ImageOrientationPatient]).reshape(2, 3)
        place = np.array([float(v) for v in data.ImagePositionPatient]) + 4 * 0.6 * cosines[0] + 6 * 0.8 * cosines[1]
        found = image.ijk_to_ras @ [4, 6, n, 1]
        assert found[:3] == pytest.approx(place * [-1, -1, 1], abs=1e-4)


def test_one_file_stands_for_its_series(tmp_path):
    first, second = slices_of(description="first"), slices_of(5, description="second")
    folder = saved(second, saved(first, tmp_path / "two"))
    with pytest.raises(GeometryError, match="holds 2 DICOM series") as caught:
        read_image(folder)
    assert "'first' (MR, 7 files" in caught.value.message
    assert "one file of the series" in caught.value.remedy
    assert read_image(folder / "IM000.dcm").shape == (7, 9, 11)
    assert read_image(folder / "IM011.dcm").shape == (5, 9, 11)


def test_each_slice_has_its_own_scaling(tmp_path):
    datasets = slices_of()
    for n, data in enumerate(datasets):
        data.RescaleSlope, data.RescaleIntercept = (1 if n == 0 else 0.5 + n), -n
    image = read_image(saved(datasets, tmp_path / "pet"))
    for n, data in enumerate(datasets):
        stored = np.frombuffer(data.PixelData, "<i2").reshape(9, 11).astype(np.float32)
        expected = stored * float(data.RescaleSlope) + float(data.RescaleIntercept)
        assert image.array[0, n] == pytest.approx(expected, rel=1e-6)


def test_one_slice_takes_its_thickness(tmp_path):
    datasets = slices_of(1)
    datasets[0].SliceThickness = 4
    image = read_image(saved(datasets, tmp_path / "one"))
    assert image.spacing_mm == pytest.approx((4.0, 0.8, 0.6))


def test_positions_rounded_by_the_scanner_are_regular(tmp_path):
    datasets = slices_of(9, oblique=False)
    for n, data in enumerate(datasets):
        data.ImagePositionPatient = ["10", "-20", f"{30 + 0.625 * n:.1f}"]
    assert read_image(saved(datasets, tmp_path / "x")).spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def spoil_missing(datasets):
    del datasets[3]


def spoil_two_missing(datasets):
    del datasets[3:5]


def spoil_next_to_last(datasets):
    del datasets[-2]


def spoil_spacing(datasets):
    for data in datasets[4:]:
        moved(data, 0.6, normal_of(data))


def spoil_growing_spacing(datasets):
    for n, data in enumerate(datasets):
        moved(data, 0.1 * n * n, normal_of(data))


def spoil_gantry(datasets):
    for n, data in enumerate(datasets):
        column = np.array([float(v) for v in data.ImageOrientationPatient])[3:]
        moved(data, n * SPACING * np.tan(np.radians(12)), column)


def spoil_sideways(datasets):
    moved(datasets[3], 1.0, np.array([float(v) for v in datasets[3].ImageOrientationPatient])[:3])


def spoil_time_points(datasets):
    again = slices_of(len(datasets), series=datasets[0].SeriesInstanceUID)
    for data in again:
        data.TemporalPositionIdentifier = 2
    datasets += again


def spoil_doubled(datasets):
    datasets.append(datasets[2])


def spoil_size(datasets):
    data = datasets[2]
    data.Rows, data.PixelData = 8, data.PixelData[: 8 * 11 * 2]


def spoil_orientation(datasets):
    datasets[2].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def spoil_pixel_size(datasets):
    datasets[2].PixelSpacing = [0.9, 0.6]


def spoil_position(datasets):
    del datasets[2].ImagePositionPatient


def spoil_mosaic(datasets):
    for data in datasets:
        data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]


def spoil_frames(datasets):
    del datasets[1:]
    datasets[0].NumberOfFrames = 3
    datasets[0].PixelData = datasets[0].PixelData * 3


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (spoil_missing, r"lacks 1 slice\(s\): between 'IM.*' and 'IM.*' lie 5.00 mm instead of 2.50 mm"),
        (spoil_two_missing, r"lacks 2 slice"),
        (spoil_next_to_last, r"lacks 1 slice"),
        (spoil_spacing, r"variable spacing of its slices: 2.50 to 3.10 mm"),
        (spoil_growing_spacing, r"variable spacing"),
        (spoil_gantry, r"tilted gantry: the stack leans by 12.0 degrees"),
        (spoil_sideways, r"shifted sideways, e.g. 'IM.*' by 1.00 mm"),
        (spoil_time_points, r"4D: 14 images at 7 places.*differ in time point"),
        (spoil_doubled, r"holds an image twice"),
        (spoil_size, r"different sizes: 6 of 11 x 9, 1 of 11 x 8"),
        (spoil_orientation, r"different orientations"),
        (spoil_pixel_size, r"different pixel sizes"),
        (spoil_position, r"no position, orientation or pixel size in 'IM"),
        (spoil_mosaic, r"is a mosaic"),
        (spoil_frames, r"has 3 frames in one file"),
    ],
)
def test_irregular_series_are_refused_by_their_cause(tmp_path, spoil, cause):
    datasets = slices_of()
    spoil(datasets)
    with pytest.raises(GeometryError, match=cause) as caught:
        read_image(saved(datasets, tmp_path / "series"))
    assert caught.value.remedy
    assert str(tmp_path / "series") in caught.value.message


def test_other_objects_in_the_folder_are_passed_over(tmp_path):
    datasets = slices_of()
    other = slices_of(1)[0]
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    folder = saved(datasets, tmp_path / "x")
    other.save_as(folder / "seg.dcm", enforce_file_format=True)
    assert read_image(folder).shape == (7, 9, 11)
    with pytest.raises(FileFormatError, match=r"segmentation \(SEG\)"):
        read_image(folder / "seg.dcm")


def test_a_truncated_slice_is_no_silent_loss(tmp_path, capfd):
    folder = saved(slices_of(), tmp_path / "x")
    victim = folder / "IM003.dcm"
    victim.write_bytes(victim.read_bytes()[:-60])
    with pytest.raises(MedAIError):
        read_image(folder)
    assert capfd.readouterr().out == ""


REAL_REFUSED = {
    "dicom_small/prostatex_missing_slice": "lacks 1 slice",
    "dicom_small/highdicom/test_files": "DICOM series",
    "dicom_small/nibabel_test/nicom/tests/data": "DICOM series",
    "dicom_small/dcmqi/segmentations/24x38x3/multiframe": "3 frames in one file",
    "dicom_small/dcmqi/segmentations/24x38x3/seg": "none is an image",
    "sts_dicom_rtstruct/STS_001/CT/mask": "none is an image",
}
REAL_READ = {
    "dicom_small/dcmqi/segmentations/24x38x3/image": (3, 38, 24),
    "dicom_small/dcmqi/segmentations/ct-3slice": (3, 512, 512),
    "sts_dicom_rtstruct/STS_001/CT/image": (59, 202, 198),
    "sts_dicom_rtstruct/STS_001/PET/image": (59, 43, 41),
}


def slices_folder(folder: Path) -> Path:
    """The folder below (or this one) that holds files."""
    return min({p.parent for p in folder.rglob("*") if p.is_file()}, key=lambda p: len(p.parts))


@pytest.mark.parametrize("folder", REAL_REFUSED)
def test_real_irregular_folders_are_refused(shared_data, folder):
    with pytest.raises(MedAIError, match=REAL_REFUSED[folder]):
        read_image(slices_folder(shared_data / folder))


@pytest.mark.parametrize("folder", REAL_READ)
def test_real_regular_folders_are_read(shared_data, folder):
    assert read_image(shared_data / folder).shape == REAL_READ[folder]


def test_a_real_series_lies_where_its_nifti_lies(shared_data):
    dicom = read_image(shared_data / "sts_dicom_rtstruct/STS_001/CT/image")
    files = sorted((shared_data / "sts_ct/STS_001").glob("CT_image*"))
    if not files:
        pytest.skip("the NIfTI file of the series is not there")
    nifti = read_image(files[0])
    assert dicom.same_grid(nifti, tolerance_voxels=0.01)
    assert np.array_equal(dicom.array, nifti.array)
