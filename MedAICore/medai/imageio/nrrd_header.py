"""The text header of an NRRD file: fields, key/value pairs, and whether the voxel data is complete.

The format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medai.errors import FileFormatError
from medai.imageio.streams import GZIP, check_compressed, check_plain, damaged

_TYPES: dict[str, int] = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "uint64", "uint64_t", "double"), 8),
    "signed long long int": 8, "unsigned long long int": 8, "float": 4,
}  # fmt: skip
_HEADER_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True)
class NrrdHeader:
    """`fields` (lower-case names) and `pairs` (key/value) of the header; the voxels start at byte `offset`."""

    fields: dict[str, str]
    offset: int
    pairs: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of samples along each axis, fastest first."""
        return tuple(int(n) for n in self.fields["sizes"].split())

    @property
    def data_bytes(self) -> int | None:
        """Bytes of the decoded data; None for a type of unknown size (block)."""
        size = _TYPES.get(self.fields["type"])
        return None if size is None else int(np.prod(self.sizes, dtype=np.int64)) * size


def read_nrrd_header(path: Path) -> NrrdHeader:
    """Parse the header; FileFormatError where the file is no NRRD, or its header is not complete."""
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    with open(path, "rb") as stream:
        if not stream.readline(64).startswith(b"NRRD"):
            raise FileFormatError(
                f"'{path}' is not an NRRD image, although its name says so.",
                "Give an NRRD file, or correct the file's name.",
            )
        while line := stream.readline(_HEADER_LIMIT_BYTES):
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            if not text:
                break
            _parse_line(text, fields, pairs)
        offset = stream.tell()
    header = NrrdHeader(fields, offset, pairs)
    try:
        complete = len(header.sizes) == int(fields["dimension"]) and {"type", "encoding"} <= fields.keys()
    except (KeyError, ValueError):
        complete = False
    if not complete:
        raise damaged(path, "its header is not complete")
    return header


def check_nrrd(path: Path) -> NrrdHeader:
    """The header of an NRRD file whose voxel data (here, or in the file that the header names) is all there."""
    header = read_nrrd_header(path)
    named = header.fields.get("data file", header.fields.get("datafile", ""))
    if named.startswith("LIST") or "%" in named:
        return header  # many files: teem checks each
    data, offset = (path.parent / named, 0) if named else (path, header.offset)
    if not data.is_file():
        raise damaged(path, f"the file '{named}' with its voxels is missing")
    skips = {header.fields.get(key, "0") for key in ("byte skip", "byteskip", "line skip", "lineskip")}
    if header.data_bytes is None or skips != {"0"}:
        return header
    encoding = header.fields["encoding"].lower()
    if encoding == "raw":
        check_plain(data, offset, header.data_bytes)
    elif encoding in ("gzip", "gz"):
        check_compressed(data, offset, header.data_bytes, GZIP)
    return header


def _parse_line(text: str, fields: dict[str, str], pairs: dict[str, str]) -> None:
    if text.startswith("#"):
        return
    # "key:=value" is a pair; "name: value" a field. A field's value may hold ":=" and a key may hold ": ", so the
    # one that comes first decides.
    pair, plain = text.find(":="), text.find(": ")
    if pair >= 0 and (plain < 0 or pair < plain):
        pairs[text[:pair]] = unescape(text[pair + 2 :])
    elif plain >= 0:
        fields[text[:plain].strip().lower()] = text[plain + 2 :].strip()


def unescape(value: str) -> str:
    """The inverse of `medai.nrrd_stream.escape`."""
    parts = value.split("\\\\")
    return "\\".join(part.replace("\\n", "\n") for part in parts)
