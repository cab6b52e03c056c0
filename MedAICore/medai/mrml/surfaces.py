"""Surfaces of segments by Slicer's own conversion, run on the box of each segment instead of the whole volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import slicer

from medai.image import Array, Box
from medai.label_statistics import label_extents
from medai.mrml.layers import (
    LABELMAP,
    SURFACE,
    first_index,
    layer_array,
    layer_matrix,
    layers_of,
    new_layer,
    segment_ids,
)


def create_surfaces(segmentation_node: Any) -> None:
    """Give every segment its closed surface (as `CreateClosedSurfaceRepresentation`, same result, much less scanning).

    Slicer's converter reads the whole shared layer once per segment; here it gets the box of each segment only. The
    conversion parameters of the segmentation (smoothing, decimation) are kept. Segments that already have a surface
    keep it.
    """
    for _ in surface_steps(segmentation_node):
        pass


def surface_steps(segmentation_node: Any) -> Iterator[float]:
    """`create_surfaces`, one segment per step; gives the share that is done. All surfaces are set at the last step.

    Between the steps the segmentation may be edited: what was changed meanwhile is converted again. Where the node was
    removed from its scene, the steps end.
    """
    scene, segmentation = segmentation_node.GetScene(), segmentation_node.GetSegmentation()
    made: dict[str, tuple[Any, Any, int]] = {}
    while True:
        missing = [i for i in _without_surface(segmentation) if i not in made]
        total = len(made) + len(missing)
        for segment_id, surface, layer, modified in _conversions(segmentation, missing):
            made[segment_id] = surface, layer, modified
            yield len(made) / total
            if segmentation_node.GetScene() is not scene:
                return
        for segment_id in [i for i, entry in made.items() if not _is_current(segmentation, i, *entry[1:])]:
            del made[segment_id]
        if all(i in made for i in _without_surface(segmentation)):
            break
    attach(segmentation_node, {i: surface for i, (surface, _, _) in made.items()})


def _without_surface(segmentation: Any) -> list[str]:
    return [i for i in segment_ids(segmentation) if segmentation.GetSegment(i).GetRepresentation(SURFACE) is None]


def _is_current(segmentation: Any, segment_id: str, layer: Any, modified: int) -> bool:
    """Whether the segment is still made of this layer as it was at this time."""
    segment = segmentation.GetSegment(segment_id)
    return segment is not None and segment.GetRepresentation(LABELMAP) is layer and layer.GetMTime() == modified


def detach(segmentation: Any) -> dict[str, Any]:
    """Take the closed surfaces off all segments and return them by segment id; {} where there are none."""
    found = {}
    for segment_id in segment_ids(segmentation):
        surface = segmentation.GetSegment(segment_id).GetRepresentation(SURFACE)
        if surface is not None:
            found[segment_id] = surface
    if found:
        segmentation.RemoveRepresentation(SURFACE)
    return found


def attach(segmentation_node: Any, known: Mapping[str, Any]) -> None:
    """Set the closed surface of every segment: those in `known` (by segment id) as given, the others converted."""
    segmentation = segmentation_node.GetSegmentation()
    surfaces = dict(known)
    for segment_id in segment_ids(segmentation):
        present = segmentation.GetSegment(segment_id).GetRepresentation(SURFACE)
        if present is not None:
            surfaces.setdefault(segment_id, present)
    missing = [i for i in segment_ids(segmentation) if i not in surfaces]
    surfaces.update({i: surface for i, surface, *_ in _conversions(segmentation, missing)})
    was_modifying = segmentation_node.StartModify()
    for segment_id, surface in surfaces.items():
        segmentation.GetSegment(segment_id).AddRepresentation(SURFACE, surface)
    segmentation_node.EndModify(was_modifying)
    # The displays look at what the segmentation contains when this event comes, not at each segment.
    segmentation.InvokeEvent(slicer.vtkSegmentation.ContainedRepresentationNamesModified)


def _conversions(segmentation: Any, ids: Iterable[str]) -> Iterator[tuple[str, Any, Any, int]]:
    """(segment id, closed surface, its layer, the layer's time) of each, converted from a cut-out of the layer."""
    for layer, values in layers_of(segmentation, ids):
        array, modified = layer_array(layer), layer.GetMTime()
        extents = label_extents(array)
        for segment_id, value in values.items():
            workshop, segment = slicer.vtkSegmentation(), slicer.vtkSegment()
            workshop.SetSourceRepresentationName(LABELMAP)
            workshop.CopyConversionParameters(segmentation)
            segment.SetLabelValue(1)
            box = extents[value].box if value in extents else None
            segment.AddRepresentation(LABELMAP, _cut_out(layer, array, value, box))
            workshop.AddSegment(segment, segment_id)
            workshop.CreateRepresentation(SURFACE)
            yield segment_id, workshop.GetSegment(segment_id).GetRepresentation(SURFACE), layer, modified


def _cut_out(layer: Any, array: Array, value: int, box: Box | None) -> Any:
    if box is None:
        return new_layer((0, 0, 0), (0, 0, 0), layer_matrix(layer), np.uint8)[0]
    part, voxels = new_layer(array[box].shape, first_index(layer, box), layer_matrix(layer), np.uint8)
    voxels[...] = array[box] == value
    return part
