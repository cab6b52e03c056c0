"""Labelled cases of scenes. Plain data: a case names its nodes by ID, so that a panel can keep and edit it."""

from __future__ import annotations

from dataclasses import dataclass

from medai.label_table import LabelRow, LabelTable, SegmentInfo, labels_of

__all__ = ["LabelRow", "LabelTable", "LabelledCase", "SegmentInfo", "labels_of"]


@dataclass(frozen=True)
class LabelledCase:
    """A case to train on: volumes (one per channel) and the segmentation that labels them.

    `volume_ids` and `segmentation_id` are MRML node IDs; where they are of sequence nodes, `frame` is the number of
    the frame (0, 1, ...) in the first volume's sequence. With `around`, the channels are so many frames before and
    after that one, the earliest first (`volume_ids` then has the sequence for each); before the first frame there is
    the first again. `patient` groups the cases that must stay on one side of a split; `patient_name` is what a person
    calls the patient. `source` is the scene file that the IDs belong to, "" for the open scene. An empty `volume_ids`
    or `segmentation_id` says that none was found: the check reports it.
    """

    name: str
    patient: str
    volume_ids: tuple[str, ...]
    segmentation_id: str
    frame: int | None = None
    around: int = 0
    segments: tuple[SegmentInfo, ...] = ()
    channel_names: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    patient_name: str = ""
    source: str = ""
