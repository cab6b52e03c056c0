"""NRRD files, written a slab at a time, and the header of Slicer's segmentation files. numpy and standard library only.

The format: https://teem.sourceforge.net/nrrd/format.html. Data is gzip at zlib level 1: an eighth of the time of zlib's
default on label maps, for files that are hardly larger. The fields of .seg.nrrd are those that Slicer's segmentation
storage node writes and reads:
https://slicer.readthedocs.io/en/latest/user_guide/modules/segmentations.html#segmentations-file-formats
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medai.errors import OutputError
from medai.image import Affine, Array
from medai.labels import Label, LabelScheme

EMPTY_EXTENT = "0 -1 0 -1 0 -1"
_TYPE_NAMES = {
    "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short", "int32": "int",
    "uint32": "unsigned int", "int64": "longlong", "uint64": "ulonglong", "float32": "float", "float64": "double",
}  # fmt: skip
_SLAB_BYTES = 8 << 20
_LEVEL = 1
_GZIP = 31  # zlib's window bits for its gzip format
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def slabs_of(array: Array, slab_bytes: int = _SLAB_BYTES) -> Iterator[Array]:
    """The array (k, j, i) as slabs of about so many bytes."""
    planes = max(1, slab_bytes // max(1, array[0].nbytes)) if len(array) else 1
    for start in range(0, len(array), planes):
        yield array[start : start + planes]


def write_slabs(
    path: Path,
    slabs: Iterable[Array],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    ijk_to_ras: Affine,
    pairs: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Write `slabs`, which together are the voxels (k, j, i) of `shape`, to exactly this `path`; yields after each.

    What is yielded is the number of planes so far. Sheared and left-handed grids are kept exactly. Raises OutputError
    for a voxel type that NRRD does not know. The file is whole only when the iterator has come to its end.
    """
    if dtype.name not in _TYPE_NAMES:
        raise OutputError(f"Voxels of type {dtype} cannot be written as NRRD.", "Convert them to float32.")
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    planes = 0
    with open(path, "wb") as stream:
        stream.write(_header(shape, dtype, ijk_to_ras, pairs or {}).encode("utf-8"))
        for slab in slabs:
            stream.write(compressor.compress(np.ascontiguousarray(slab, dtype=dtype.newbyteorder("<")).data))
            planes += len(slab)
            yield planes
        if planes != shape[0]:
            raise ValueError(f"'{path}' got {planes} planes of {shape[0]}.")
        stream.write(compressor.flush())


def _header(shape: tuple[int, int, int], dtype: np.dtype[Any], ijk_to_ras: Affine, pairs: Mapping[str, str]) -> str:
    lps = _RAS_TO_LPS @ ijk_to_ras
    lines = [
        "NRRD0004",
        f"type: {_TYPE_NAMES[dtype.name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in shape[::-1]),
        "space directions: " + " ".join(_vector(lps[:3, axis]) for axis in range(3)),
        "kinds: domain domain domain",
    ]
    if dtype.itemsize > 1:
        lines.append("endian: little")
    lines += ["encoding: gzip", "space origin: " + _vector(lps[:3, 3])]
    lines += [f"{key}:={escape(value)}" for key, value in sorted(pairs.items())]
    return "\n".join(lines) + "\n\n"


def _vector(values: Array) -> str:
    # repr gives the shortest text that reads back as the same double; adding 0.0 turns -0.0 into 0.0.
    return "(" + ",".join(repr(float(value) + 0.0) for value in values) + ")"


def escape(value: str) -> str:
    r"""A value for a key/value pair: backslash and line end are written as ``\\`` and ``\n``."""
    return value.replace("\\", "\\\\").replace("\r\n", "\n").replace("\n", "\\n")


def segmentation_pairs(scheme: LabelScheme, extents: Mapping[int, str]) -> dict[str, str]:
    """The key/value pairs of a .seg.nrrd: one segment per label of the scheme, all in one layer.

    `extents`: label value -> Slicer's extent text (i0 i1 j0 j1 k0 k1, inclusive); a label without one is an empty
    segment.
    """
    pairs = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": "",
        # Slicer renamed "master" to "source" in 5.4 and reads both; older versions read only the first.
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, label in enumerate(scheme):
        fields = _segment_fields(label, extents.get(label.value, EMPTY_EXTENT))
        pairs |= {f"Segment{number}_{name}": value for name, value in fields.items()}
    return pairs


def _segment_fields(label: Label, extent: str) -> dict[str, str]:
    tags = "Segmentation.Status:completed|"
    if label.terminology is not None:
        # "|" ends a tag in this format, and there is no way to escape it.
        tags += f"TerminologyEntry:{label.terminology.to_slicer().replace('|', '/')}|"
    return {
        "ID": f"Segment_{label.value}",
        "Name": " ".join(label.name.splitlines()),
        "NameAutoGenerated": "0",
        "Color": " ".join(repr(float(c)) for c in label.color),
        "ColorAutoGenerated": "0",
        "LabelValue": str(label.value),
        "Layer": "0",
        "Extent": extent,
        "Tags": tags,
    }
