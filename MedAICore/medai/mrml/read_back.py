"""A label map out of a Slicer segmentation, on the voxels of a volume: for training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer

from medai.errors import InputError
from medai.image import Image
from medai.labels import Label, LabelScheme, Terminology
from medai.mrml.layers import LABELMAP, layers_of, segment_ids, values_on_grid
from medai.mrml.overwrite import LABEL_TAG, tag_of
from medai.mrml.transforms import difference_between
from medai.mrml.volumes import check_volume, volume_matrix


def label_map_from_segmentation(
    segmentation_node: Any, volume_node: Any, ids: Sequence[str] | None = None
) -> tuple[Image, LabelScheme]:
    """The segments (all, or those of `ids`) as one label map (1, k, j, i) on the volume's grid, with its scheme.

    A segment on that grid is read voxel by voxel; one on another grid or under another transform is resampled to the
    nearest voxel. Values are the model's where MedAI wrote every segment (tag `MedAI.label`), else 1, 2, ... in order.
    Raises InputError for segments that overlap, as a label map cannot hold them, or that are not made of voxels.
    """
    check_volume(volume_node)
    segmentation = segmentation_node.GetSegmentation()
    wanted = list(ids) if ids is not None else segment_ids(segmentation)
    unknown = [i for i in wanted if segmentation.GetSegment(i) is None]
    if unknown or not wanted:
        what = f"no segments {unknown}" if unknown else "no segments"
        raise InputError(f"The segmentation '{segmentation_node.GetName()}' has {what}.", "Choose segments that exist.")
    if not segmentation.ContainsRepresentation(LABELMAP):
        raise InputError(
            f"The segments of '{segmentation_node.GetName()}' have no binary label map.",
            "Create that representation in the Segmentations module.",
        )
    scheme = _scheme(segmentation, wanted)
    value_of = dict(zip(wanted, scheme.values, strict=True))
    shape = volume_node.GetImageData().GetDimensions()[::-1]
    matrix, transform = volume_matrix(volume_node), difference_between(segmentation_node, volume_node)
    labels = np.zeros(shape, np.uint8 if max(scheme.values) < 256 else np.uint16)
    for layer, layer_values in layers_of(segmentation, wanted):
        found = values_on_grid(layer, (0, 0, 0), shape, matrix, transform)
        table = np.zeros(int(found.max(initial=0)) + 1, labels.dtype)
        for segment_id, layer_value in layer_values.items():
            if 0 < layer_value < table.size:
                table[layer_value] = value_of[segment_id]
        mapped = table[np.maximum(found, 0)]
        clash = np.flatnonzero((mapped != 0) & (labels != 0))
        if clash.size:
            one, other = (scheme.by_value(int(a.ravel()[clash[0]])).name for a in (labels, mapped))
            raise InputError(
                f"The segments '{one}' and '{other}' overlap in {clash.size} voxels; a label map holds one per voxel.",
                "Remove the overlap in the segment editor, or leave one of them out.",
            )
        np.maximum(labels, mapped, out=labels)
    return Image(labels[None], matrix, name=segmentation_node.GetName() or ""), scheme


def _scheme(segmentation: Any, ids: Sequence[str]) -> LabelScheme:
    segments = [segmentation.GetSegment(i) for i in ids]
    tags = [tag_of(segment, LABEL_TAG) or "" for segment in segments]
    from_model = all(tag.isdecimal() for tag in tags) and len(set(tags)) == len(tags)
    values = [int(tag) for tag in tags] if from_model else list(range(1, len(ids) + 1))
    return LabelScheme(
        tuple(
            Label(value, s.GetName() or i, tuple(s.GetColor()), _terminology(s))
            for value, i, s in zip(values, ids, segments, strict=True)
        )
    )


def _terminology(segment: Any) -> Terminology | None:
    """A segment's codes; None for the codes ("Tissue") that Slicer gives to every segment that nobody has coded."""
    text = segment.GetTerminology() or ""
    return None if text == slicer.vtkSegment().GetTerminology() else Terminology.from_slicer(text)
