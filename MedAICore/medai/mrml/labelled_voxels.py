"""The label map of a labelled case on the grid of its first volume, a slab of voxels per step."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer
import vtk

from medai.errors import InputError
from medai.image import Array
from medai.mrml.labelled_placement import Placement
from medai.mrml.labelled_table import LabelledCase, LabelTable
from medai.mrml.layers import LABELMAP, SURFACE, layer_array, layer_matrix, layers_of
from medai.mrml.segment_maps import SegmentMap, SegmentMaps
from medai.mrml.volumes import array_from_matrix

_SLAB_VOXELS = 1 << 20


@dataclass(eq=False)
class CaseLabels:
    """Label values (k, j, i) on the case's grid.

    `voxels`: label name -> number of its voxels, for every label that the case knows. `overlaps`: the number of voxels
    that the first label of a pair lost to the second, as a label map holds one label per voxel. `inside`: label name ->
    the part of the segments' volume that lies on the grid, where that can be told.
    """

    array: Array
    voxels: dict[str, int] = field(default_factory=dict)
    overlaps: dict[tuple[str, str], int] = field(default_factory=dict)
    inside: dict[str, float] = field(default_factory=dict)


def label_steps(
    case: LabelledCase, segmentation: Any, placement: Placement, table: LabelTable
) -> Generator[float, None, CaseLabels]:
    """Collect the case's labels; yields the fraction done and returns them. InputError where they cannot be read.

    Where segments overlap, the label that comes later in the table wins.
    """
    labels = table.labels
    values = {segment.id: table.value_of(segment) for segment in case.segments}
    values = {segment_id: value for segment_id, value in values.items() if value}
    found = CaseLabels(np.zeros(placement.shape, np.uint8 if len(labels) < 256 else np.uint16))
    found.voxels = {labels[value - 1].name: 0 for value in values.values()}
    _check_segments(segmentation, values)
    drawn = yield from _drawn_voxels(segmentation, list(values))
    if drawn:
        maps = SegmentMaps(segmentation, placement.grid, list(drawn))
        while not maps.step():
            yield 0.2 + 0.6 * maps.fraction
        for part in _maps_or_none(maps):
            for _slab in _lay(part, values, table, found):
                yield 0.8
    counts = yield from _counts(found.array, len(labels))
    for label in labels:
        if counts[label.value]:
            found.voxels[label.name] = int(counts[label.value])
    if not placement.resampled and not found.overlaps:
        _tell_inside(found, segmentation, drawn, values, table, placement)
    yield 1.0
    return found


def _check_segments(segmentation: Any, values: dict[str, int]) -> None:
    name = segmentation.GetName()
    gone = [i for i in values if segmentation.GetSegmentation().GetSegment(i) is None]
    if gone:
        raise InputError(f"The segmentation '{name}' no longer has the segments {gone}.", "Look for the cases again.")
    drawn = segmentation.GetSegmentation()
    if values and not drawn.ContainsRepresentation(LABELMAP) and drawn.ContainsRepresentation(SURFACE):
        raise InputError(
            f"The segments of '{name}' are surfaces without a binary label map.",
            "Create that representation in the Segmentations module.",
        )


def _drawn_voxels(segmentation: Any, ids: Sequence[str]) -> Generator[float, None, dict[str, tuple[int, float]]]:
    """Segment id -> its voxels on its own grid and the mL of one of them, for the segments that have any."""
    drawn: dict[str, tuple[int, float]] = {}
    for layer, layer_values in layers_of(segmentation.GetSegmentation(), ids):
        array = layer_array(layer)
        if not array.size:
            continue
        cell_ml = abs(float(np.linalg.det(layer_matrix(layer)[:3, :3]))) / 1000.0
        counts = yield from _counts(array, max(layer_values.values()))
        for segment_id, value in layer_values.items():
            if counts[value]:
                drawn[segment_id] = int(counts[value]), cell_ml
    return drawn


def _counts(array: Array, highest: int) -> Generator[float, None, Array]:
    """How often each value from 0 to `highest` occurs; voxels of other values count as 0."""
    counts = np.zeros(highest + 1, np.int64)
    for slab in _slabs(array):
        part = array[slab].ravel()
        part = np.where((part > 0) & (part <= highest), part, 0)
        counts += np.bincount(part, minlength=highest + 1)
        yield 0.1
    return counts


def _slabs(array: Array) -> Iterator[slice]:
    planes = max(1, _SLAB_VOXELS // max(1, array[0].size)) if len(array) else 1
    for start in range(0, len(array), planes):
        yield slice(start, start + planes)


def _maps_or_none(maps: SegmentMaps) -> list[SegmentMap]:
    try:
        return maps.maps()
    except InputError:  # its only reason: no segment reaches the volume, which the counts tell
        return []


def _lay(part: SegmentMap, values: dict[str, int], table: LabelTable, found: CaseLabels) -> Iterator[None]:
    """Put the segments of one map into the label map; the higher value stays where two meet."""
    names = {label.value: label.name for label in table.labels}
    map_array = part.label_map.channel(0)
    to_value = np.zeros(max(part.ids) + 1, found.array.dtype)
    for number, segment_id in part.ids.items():
        to_value[number] = values[segment_id]
    for slab in _slabs(map_array):
        new, old = to_value[map_array[slab]], found.array[slab]
        meet = (new != 0) & (old != 0) & (new != old)
        if meet.any():
            lost = np.minimum(new[meet], old[meet]).astype(np.int64)
            won = np.maximum(new[meet], old[meet]).astype(np.int64)
            pairs, counts = np.unique(np.stack([lost, won]), axis=1, return_counts=True)
            for first, second, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
                key = names[first], names[second]
                found.overlaps[key] = found.overlaps.get(key, 0) + count
        np.maximum(new, old, out=old)
        yield


def _tell_inside(
    found: CaseLabels,
    segmentation: Any,
    drawn: dict[str, tuple[int, float]],
    values: dict[str, int],
    table: LabelTable,
    placement: Placement,
) -> None:
    """The part of each label's volume that came onto the grid, by comparing millilitres in the world."""
    scale = _volume_scale(segmentation)
    if scale is None:
        return
    cell_ml = abs(float(np.linalg.det(placement.ijk_to_ras[:3, :3]))) / 1000.0
    for label in table.labels:
        own = sum(count * ml * scale for i, (count, ml) in drawn.items() if values[i] == label.value)
        if own > 0:
            found.inside[label.name] = min(1.0, found.voxels.get(label.name, 0) * cell_ml / own)


def _volume_scale(node: Any) -> float | None:
    """By how much the node's parent transforms enlarge volumes; None where they are not linear."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return 1.0
    transform, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, None, transform)
    if not slicer.vtkOrientedImageDataResample.IsTransformLinear(transform, linear):
        return None
    return abs(float(np.linalg.det(array_from_matrix(linear.GetMatrix())[:3, :3])))
