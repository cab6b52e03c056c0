"""What happens where a result meets segments that are already there."""

from __future__ import annotations

from enum import Enum
from typing import Any

import slicer
import vtk

RUN_TAG = "MedAI.run"
MODEL_TAG = "MedAI.model"
LABEL_TAG = "MedAI.label"
LOCKED_TAG = "MedAI.locked"


class OverwritePolicy(Enum):
    """How a result treats the other segments of the segmentation that it is written into.

    Slicer has no lock on a segment; what a person marks as done in the segment list (status *Completed*), or a segment
    with the tag `MedAI.locked` = 1, counts as locked here.
    """

    PROTECT = "protect"
    """The result loses the voxels of all other segments; those stay as they are."""

    OVERWRITE_UNLOCKED = "overwrite_unlocked"
    """Other segments lose the voxels of the result; locked ones keep theirs, and the result loses these."""

    OVERWRITE_ALL = "overwrite_all"
    """Every other segment loses the voxels of the result, locked ones too."""

    ALLOW_OVERLAP = "allow_overlap"
    """Nothing is taken from either side: a voxel may belong to several segments."""


def tag_of(segment: Any, tag: str) -> str | None:
    """The value of a segment's tag; None where it has no such tag."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(tag, value) else None


def is_locked(segment: Any) -> bool:
    """Whether a person has marked the segment as done (status Completed) or it has the tag `MedAI.locked` = 1."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    return bool(logic.GetSegmentStatus(segment) == logic.Completed) or tag_of(segment, LOCKED_TAG) == "1"


def protects(policy: OverwritePolicy, segment: Any) -> bool:
    """Whether another segment keeps its voxels against the result."""
    if policy is OverwritePolicy.OVERWRITE_UNLOCKED:
        return is_locked(segment)
    return policy is OverwritePolicy.PROTECT


def gives_way(policy: OverwritePolicy, segment: Any) -> bool:
    """Whether another segment loses the voxels of the result."""
    if policy is OverwritePolicy.OVERWRITE_UNLOCKED:
        return not is_locked(segment)
    return policy is OverwritePolicy.OVERWRITE_ALL
