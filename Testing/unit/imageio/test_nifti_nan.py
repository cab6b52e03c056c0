"""NaN and infinity in NIfTI files: ITK's NIfTI library turns them into zeros."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from medai.imageio import read_image


def write_nifti(path: Path, array: np.ndarray, order: str = "<") -> None:
    """A NIfTI-1 file of 1 mm voxels from an array (k, j, i) of float32 or float64, byte by byte."""
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, *array.shape[::-1], 1, 1, 1, 1)
    kind = {4: 16, 8: 64}[array.dtype.itemsize]
    struct.pack_into(order + "2h", header, 70, kind, 8 * array.dtype.itemsize)
    struct.pack_into(order + "8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into(order + "f", header, 108, 352)
    struct.pack_into(order + "2h", header, 252, 1, 0)
    header[123] = 2
    header[344:348] = b"n+1\0"
    data = bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nan_and_infinity_are_kept_where_they_are(tmp_path, suffix, dtype, order):
    array = np.random.default_rng(3).normal(50, 9, (5, 7, 9)).astype(dtype)
    array[1, 2, 3], array[4, 6, 8] = np.nan, np.inf
    path = tmp_path / f"image{suffix}"
    write_nifti(path, array, order)
    found = read_image(path).channel(0)
    finite = np.isfinite(array)
    assert np.array_equal(np.isfinite(found), finite)
    assert np.array_equal(found[finite], array[finite].astype(found.dtype))


def test_finite_images_are_untouched(tmp_path):
    array = np.random.default_rng(4).normal(0, 1, (4, 5, 6)).astype(np.float32)
    write_nifti(tmp_path / "image.nii.gz", array)
    assert np.array_equal(read_image(tmp_path / "image.nii.gz").channel(0), array)
