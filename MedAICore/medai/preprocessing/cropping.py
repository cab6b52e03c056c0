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
# What belongs to the body beside its largest piece: parts of that piece's volume and thickness. A sheet that one layer
# of the searched voxels hits has a thickness of up to 1, its slanted pieces of somewhat more.
_SMALLEST_PIECE = 0.01
_THINNEST_PIECE = 0.125
_SHEET = 2.0


def crop_box(array: Array, name: CropName) -> Box:
    """The box (k, j, i) of (c, k, j, i) to which `name` crops; the whole image where nothing is found.

    ``nonzero``: around every voxel that is not zero in any channel, as nnU-Net does. ``body``: around the body, for CT,
    where air is not zero: the largest connected piece above -500 HU of the first channel, and every other piece (arms,
    the second leg) that is not much thinner, as tables and sheets are.
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
    box = _around_thick_pieces(pieces)
    # One coarse voxel more on each side: the surface may lie between two sampled voxels.
    slices = [
        slice(max(0, (part.start - 1) * s), min(size, part.stop * s + s))
        for part, s, size in zip(box, stride, array.shape, strict=True)
    ]
    return slices[0], slices[1], slices[2]


def _around_thick_pieces(pieces: Array) -> Box:
    """The box of the largest of the numbered pieces and of those that are a part of it in size and thickness.

    A piece's thickness is its volume over the largest face of its box: what a board has, whichever way it lies.
    """
    voxels = np.bincount(pieces.ravel())[1:]
    boxes = scipy.ndimage.find_objects(pieces)
    sides = np.array([[part.stop - part.start for part in box] for box in boxes])
    thickness = voxels / (sides.prod(axis=1) / sides.min(axis=1))
    largest = int(voxels.argmax())
    thick = thickness >= max(_SHEET, _THINNEST_PIECE * thickness[largest])
    body = thick & (voxels >= _SMALLEST_PIECE * voxels[largest])
    body[largest] = True
    kept = [box for box, is_body in zip(boxes, body, strict=True) if is_body]
    slices = [slice(min(box[a].start for box in kept), max(box[a].stop for box in kept)) for a in range(3)]
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
