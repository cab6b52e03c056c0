"""Files that are not what they seem: each is refused with its name and a remedy, never filled up in silence."""

from __future__ import annotations

import gzip
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medai.errors import FileFormatError, GeometryError, InputError
from medai.imageio import (
    check_segmentable,
    finite_or_filled,
    read_image,
    read_label_map,
    write_image,
    write_label_map,
)

FORMATS = ["x.nii", "x.nii.gz", "raw.nrrd", "gzip.nrrd", "raw.mha", "zlib.mha", "raw.mhd", "zlib.mhd", "x.nhdr"]


@pytest.fixture
def noise() -> sitk.Image:
    array = np.random.default_rng(3).integers(0, 3000, (11, 14, 17)).astype(np.int16)
    return sitk.GetImageFromArray(array)


def written(image: sitk.Image, folder: Path, name: str) -> tuple[Path, Path]:
    """(the file to read, the file with its voxels) in one of FORMATS."""
    path = folder / name
    sitk.WriteImage(image, str(path), useCompression=name.startswith(("gzip", "zlib")))
    others = [p for p in folder.iterdir() if p != path]
    return path, others[0] if others else path


@pytest.mark.parametrize("name", FORMATS)
def test_whole_files_are_read(tmp_path, noise, name):
    path, _ = written(noise, tmp_path, name)
    assert np.array_equal(read_image(path).array[0], sitk.GetArrayFromImage(noise))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", [0.6, 0.999])
def test_truncated_files_are_refused(tmp_path, noise, name, part, capfd):
    path, voxels = written(noise, tmp_path, name)
    data = voxels.read_bytes()
    voxels.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(FileFormatError, match="damaged") as caught:
        read_image(path)
    assert path.name in caught.value.message or voxels.name in caught.value.message
    assert caught.value.remedy
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x.nii.gz", "gzip.nrrd", "zlib.mha", "zlib.mhd"])
def test_changed_bytes_in_compressed_files_are_found(tmp_path, noise, name):
    path, voxels = written(noise, tmp_path, name)
    data = bytearray(voxels.read_bytes())
    data[len(data) // 2] ^= 0x10
    voxels.write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged"):
        read_image(path)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "x.nrrd", "x.nhdr", "x.seg.nrrd", "x.mha", "x.mhd"])
@pytest.mark.parametrize(
    "content", [b"just a text\n" * 100, b"x", b"NRRD0004\ntype: short\n\n", b"ObjectType = Image\n"]
)
def test_text_under_an_image_name_is_refused(tmp_path, name, content, capfd):
    path = tmp_path / name
    path.write_bytes(content)
    read = read_label_map if ".seg." in name else read_image
    with pytest.raises(FileFormatError, match=str(path)) as caught:
        read(path)
    assert caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_compressed_text_is_no_nifti(tmp_path):
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(b"just a text\n" * 100))
    with pytest.raises(FileFormatError, match="not a NIfTI"):
        read_image(path)


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nrrd", "x.mha", "x"])
def test_missing_and_empty_files(tmp_path, name):
    with pytest.raises(FileFormatError, match="There is no file"):
        read_image(tmp_path / name)
    (tmp_path / name).touch()
    with pytest.raises(FileFormatError, match="is empty"):
        read_image(tmp_path / name)


def test_unknown_format_and_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileFormatError, match="no known image format"):
        read_image(tmp_path / "notes.txt")
    (tmp_path / "inner").mkdir()
    with pytest.raises(FileFormatError, match="no DICOM images") as caught:
        read_image(tmp_path)
    assert "inner" in str(caught.value)


def test_a_header_without_its_voxel_file(tmp_path, noise):
    path, voxels = written(noise, tmp_path, "raw.mhd")
    voxels.unlink()
    with pytest.raises(FileFormatError, match=voxels.name):
        read_image(path)


def test_colour_vectors_and_complex_numbers_are_refused(tmp_path):
    for name, array, word in (
        ("rgb", np.zeros((5, 6, 7, 3), np.uint8), "colour"),
        ("vector", np.zeros((5, 6, 7, 3), np.float32), "vector"),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / f"{name}.nrrd"))
        with pytest.raises(InputError, match=word):
            read_image(tmp_path / f"{name}.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7), np.complex64)), str(tmp_path / "complex.nii"))
    with pytest.raises(InputError, match="complex"):
        read_image(tmp_path / "complex.nii")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_four_axes(tmp_path, suffix):
    array = np.random.default_rng(0).integers(0, 99, (3, 5, 6, 7)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / f"four{suffix}"))
    with pytest.raises(GeometryError, match="4D: 3 frames"):
        read_image(tmp_path / f"four{suffix}")
    sitk.WriteImage(sitk.GetImageFromArray(array[:1], isVector=False), str(tmp_path / f"one{suffix}"))
    assert np.array_equal(read_image(tmp_path / f"one{suffix}").array, array[:1])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_two_axes_are_one_slice(tmp_path, suffix):
    array = np.random.default_rng(0).integers(0, 99, (6, 7)).astype(np.int16)
    plane = sitk.GetImageFromArray(array)
    plane.SetSpacing((0.5, 0.7))
    sitk.WriteImage(plane, str(tmp_path / f"x{suffix}"))
    image = read_image(tmp_path / f"x{suffix}")
    assert np.array_equal(image.array[0, 0], array)
    assert image.spacing_mm == pytest.approx((1.0, 0.7, 0.5))
    with pytest.raises(InputError, match="not a 3D image"):
        check_segmentable(image)
    check_segmentable(image, dimensions=2)


def nifti_with_sform(path: Path, noise: sitk.Image, sform: np.ndarray, sform_code: int = 1) -> None:
    """A NIfTI file whose sform alone is set by hand; the qform stays as ITK wrote it."""
    sitk.WriteImage(noise, str(path))
    data = bytearray(path.read_bytes())
    data[254:256] = np.array([sform_code], "<i2").tobytes()
    data[280:328] = sform[:3].astype("<f4").tobytes()
    path.write_bytes(data)


def test_a_sheared_sform_is_refused(tmp_path, noise):
    sform = np.eye(4)
    sform[0, 2] = 0.1
    nifti_with_sform(tmp_path / "x.nii", noise, sform)
    with pytest.raises(GeometryError, match="sheared"):
        read_image(tmp_path / "x.nii")


def test_matrices_that_disagree_are_told(tmp_path, noise, caplog):
    sform = np.diag([-1.0, -1.0, 1.0, 1.0])
    sform[:3, 3] = 10, 20, 30
    nifti_with_sform(tmp_path / "x.nii", noise, sform)
    image = read_image(tmp_path / "x.nii")
    assert "qform and sform differ by up to 30.0 mm; the sform is used" in caplog.text
    assert np.allclose(image.ijk_to_ras, sform)


def test_single_voxels_are_refused(oblique_image):
    with pytest.raises(InputError, match="single voxel"):
        check_segmentable(replace(oblique_image, array=oblique_image.array[:, :1, :1, :1]))
    check_segmentable(oblique_image)


def test_few_bad_voxels_are_filled_and_many_refused(oblique_image):
    array = oblique_image.array.astype(np.float32)
    assert finite_or_filled(oblique_image) == (oblique_image, [])
    array[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    image = replace(oblique_image, array=array)
    filled, warnings = finite_or_filled(image)
    assert (filled.array[0, 0, 0, :3] == array[np.isfinite(array)].min()).all()
    assert np.isnan(image.array[0, 0, 0, 0]), "the input must stay as it was"
    assert "3 voxels" in warnings[0]
    array[0, 2:] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        finite_or_filled(image)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bad_voxels_of_a_file_are_seen_in_every_format(tmp_path, oblique_image, suffix, dtype):
    """ITK's NIfTI reader turns NaN and infinity into 0, so that a broken image would pass for a whole one."""
    array = oblique_image.array.astype(dtype)
    array[0, 1, :, 2], array[0, 2, 3, 1], array[0, 0, 0, 0] = np.nan, np.inf, -np.inf
    write_image(tmp_path / f"x{suffix}", replace(oblique_image, array=array))
    assert np.array_equal(read_image(tmp_path / f"x{suffix}").array, array, equal_nan=True)


def test_bad_voxels_of_a_big_endian_nifti_are_seen(tmp_path):
    values = np.ones((4, 3, 2), ">f4")
    values[1, 2, 0] = np.nan
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 2, 3, 4, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 16, 32)
    struct.pack_into(">8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into(">f", header, 108, 352)
    header[344:348] = b"n+1\0"
    (tmp_path / "x.nii").write_bytes(bytes(header) + values.tobytes())
    found = read_image(tmp_path / "x.nii").array[0]
    assert found.shape == (4, 3, 2)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 2, 0]]


def test_many_bad_voxels_of_one_channel_are_refused(oblique_image):
    array = np.repeat(oblique_image.array.astype(np.float32), 2, axis=0)
    array[1] = np.nan
    with pytest.raises(InputError, match=r"100.0% of the voxels of channel 1"):
        finite_or_filled(replace(oblique_image, array=array))


def test_a_label_map_with_a_broken_segment_header(tmp_path, sphere_label_map, two_labels):
    path = tmp_path / "x.seg.nrrd"
    write_label_map(path, sphere_label_map, two_labels)
    path.write_bytes(path.read_bytes().replace(b"Segment0_LabelValue:=1", b"Segment0_LabelValue:=q"))
    with pytest.raises(FileFormatError, match="segment 0"):
        read_label_map(path)
    plain = tmp_path / "plain.nrrd"
    write_label_map(plain, sphere_label_map, two_labels)
    shutil.move(plain, tmp_path / "plain.seg.nrrd")
    with pytest.raises(FileFormatError, match="names no segments"):
        read_label_map(tmp_path / "plain.seg.nrrd")
