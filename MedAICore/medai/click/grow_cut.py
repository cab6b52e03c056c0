"""Grow-cut (Vezhnevets and Konouchine 2005): seeds of object and background conquer their neighbours.

A cell attacks a neighbour with its own strength, weakened by the difference of their intensities. It needs no model:
it is what segments where none is installed, and the peer that the model is measured against.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from medai.click.grid import Floats
from medai.click.prompts import PromptMaps
from medai.progress import CancelCheck, check_cancelled, never_cancelled

_MOST_SWEEPS = 200
# Even where nothing changes in intensity the strength fades with distance, so that the nearer seed wins.
_FADING = 0.985
# Difference across the object's surface over the spread within it.
_LEAST_CONTRAST = 1.0
Labels = npt.NDArray[np.int8]


class GrowCutEngine:
    """Segments the grid from its prompts alone; what touches the border of the grid counts as background."""

    name = "grow-cut"
    size = 48
    refines = False

    def warm_up(self, cancelled: CancelCheck = never_cancelled) -> None:
        """Nothing has to be prepared."""

    def complete(self, image: Floats, values: Floats, cut_off: bool) -> bool:
        """Whether the object ends where the intensities change; in a cube within the object it ends just anywhere."""
        return not cut_off and _edge_contrast(image, values > 0.5) >= _LEAST_CONTRAST

    def predict(
        self, image: Floats, previous: Floats, maps: PromptMaps, cancelled: CancelCheck = never_cancelled
    ) -> Floats:
        """Object (1) and background (0) on the grid; `image` has its intensities in 0..1, `previous` is not used."""
        object_seeds, background_seeds = seeds(maps)
        # Noise is not a border.
        smooth = scipy.ndimage.gaussian_filter(image, 0.7)
        labels = grow_cut(smooth, object_seeds, background_seeds, cancelled)
        return (labels > 0).astype(np.float32)


def _edge_contrast(image: Floats, found: npt.NDArray[np.bool_]) -> float:
    """Difference of the mean intensities on both sides of the surface, in standard deviations within the object."""
    inner = found & ~scipy.ndimage.binary_erosion(found, iterations=2)
    outer = scipy.ndimage.binary_dilation(found, iterations=2) & ~found
    if not inner.any() or not outer.any():
        return 0.0
    difference = abs(float(image[inner].mean() - image[outer].mean()))
    return difference / max(float(image[found].std()), 1e-6)


def seeds(maps: PromptMaps) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Seeds of object and background: clicks, the heart of positive regions, and all that cannot be the object."""
    wanted = maps.positive > 0.4
    if (maps.region > 0).any():
        wanted |= _heart(maps.region > 0)
    unwanted = (maps.negative > 0.4) | ~maps.allowed
    border = np.ones(wanted.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    unwanted |= border
    return wanted & ~(maps.negative > 0.4), unwanted & ~(maps.positive > 0.4)


def _heart(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The middle of a region: the same shape, a third as wide, around its centre."""
    where = np.argwhere(region)
    center = where.mean(axis=0)
    inner = np.round(center + (where - center) / 3).astype(int)
    heart = np.zeros_like(region)
    heart[tuple(inner.T)] = True
    return heart & region


def grow_cut(
    image: Floats,
    object_seeds: npt.NDArray[np.bool_],
    background_seeds: npt.NDArray[np.bool_],
    cancelled: CancelCheck = never_cancelled,
) -> Labels:
    """1 for object, -1 for background, 0 where no seed reached; all (k, j, i)."""
    strength = np.where(object_seeds | background_seeds, np.float32(1), np.float32(0))
    labels = np.where(object_seeds, 1, np.where(background_seeds, -1, 0)).astype(np.int8)
    spread = float(image.max() - image.min()) or 1.0
    passages = [_FADING * (1 - np.abs(np.diff(image, axis=axis)) / spread).astype(np.float32) ** 2 for axis in range(3)]
    for _ in range(_MOST_SWEEPS):
        check_cancelled(cancelled)
        before = strength.copy()
        for axis in range(3):
            _attack(strength, labels, passages[axis], axis)
        if float(np.max(strength - before)) < 1e-4:
            break
    return labels


def _attack(strength: Floats, labels: Labels, passage: Floats, axis: int) -> None:
    """One exchange of blows along an axis, both ways, in place."""
    lower: list[slice] = [slice(None)] * 3
    upper: list[slice] = [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    for source, target in ((tuple(lower), tuple(upper)), (tuple(upper), tuple(lower))):
        blow = strength[source] * passage
        wins = blow > strength[target]
        np.copyto(labels[target], labels[source], where=wins)
        np.copyto(strength[target], blow, where=wins)
