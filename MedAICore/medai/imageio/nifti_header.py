"""The header of a NIfTI-1 or NIfTI-2 file: shape, completeness and its two matrices, before ITK reads the voxels.

The fields are those of the standard, nifti1.h and nifti2.h (https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medai.errors import FileFormatError
from medai.image import Affine
from medai.imageio.streams import GZIP, check_compressed, check_plain

_FLOATING = {16: "f4", 64: "f8"}  # NIFTI_TYPE_FLOAT32, NIFTI_TYPE_FLOAT64
_CHUNK_VOXELS = 1 << 20


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed of the header. `shape` is (i, j, k, t, ...); matrices are ijk -> RAS mm, None where not given."""

    shape: tuple[int, ...]
    voxel_bytes: int
    offset: int
    qform: Affine | None
    sform: Affine | None
    spacing: tuple[float, float, float]
    floating: np.dtype[Any] | None = None
    """The voxels' type in the file, byte order included, where it can hold NaN; else None."""

    @property
    def matrix(self) -> Affine:
        """ijk -> RAS by the standard's order: sform, else qform, else the spacing alone."""
        if self.sform is not None:
            return self.sform
        if self.qform is not None:
            return self.qform
        plain: Affine = np.diag([*self.spacing, 1.0])
        return plain

    @property
    def data_bytes(self) -> int:
        """Bytes of all voxels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.voxel_bytes


def read_nifti_header(path: Path) -> NiftiHeader:
    """Parse the header; FileFormatError where the file is no NIfTI."""
    block = _first_bytes(path, 540)
    for order in "<>":
        for size, fields in ((348, _nifti1), (540, _nifti2)):
            if len(block) >= size and struct.unpack_from(order + "i", block)[0] == size:
                header = fields(block, order)
                if header is not None:
                    return header
    raise FileFormatError(
        f"'{path}' is not a NIfTI image, although its name says so.", "Give a NIfTI file, or correct the file's name."
    )


def check_nifti(path: Path) -> NiftiHeader:
    """The header of a NIfTI file whose voxels are all there; FileFormatError otherwise."""
    header = read_nifti_header(path)
    if _is_gzip(path):
        check_compressed(path, 0, header.offset + header.data_bytes, GZIP)
    else:
        check_plain(path, header.offset, header.data_bytes)
    return header


def non_finite_voxels(path: Path, header: NiftiHeader) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where a whole NIfTI file holds NaN or infinity, and which: flat indices (i fastest) and their values.

    ITK's reader replaces them by 0 without a word; `read_image` puts them back, so that what is done about them is
    the same for every format.
    """
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float64)
    if header.floating is None:
        return nothing
    found = [nothing]
    left, first = header.data_bytes, 0
    with gzip.open(path, "rb") if _is_gzip(path) else open(path, "rb") as stream:
        stream.seek(header.offset)
        while left > 0:
            block = stream.read(min(left, _CHUNK_VOXELS * header.voxel_bytes))
            voxels = np.frombuffer(block, header.floating)
            bad = np.flatnonzero(~np.isfinite(voxels))
            if bad.size:
                found.append((bad + first, voxels[bad].astype(np.float64)))
            left, first = left - len(block), first + voxels.size
    indices, values = zip(*found, strict=True)
    return np.concatenate(indices), np.concatenate(values)


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _first_bytes(path: Path, count: int) -> bytes:
    if not _is_gzip(path):
        with open(path, "rb") as stream:
            return stream.read(count)
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"'{path}' is damaged: its compressed data is broken.", "Copy it again.") from error


def _nifti1(block: bytes, order: str) -> NiftiHeader | None:
    if block[344:347] not in (b"n+1", b"ni1"):
        return None
    dim = struct.unpack_from(order + "8h", block, 40)
    kind, bits = struct.unpack_from(order + "2h", block, 70)
    pixdim = struct.unpack_from(order + "8f", block, 76)
    (offset,) = struct.unpack_from(order + "f", block, 108)
    q_code, s_code = struct.unpack_from(order + "2h", block, 252)
    quaternion = struct.unpack_from(order + "6f", block, 256)
    rows = struct.unpack_from(order + "12f", block, 280)
    return _header(
        dim, bits, int(offset), pixdim, (q_code, s_code), quaternion, rows, block[123], _floating(order, kind)
    )


def _nifti2(block: bytes, order: str) -> NiftiHeader | None:
    if block[4:7] not in (b"n+2", b"ni2"):
        return None
    kind, bits = struct.unpack_from(order + "2h", block, 12)
    dim = struct.unpack_from(order + "8q", block, 16)
    pixdim = struct.unpack_from(order + "8d", block, 104)
    (offset,) = struct.unpack_from(order + "q", block, 168)
    q_code, s_code = struct.unpack_from(order + "2i", block, 344)
    quaternion = struct.unpack_from(order + "6d", block, 352)
    rows = struct.unpack_from(order + "12d", block, 400)
    (units,) = struct.unpack_from(order + "i", block, 500)
    return _header(dim, bits, offset, pixdim, (q_code, s_code), quaternion, rows, units, _floating(order, kind))


def _floating(order: str, datatype: int) -> np.dtype[Any] | None:
    return np.dtype(order + _FLOATING[datatype]) if datatype in _FLOATING else None


def _header(
    dim: tuple[int, ...],
    bits: int,
    offset: int,
    pixdim: tuple[float, ...],
    codes: tuple[int, int],
    quaternion: tuple[float, ...],
    rows: tuple[float, ...],
    units: int,
    floating: np.dtype[Any] | None,
) -> NiftiHeader | None:
    if not 1 <= dim[0] <= 7 or bits <= 0 or any(n < 1 for n in dim[1 : dim[0] + 1]):
        return None
    millimetres = {1: 1000.0, 3: 0.001}.get(units & 7, 1.0)  # metres, micrometres
    scale = np.diag([millimetres] * 3 + [1.0])
    spacing = tuple(millimetres * (abs(p) or 1.0) for p in pixdim[1:4])
    qform = scale @ _quaternion_matrix(quaternion, pixdim) if codes[0] > 0 else None
    sform = scale @ np.vstack([np.reshape(rows, (3, 4)), [0, 0, 0, 1]]) if codes[1] > 0 else None
    shape = tuple(int(n) for n in dim[1 : dim[0] + 1])
    return NiftiHeader(shape, bits // 8, offset, qform, sform, (spacing[0], spacing[1], spacing[2]), floating)


def _quaternion_matrix(quaternion: tuple[float, ...], pixdim: tuple[float, ...]) -> Affine:
    """The qform (method 2 of nifti1.h): a unit quaternion's rotation, spacing, handedness in pixdim[0]."""
    b, c, d = quaternion[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
            [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
            [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
        ]
    )
    handedness = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array([abs(p) or 1.0 for p in pixdim[1:4]]) * np.array([1.0, 1.0, handedness])
    matrix[:3, 3] = quaternion[3:]
    return matrix
