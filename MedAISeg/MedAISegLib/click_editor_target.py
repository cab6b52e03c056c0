"""The selected segment of the Segment Editor as what clicks change: through the editor's own way of writing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from medai.errors import InputError
from medai.mrml.layers import bounding_box, layer_matrix, new_layer
from medai.mrml.region_write import box_on_grid
from MedAISegLib.click_target import Box, SegmentTarget


@dataclass(frozen=True)
class EditorChange:
    """What a step changed; the editor keeps the voxels, in its own undo."""

    added: int
    removed: int
    nbytes: int = 0


@dataclass
class EditorTarget(SegmentTarget):
    """Voxels are added and removed by `modifySegmentByLabelmap` of the effect's host (`scriptedEffect`).

    So masking, editable area and the editor's rule for other segments hold, and each step is one step of the editor's
    undo. What was undone there is noticed by the session, which tells the worker.
    """

    effect: Any = None

    def prepare(self, volume: Any) -> None:
        """The segment is the one that is selected."""
        self.select()
        super().prepare(volume)

    def addNext(self) -> None:
        """The next segment is chosen in the editor's list."""
        self.select()

    def select(self) -> None:
        """Work on what is selected in the editor now; InputError where that is nothing."""
        editor = self.effect.parameterSetNode()
        node = editor.GetSegmentationNode()
        segmentId = editor.GetSelectedSegmentID()
        if node is None or not segmentId or node.GetSegmentation().GetSegment(segmentId) is None:
            raise InputError(_("No segment is selected."), _("Add a segment, or select one in the list."))
        self.segmentationId, self.segmentId = node.GetID(), segmentId

    @property
    def isSelected(self) -> bool:
        """Whether this is still the editor's selected segment."""
        editor = self.effect.parameterSetNode()
        node = editor.GetSegmentationNode()
        here = node is not None and node.GetID() == self.segmentationId
        return here and editor.GetSelectedSegmentID() == self.segmentId

    def write(self, volume: Any, mask: np.ndarray, box: Box) -> EditorChange:
        """Add and remove what differs, on the editor's grid, as one step of its undo."""
        reference = self.effect.referenceGeometryImage()
        grid = layer_matrix(reference)
        first, wanted, inside = box_on_grid(mask, (box[4], box[2], box[0]), self._matrix(volume), grid)
        now = self._now(first, wanted.shape, grid)
        add, remove = wanted & ~now, now & ~wanted
        if inside is not None:
            remove &= inside
        added, removed = int(np.count_nonzero(add)), int(np.count_nonzero(remove))
        if added or removed:
            self.effect.saveStateForUndo()
            self._modify(add, first, grid, self.effect.ModificationModeAdd)
            self._modify(remove, first, grid, self.effect.ModificationModeRemove)
        return EditorChange(added, removed)

    def undo(self, change: EditorChange) -> None:
        """Not from here."""
        raise InputError(_("Steps are taken back by the editor's own Undo."), _("Press Undo below the effects."))

    redo = undo

    def _now(self, first: tuple[int, ...], shape: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        from medai.mrml.region_write import segment_mask_on_grid

        return segment_mask_on_grid(self.node, self.segmentId, first, shape, grid)

    def _modify(self, mask: np.ndarray, first: tuple[int, ...], grid: np.ndarray, mode: int) -> None:
        box = bounding_box(mask.view(np.uint8))
        if box is None:
            return
        start = (first[0] + box[2].start, first[1] + box[1].start, first[2] + box[0].start)
        labelmap, voxels = new_layer(mask[box].shape, start, grid, np.uint8)
        voxels[...] = mask[box]
        self.effect.modifySegmentByLabelmap(self.node, self.segmentId, labelmap, mode)
