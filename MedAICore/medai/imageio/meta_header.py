"""The text header of a MetaImage (.mha, .mhd) and whether its voxel data is complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medai.errors import FileFormatError
from medai.imageio.streams import ZLIB, check_compressed, check_plain, damaged

_TYPES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
_LINES = 1000


def check_meta(path: Path) -> None:
    """Refuse a MetaImage whose header or voxel data (here, or in the file that the header names) is not complete."""
    fields, offset = _read(path)
    where = fields["ElementDataFile"]
    try:
        count = int(np.prod([int(n) for n in fields["DimSize"].split()], dtype=np.int64))
        expected = count * int(fields.get("ElementNumberOfChannels", "1")) * _TYPES[fields["ElementType"]]
    except (KeyError, ValueError) as error:
        raise damaged(path, "its header has no usable DimSize and ElementType") from error
    if where.split()[0] == "LIST" or "%" in where or fields.get("BinaryData", "True").lower() == "false":
        return  # ITK reads these slice by slice or as text, and reports what is missing
    data, start = (path, offset) if where.upper() == "LOCAL" else (path.parent / where, 0)
    if not data.is_file():
        raise damaged(path, f"the file '{where}' with its voxels is missing")
    if fields.get("CompressedData", "False").lower() == "true":
        check_compressed(data, start, expected, ZLIB)
    elif int(fields.get("HeaderSize", "0")) >= 0:
        check_plain(data, max(start, int(fields.get("HeaderSize", "0"))), expected)


def _read(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    with open(path, "rb") as stream:
        for _ in range(_LINES):
            line = stream.readline(65536)
            name, separator, value = line.decode("latin-1").partition("=")
            if not separator:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile" and value.strip():
                return fields, stream.tell()
    if {"ObjectType", "NDims"} & fields.keys():
        raise damaged(path, "its header is not complete")
    raise FileFormatError(
        f"'{path}' is not a MetaImage, although its name says so.", "Give an .mha or .mhd file, or correct its name."
    )
