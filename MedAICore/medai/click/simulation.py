"""A simulated person at full resolution: clicks into the middle of what is wrong, as in the CVPR 2025 challenge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from medai.config.requests import Prompt
from medai.image import Box, Image

Bools = npt.NDArray[np.bool_]
_ALL_NEIGHBOURS = np.ones((3, 3, 3))


@dataclass(frozen=True)
class SimulatedClick:
    """A voxel (k, j, i) and whether the object is there."""

    voxel: tuple[int, int, int]
    positive: bool

    def prompt(self, image: Image) -> Prompt:
        """The click as a prompt on `image`."""
        k, j, i = self.voxel
        r, a, s = (float(c) for c in (image.ijk_to_ras @ np.array([i, j, k, 1.0]))[:3])
        return Prompt("point", self.positive, ((r, a, s),))


def next_click(truth: Bools, mask: Bools, spacing_mm: tuple[float, float, float]) -> SimulatedClick | None:
    """A click into the deepest point of the largest error, missing or too much; None where nothing is wrong.

    With an empty mask that is the deepest point of the largest piece of the object.
    """
    region = _bounds(truth | mask)
    if region is None:
        return None
    best: tuple[int, Box, Bools, bool] | None = None
    for wrong, positive in ((truth[region] & ~mask[region], True), (mask[region] & ~truth[region], False)):
        pieces, count = scipy.ndimage.label(wrong, _ALL_NEIGHBOURS)
        if count == 0:
            continue
        sizes = np.bincount(pieces.ravel())
        number = int(sizes[1:].argmax()) + 1
        if best is None or sizes[number] > best[0]:
            box = scipy.ndimage.find_objects(pieces, number)[number - 1]
            best = int(sizes[number]), box, pieces[box] == number, positive
    if best is None:
        return None
    _, box, piece, positive = best
    inner = deepest(piece, spacing_mm)
    k, j, i = (p + b.start + r.start for p, b, r in zip(inner, box, region, strict=True))
    return SimulatedClick((k, j, i), positive)


def deepest(mask: Bools, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """The voxel that is furthest, in mm, from the outside of the mask."""
    distance = scipy.ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    k, j, i = np.unravel_index(int(distance.argmax()), mask.shape)
    return int(k), int(j), int(i)


def _bounds(mask: Bools) -> Box | None:
    boxes = scipy.ndimage.find_objects(mask.view(np.uint8))
    return boxes[0] if boxes and boxes[0] is not None else None
