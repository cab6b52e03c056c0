"""Write NRRD files: header, then gzip at zlib level 1, slab by slab. No copy of the whole volume is made.

Level 1 is an eighth of the time of zlib's default on label maps, for files that are hardly larger.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medai.errors import InputError, OutputError
from medai.image import Affine, Image
from medai.imageio.nrrd_header import escape
from medai.imageio.sitk_bridge import LPS_TO_RAS

_TYPE_NAMES = {
    "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short", "int32": "int",
    "uint32": "unsigned int", "int64": "longlong", "uint64": "ulonglong", "float32": "float", "float64": "double",
}  # fmt: skip
_SLAB_BYTES = 8 << 20
_LEVEL = 1


def write_nrrd(path: Path, image: Image, pairs: Mapping[str, str] | None = None) -> None:
    """Write a one-channel image to exactly this `path` (callers make it atomic), with the key/value `pairs`.

    Sheared and left-handed grids are kept exactly. Raises OutputError for a voxel type that NRRD does not know.
    """
    if image.channels != 1:
        raise InputError(f"Image '{image.name}' has {image.channels} channels.", "Write one file per channel.")
    array = image.channel(0)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.name not in _TYPE_NAMES:
        raise OutputError(f"Voxels of type {array.dtype} cannot be written as NRRD.", "Convert them to float32.")
    with open(path, "wb") as stream:
        stream.write(_header(array, image.ijk_to_ras, pairs or {}).encode("utf-8"))
        _write_compressed(stream, array)


def _header(array: np.ndarray[Any, Any], ijk_to_ras: Affine, pairs: Mapping[str, str]) -> str:
    lps = LPS_TO_RAS @ ijk_to_ras
    lines = [
        "NRRD0004",
        f"type: {_TYPE_NAMES[array.dtype.name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in array.shape[::-1]),
        "space directions: " + " ".join(_vector(lps[:3, axis]) for axis in range(3)),
        "kinds: domain domain domain",
    ]
    if array.dtype.itemsize > 1:
        lines.append("endian: little")
    lines += ["encoding: gzip", "space origin: " + _vector(lps[:3, 3])]
    lines += [f"{key}:={escape(value)}" for key, value in sorted(pairs.items())]
    return "\n".join(lines) + "\n\n"


def _vector(values: np.ndarray[Any, Any]) -> str:
    # repr gives the shortest text that reads back as the same double; adding 0.0 turns -0.0 into 0.0.
    return "(" + ",".join(repr(float(value) + 0.0) for value in values) + ")"


def _write_compressed(stream: BinaryIO, array: np.ndarray[Any, Any]) -> None:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    planes = max(1, _SLAB_BYTES // max(1, array[0].nbytes))
    little = array.dtype.newbyteorder("<")
    for start in range(0, array.shape[0], planes):
        slab = np.ascontiguousarray(array[start : start + planes], dtype=little)
        stream.write(compressor.compress(slab.data))
    stream.write(compressor.flush())
