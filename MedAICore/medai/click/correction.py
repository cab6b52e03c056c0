"""What a later point is allowed to change: only what hangs together with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from medai.click.prompts import Placed
from medai.image import Box

Mask = npt.NDArray[np.uint8]
_TOUCHING = 2  # voxels


def changed_at(prompt: Placed, old: Mask, new: Mask, box: Box) -> Mask:
    """The old mask with those changes of the new one that hang together with the point just made; both are of `box`.

    After some prompts most of a mask is right, and a new point speaks of its own place (the progressive merge of
    FocalClick, Chen et al. 2022). Changes the other way round are taken where they touch.
    """
    added, removed = (new > 0) & (old == 0), (new == 0) & (old > 0)
    meant, other = (added, removed) if prompt.positive else (removed, added)
    # A point on the image's very border may be rounded to beyond it.
    start, last = np.array([side.start for side in box]), np.array(old.shape) - 1
    k, j, i = np.clip(np.round(prompt.points[0]).astype(int) - start, 0, last).tolist()
    hit = meant.copy()
    hit[k, j, i] = True
    pieces, _ = scipy.ndimage.label(hit, np.ones((3, 3, 3)))
    change = pieces == pieces[k, j, i]
    around = scipy.ndimage.binary_dilation(change, iterations=_TOUCHING)
    merged: Mask = np.where((change & meant) | (around & other), new, old)
    return merged
