"""Boxes around the part of an image that can hold anything: non-zero voxels, or the body in CT."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.ndimage

from medai.image import Array, Box

CropName = Literal["none", "nonzero", "body"]

# Air is -1000 HU and the lightest tissue, fat, about -120; foam and clothes lie below -500.
AIR_HU = -500.0
# The body is searched on every n-th voxel: its box needs no more.
_BODY_STRIDE = 4


def crop_box(array: Array, name: CropName) -> Box:
    """The box (k, j, i) of (c, k, j, i) to which `name` crops; the whole image where nothing is found.

    ``nonzero``: around every voxel that is not zero in any channel, as nnU-Net does. ``body``: around the largest
    connected piece above -500 HU of the first channel (the body without most tables), for CT, where air is not zero.
    """
    if name == "nonzero":
        return _bounding_box((array != 0).any(axis=0))
    if name == "body":
        return _body_box(array[0])
    return _whole(array.shape[1:])


def _body_box(array: Array) -> Box:
    stride = tuple(_BODY_STRIDE if size >= 4 * _BODY_STRIDE else 1 for size in array.shape)
    tissue = array[tuple(slice(None, None, s) for s in stride)] > AIR_HU
    pieces, count = scipy.ndimage.label(tissue)
    if count == 0:
        return _whole(array.shape)
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    box = scipy.ndimage.find_objects(pieces)[largest - 1]
    # One coarse voxel more on each side: the surface may lie between two sampled voxels.
    slices = [
        slice(max(0, (part.start - 1) * s), min(size, part.stop * s + s))
        for part, s, size in zip(box, stride, array.shape, strict=True)
    ]
    return slices[0], slices[1], slices[2]


def _bounding_box(mask: Array) -> Box:
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(hit) == 0:
            return _whole(mask.shape)
        slices.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return slices[0], slices[1], slices[2]


def _whole(shape: tuple[int, ...]) -> Box:
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


def intersect(first: Box, second: Box) -> Box | None:
    """What both boxes cover; None where they do not meet."""
    starts = [max(a.start, b.start) for a, b in zip(first, second, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(first, second, strict=True)]
    if any(start >= stop for start, stop in zip(starts, stops, strict=True)):
        return None
    slices = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
    return slices[0], slices[1], slices[2]
