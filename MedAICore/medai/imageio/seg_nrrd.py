"""Slicer's segmentation file (.seg.nrrd): a label map whose header names each segment.

The fields are described in `medai.nrrd_stream`, which writes them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medai.errors import FileFormatError, InputError
from medai.labels import Label, LabelScheme, Terminology, distinct_color
from medai.nrrd_stream import segmentation_pairs

_log = logging.getLogger(__name__)


def header_pairs(labels: np.ndarray[Any, Any], scheme: LabelScheme) -> dict[str, str]:
    """The header's key/value pairs for a label map (k, j, i): one segment per label of the scheme, all in one layer.

    A label without voxels becomes an empty segment. Raises InputError for a voxel value that the scheme does not name:
    Slicer would drop it.
    """
    boxes = _boxes(labels)
    unnamed = sorted(set(boxes) - set(scheme.values))
    if unnamed:
        raise InputError(
            f"The label map holds the values {unnamed} that no label names.", f"The labels are {list(scheme.values)}."
        )
    return segmentation_pairs(scheme, boxes)


def _boxes(labels: np.ndarray[Any, Any]) -> dict[int, str]:
    """Value -> Slicer's extent text (i0 i1 j0 j1 k0 k1, inclusive) of every value above 0; one pass over the voxels."""
    from scipy import ndimage

    boxes = {}
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            boxes[value] = " ".join(f"{axis.start} {axis.stop - 1}" for axis in reversed(box))
    return boxes


@dataclass(frozen=True)
class FileSegment:
    """One segment of a file's header: where its voxels are (`layer`, `value`) and what it is."""

    name: str
    layer: int
    value: int
    color: tuple[float, float, float]
    terminology: Terminology | None


def parse_segments(pairs: Mapping[str, str], path: str) -> list[FileSegment]:
    """The segments that a header names, in their order; FileFormatError where it names none or a field is broken."""
    segments = []
    number = 0
    while f"Segment{number}_ID" in pairs or f"Segment{number}_Name" in pairs:
        prefix = f"Segment{number}_"
        try:
            segments.append(_segment({k[len(prefix) :]: v for k, v in pairs.items() if k.startswith(prefix)}, number))
        except ValueError as error:
            raise FileFormatError(
                f"'{path}': the header of segment {number} is broken: {error}.", "Save it again from 3D Slicer."
            ) from error
        number += 1
    if not segments:
        raise FileFormatError(
            f"'{path}' names no segments in its header.", "Save it as a segmentation in 3D Slicer, or name it .nrrd."
        )
    return segments


def _segment(fields: Mapping[str, str], number: int) -> FileSegment:
    color = tuple(min(1.0, max(0.0, float(c))) for c in fields.get("Color", "").split())
    tags = dict(tag.partition(":")[::2] for tag in fields.get("Tags", "").split("|") if tag)
    return FileSegment(
        name=fields.get("Name", "").strip() or fields.get("ID", f"segment {number}"),
        # Files before Slicer 4.11 have neither key: each segment has a layer of its own.
        layer=int(fields.get("Layer", number)),
        value=int(fields.get("LabelValue", 1)),
        color=(color[0], color[1], color[2]) if len(color) == 3 else distinct_color(number),
        terminology=Terminology.from_slicer(tags.get("TerminologyEntry", "")),
    )


def merge_layers(
    layers: np.ndarray[Any, Any], segments: list[FileSegment], path: str
) -> tuple[np.ndarray[Any, Any], LabelScheme]:
    """One label map (k, j, i) and its scheme from the layers (layer, k, j, i) of a file.

    Label values are the file's where each segment has its own, else 1, 2, ... in the file's order. Doubled names get a
    number. Raises InputError where segments of different layers overlap, naming them.
    """
    scheme = _scheme(segments)
    values = scheme.values
    merged = np.zeros(layers.shape[1:], np.uint8 if max(values) < 256 else np.uint16)
    overlaps: set[tuple[str, str]] = set()
    for layer in range(layers.shape[0]):
        here = [(s.value, v) for s, v in zip(segments, values, strict=True) if s.layer == layer]
        mapped = _map_values(layers[layer], dict(here), merged.dtype, path)
        if layer == 0:
            merged = mapped
            continue
        both = (merged > 0) & (mapped > 0)
        if both.any():
            pairs = np.unique(np.stack([merged[both], mapped[both]], axis=1), axis=0)
            overlaps |= {(scheme.by_value(int(a)).name, scheme.by_value(int(b)).name) for a, b in pairs}
        np.copyto(merged, mapped, where=mapped > 0)
    if overlaps:
        named = "; ".join(f"'{a}' and '{b}'" for a, b in sorted(overlaps))
        raise InputError(
            f"'{path}' has segments that overlap, which a label map cannot hold: {named}.",
            "Remove the overlap in 3D Slicer's Segment Editor (Masking, overwrite other segments), or save fewer.",
        )
    return merged, scheme


def _scheme(segments: list[FileSegment]) -> LabelScheme:
    keep = len({s.value for s in segments}) == len(segments) and all(1 <= s.value <= 65535 for s in segments)
    labels, names = [], set()
    for number, segment in enumerate(segments, start=1):
        name, doubled = segment.name, 2
        while name in names:
            name, doubled = f"{segment.name}_{doubled}", doubled + 1
        names.add(name)
        labels.append(Label(segment.value if keep else number, name, segment.color, segment.terminology))
    return LabelScheme(tuple(labels))


def _map_values(
    layer: np.ndarray[Any, Any], mapping: Mapping[int, int], dtype: np.dtype[Any], path: str
) -> np.ndarray[Any, Any]:
    """The layer with the scheme's values; a value that no segment names becomes background, as in Slicer."""
    low, high = int(layer.min()), int(layer.max())
    if low < 0 or high > 65535:
        raise InputError(f"'{path}' holds label values from {low} to {high}.", "Use 0 to 65535.")
    table = np.zeros(max(high, 0) + 1, dtype)
    for old, new in mapping.items():
        if 0 < old <= high:
            table[old] = new
    mapped: np.ndarray[Any, Any] = np.take(table, layer)
    unmapped = np.not_equal(mapped > 0, layer > 0)
    if unmapped.any():
        _log.warning(
            "%s: the values %s belong to no segment and are left out.", path, np.unique(layer[unmapped]).tolist()
        )
    return mapped
