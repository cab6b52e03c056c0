"""The segment that clicks change: where it lies, what it holds, and how a changed box gets into it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import slicer
from slicer.i18n import tr as _

from medai.errors import InputError
from medai.labels import distinct_color
from medai.mrml import OverwritePolicy
from medai.mrml.layers import LABELMAP, bounding_box, first_index, layer_array, layer_matrix, segment_ids
from medai.mrml.region_write import (
    RegionChange,
    redo_region,
    segment_mask_on_grid,
    undo_region,
    write_region,
)
from medai.mrml.volumes import volume_matrix
from medai.mrml.write_back import check_segmentation, matrix_in_segmentation, new_segmentation_node

Box = tuple[int, int, int, int, int, int]
CLICK_TAG = "MedAI.click"


class ClickTarget(Protocol):
    """What a click session writes into. Boxes are (k0, k1, j0, j1, i0, i1) on the volume's grid, ends excluded."""

    def prepare(self, volume: Any) -> None:
        """Make sure that there is a segment to write into; raises InputError where there can be none."""

    def addNext(self) -> None:
        """Go on with another segment."""

    def read(self, volume: Any, box: Box) -> np.ndarray:
        """The segment's voxels in the box, bool (k, j, i)."""

    def bounds(self, volume: Any) -> Box | None:
        """A box that holds the whole segment; None where it is empty."""

    def write(self, volume: Any, mask: np.ndarray, box: Box) -> Any:
        """Make the segment equal to `mask` in the box; gives what `undo` and `redo` need, with its size `nbytes`."""

    def undo(self, change: Any) -> None:
        """Take a write back, in every segment that it changed."""

    def redo(self, change: Any) -> None:
        """Make the write again."""

    def stamp(self) -> tuple:
        """Something that differs as soon as somebody else may have changed the segment."""


@dataclass
class SegmentTarget:
    """A segment of a segmentation node, by IDs: both are made by `prepare` where they are empty.

    A new segmentation lies beside the volume, under its parent transform. A segment of the person's own choice may
    share a layer with others; a new one gets a layer of its own, so that no voxel of its neighbours is ever touched
    under the default policy.
    """

    scene: Any
    segmentationId: str = ""
    segmentId: str = ""
    policy: OverwritePolicy = OverwritePolicy.PROTECT
    segmentName: str = ""

    @property
    def node(self) -> Any:
        """The segmentation node; InputError where it was removed."""
        node = self.scene.GetNodeByID(self.segmentationId) if self.segmentationId else None
        if node is None:
            raise InputError(
                _("The segmentation is no longer in the scene."), _("Start again, with another segmentation.")
            )
        return node

    def prepare(self, volume: Any) -> None:
        """Add the segmentation and the segment where they are missing."""
        if self.segmentationId:
            check_segmentation(self.node, self.scene)
            matrix_in_segmentation(volume, self.node, self._isUsed())
        else:
            self._addSegmentation(volume)
        segmentation = self.node.GetSegmentation()
        if self.segmentId and segmentation.GetSegment(self.segmentId) is None:
            raise InputError(
                _("The segment '{segment}' is no longer in '{name}'.").format(
                    segment=self.segmentId, name=self.node.GetName()
                ),
                _("Choose another one and start again."),
            )
        if not self.segmentId:
            self._addSegment()

    def addNext(self) -> None:
        """Go on with a new segment of the same segmentation."""
        self.segmentId, self.segmentName = "", ""
        self._addSegment()

    def read(self, volume: Any, box: Box) -> np.ndarray:
        """See `ClickTarget`."""
        k0, k1, j0, j1, i0, i1 = box
        shape = (k1 - k0, j1 - j0, i1 - i0)
        return segment_mask_on_grid(self.node, self.segmentId, (i0, j0, k0), shape, self._matrix(volume))

    def bounds(self, volume: Any) -> Box | None:
        """See `ClickTarget`; on another grid than the segment's own, a box that surely covers it."""
        segment = self.node.GetSegmentation().GetSegment(self.segmentId) if self.segmentationId else None
        layer = segment.GetRepresentation(LABELMAP) if segment is not None else None
        if layer is None:
            return None
        box = bounding_box((layer_array(layer) == segment.GetLabelValue()).view(np.uint8))
        if box is None:
            return None
        low = np.array(first_index(layer, box))
        size = [side.stop - side.start for side in box[::-1]]
        ends = [(a - 0.5, a + n - 0.5) for a, n in zip(low, size, strict=True)]
        corners = np.array([(a, b, c, 1.0) for a in ends[0] for b in ends[1] for c in ends[2]])
        found = (corners @ (np.linalg.inv(self._matrix(volume)) @ layer_matrix(layer)).T)[:, :3]
        shape = volume.GetImageData().GetDimensions()
        start = np.clip(np.floor(found.min(axis=0) + 0.5 + 1e-3).astype(int), 0, shape)
        stop = np.clip(np.ceil(found.max(axis=0) + 0.5 - 1e-3).astype(int), 0, shape)
        if (start >= stop).any():
            return None
        (i0, i1), (j0, j1), (k0, k1) = zip(start.tolist(), stop.tolist(), strict=True)
        return k0, k1, j0, j1, i0, i1

    def write(self, volume: Any, mask: np.ndarray, box: Box) -> RegionChange:
        """See `ClickTarget`; other segments are treated by the policy."""
        node = self.node
        return write_region(
            node, self.segmentId, mask, (box[4], box[2], box[0]), self._matrix(volume), policy=self.policy
        )

    def undo(self, change: RegionChange) -> None:
        """See `ClickTarget`."""
        undo_region(self.node, change)

    def redo(self, change: RegionChange) -> None:
        """See `ClickTarget`."""
        redo_region(self.node, change)

    def stamp(self) -> tuple:
        """See `ClickTarget`: the layer, its time of change and the segment's value in it."""
        segment = self.node.GetSegmentation().GetSegment(self.segmentId)
        if segment is None:
            return ()
        layer = segment.GetRepresentation(LABELMAP)
        return (id(layer), layer.GetMTime() if layer is not None else 0, segment.GetLabelValue())

    def _matrix(self, volume: Any) -> np.ndarray:
        return matrix_in_segmentation(volume, self.node, True)

    def _isUsed(self) -> bool:
        return self.node.GetSegmentation().GetNumberOfSegments() > 0

    def _addSegmentation(self, volume: Any) -> None:
        node = new_segmentation_node(self.scene, volume, "")
        node.GetSegmentation().SetSourceRepresentationName(LABELMAP)
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.CreateDefaultDisplayNodes()
        self.segmentationId = node.GetID()

    def _addSegment(self) -> None:
        segmentation = self.node.GetSegmentation()
        names = {segmentation.GetSegment(i).GetName() for i in segment_ids(segmentation)}
        number = segmentation.GetNumberOfSegments() + 1
        while _("Structure {number}").format(number=number) in names:
            number += 1
        segment = slicer.vtkSegment()
        segment.SetName(self.segmentName or _("Structure {number}").format(number=number))
        segment.SetColor(*distinct_color(number))
        segment.SetTag(CLICK_TAG, "1")
        self.segmentId = segmentation.GenerateUniqueSegmentID(f"MedAI_click_{number}")
        segmentation.AddSegment(segment, self.segmentId)


def checksum(mask: np.ndarray) -> tuple[int, int]:
    """(voxels, CRC-32 of the bits): whether two masks of one box are the same."""
    return int(np.count_nonzero(mask)), zlib.crc32(np.packbits(mask))


def gridOf(volume: Any) -> tuple[tuple[int, int, int], np.ndarray]:
    """(voxels along k, j, i; the matrix of the voxel grid to the volume's coordinates)."""
    i, j, k = volume.GetImageData().GetDimensions()
    return (k, j, i), volume_matrix(volume)


def union(a: Box | None, b: Box) -> Box:
    """The box around both."""
    if a is None:
        return b
    k0, j0, i0 = (min(a[n], b[n]) for n in (0, 2, 4))
    k1, j1, i1 = (max(a[n], b[n]) for n in (1, 3, 5))
    return k0, k1, j0, j1, i0, i1
