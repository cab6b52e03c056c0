"""Surfaces of segments by Slicer's own conversion, run on the box of each segment instead of the whole volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    attach(segmentation_node, {})


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
    surfaces.update(_converted(segmentation, missing))
    was_modifying = segmentation_node.StartModify()
    for segment_id, surface in surfaces.items():
        segmentation.GetSegment(segment_id).AddRepresentation(SURFACE, surface)
    segmentation_node.EndModify(was_modifying)
    # The displays look at what the segmentation contains when this event comes, not at each segment.
    segmentation.InvokeEvent(slicer.vtkSegmentation.ContainedRepresentationNamesModified)


def _converted(segmentation: Any, ids: Iterable[str]) -> dict[str, Any]:
    """{segment id: closed surface}, converted in a segmentation of its own from cut-out layers."""
    workshop = slicer.vtkSegmentation()
    workshop.SetSourceRepresentationName(LABELMAP)
    workshop.CopyConversionParameters(segmentation)
    for layer, values in layers_of(segmentation, ids):
        array = layer_array(layer)
        extents = label_extents(array)
        for segment_id, value in values.items():
            segment = slicer.vtkSegment()
            segment.SetName(segment_id)
            segment.SetLabelValue(1)
            box = extents[value].box if value in extents else None
            segment.AddRepresentation(LABELMAP, _cut_out(layer, array, value, box))
            workshop.AddSegment(segment, segment_id)
    if workshop.GetNumberOfSegments():
        workshop.CreateRepresentation(SURFACE)
    return {i: workshop.GetSegment(i).GetRepresentation(SURFACE) for i in segment_ids(workshop)}


def _cut_out(layer: Any, array: Array, value: int, box: Box | None) -> Any:
    if box is None:
        return new_layer((0, 0, 0), (0, 0, 0), layer_matrix(layer), np.uint8)[0]
    part, voxels = new_layer(array[box].shape, first_index(layer, box), layer_matrix(layer), np.uint8)
    voxels[...] = array[box] == value
    return part
