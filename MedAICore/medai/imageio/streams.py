"""Completeness of the voxel data of a file: ITK fills the missing end of a truncated NIfTI with zeros, silently."""

from __future__ import annotations

import zlib
from pathlib import Path

from medai.errors import FileFormatError

GZIP = 31  # zlib's number for "a gzip wrapper with a 32 kB window"
ZLIB = 15
_CHUNK_BYTES = 1 << 20


def damaged(path: Path, what: str) -> FileFormatError:
    """The error for a file whose content is not what its header promises."""
    return FileFormatError(f"'{path}' is damaged: {what}.", "Copy or export it again from its source.")


def check_plain(path: Path, offset: int, expected_bytes: int) -> None:
    """Refuse a file with fewer than `expected_bytes` of voxels after `offset`."""
    present = max(0, path.stat().st_size - offset)
    if present < expected_bytes:
        raise damaged(path, f"it ends after {present} of {expected_bytes} bytes of voxels")


def check_compressed(path: Path, offset: int, expected_bytes: int, wrapper: int) -> None:
    """Refuse a compressed stream (from `offset` on) that is broken, whose checksum is wrong, or that is too short.

    `wrapper` is GZIP or ZLIB. It decompresses the whole stream in small pieces: the readers check no checksum.
    """
    total = 0
    decompressor = zlib.decompressobj(wrapper)
    with open(path, "rb") as stream:
        stream.seek(offset)
        data = stream.read(_CHUNK_BYTES)
        try:
            while data:
                total += len(decompressor.decompress(data, _CHUNK_BYTES * 4))
                data = decompressor.unconsumed_tail
                if decompressor.eof:
                    data = decompressor.unused_data or stream.read(_CHUNK_BYTES)
                    if wrapper != GZIP or not data.startswith(b"\x1f\x8b"):
                        break  # padding after the end is harmless; another gzip member goes on with the data
                    decompressor = zlib.decompressobj(wrapper)
                data = data or stream.read(_CHUNK_BYTES)
        except zlib.error as error:
            raise damaged(path, "its compressed data is broken") from error
    if total < expected_bytes:
        raise damaged(path, f"it ends after {total} of {expected_bytes} bytes of voxels")
    if not decompressor.eof:
        raise damaged(path, "its compressed data has no end, so that its checksum cannot be checked")
