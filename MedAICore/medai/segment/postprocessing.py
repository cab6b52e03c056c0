"""What is done to a label map after the network: the region of interest, the largest components."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from medai.image import Array, Box, Image, Roi


def context_box(roi: Roi, image: Image, margin_mm: float) -> Box:
    """The voxels of the ROI and of a margin around it, which the network needs to see; slices over (k, j, i)."""
    slices = []
    for part, size, spacing in zip(roi.index_box(image), image.shape, image.spacing_mm, strict=True):
        margin = int(np.ceil(margin_mm / spacing))
        slices.append(slice(max(0, part.start - margin), min(size, part.stop + margin)))
    return slices[0], slices[1], slices[2]


def clear_outside(labels: Array, roi: Roi, image: Image) -> None:
    """Set every voxel of `labels` (k, j, i; or of a map) whose centre lies outside of the ROI to 0, in place.

    Planes of zeros are only read: of a memory-mapped file they need not be written again.
    """
    box = roi.index_box(image)
    for k in (*range(box[0].start), *range(box[0].stop, labels.shape[0])):
        if labels[k].any():
            labels[k] = 0
    axes = np.array(roi.axes, dtype=np.float64).reshape(3, 3)
    # Position along the ROI's own axes, in mm from its centre, of voxel (i, j, k).
    along = axes.T @ image.ijk_to_ras[:3, :3]
    offset = axes.T @ (image.ijk_to_ras[:3, 3] - np.array(roi.center_ras))
    half = np.array(roi.size_mm) / 2 + 1e-6
    j, i = np.arange(labels.shape[1])[:, None], np.arange(labels.shape[2])[None, :]
    for k in range(box[0].start, box[0].stop):
        if not labels[k].any():
            continue
        for axis in range(3):
            position = along[axis, 0] * i + along[axis, 1] * j + (along[axis, 2] * k + offset[axis])
            labels[k][np.abs(position) > half[axis]] = 0


def keep_largest_components(labels: Array) -> list[int]:
    """Of each label keep the largest piece (voxels that touch by a face, edge or corner), in place.

    Returns the values of the labels that lost voxels. Of equal pieces the first in storage order stays.
    """
    touching = np.ones((3, 3, 3), bool)
    changed = []
    for value, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        part = labels[box]
        pieces, count = scipy.ndimage.label(part == value, touching)
        if count < 2:
            continue
        largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
        part[(pieces != 0) & (pieces != largest)] = 0
        changed.append(value)
    return changed
