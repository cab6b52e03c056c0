"""Axis permutation and flips that bring a voxel grid as close to RAS as possible without interpolating."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from medai.image import Affine, Array, Box


@dataclass(frozen=True)
class Orientation:
    """Oriented axis a is the source's axis ``order[a]``, reversed where ``flips[a]``. Axes are (k, j, i)."""

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: Array) -> Array:
        """View of (..., k, j, i) with oriented axes; writing into it writes into the source."""
        lead = array.ndim - 3
        view = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        k, j, i = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        flipped: Array = view[..., k, j, i]
        return flipped

    def apply_box(self, box: Box, shape: tuple[int, int, int]) -> Box:
        """The box (k, j, i) of a source of this `shape`, in oriented axes."""
        oriented = []
        for axis, flip in zip(self.order, self.flips, strict=True):
            start, stop, size = box[axis].start, box[axis].stop, shape[axis]
            oriented.append(slice(size - stop, size - start) if flip else slice(start, stop))
        return oriented[0], oriented[1], oriented[2]

    def apply_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape after orienting."""
        return shape[self.order[0]], shape[self.order[1]], shape[self.order[2]]

    def apply_affine(self, ijk_to_ras: Affine, shape: tuple[int, int, int]) -> Affine:
        """ijk_to_ras of the oriented array of a source of this `shape`."""
        oriented = np.eye(4)
        oriented[:3, 3] = ijk_to_ras[:3, 3]
        for axis, (source, flip) in enumerate(zip(self.order, self.flips, strict=True)):
            step = ijk_to_ras[:3, 2 - source]
            oriented[:3, 2 - axis] = -step if flip else step
            if flip:
                oriented[:3, 3] += step * (shape[source] - 1)
        return oriented


def closest_to_ras(ijk_to_ras: Affine, first_axis: int | None = None) -> Orientation:
    """The orientation whose (k, j, i) point most nearly superior, anterior and right.

    For a 2D model `first_axis` is the source's slice axis, which stays first and is not reversed; the two in-plane axes
    are then ordered as they would be in RAS (S before A before R) and point to the positive side.
    """
    steps = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    cosines = steps.T[::-1]  # rows: source axis k, j, i; columns: R, A, S; oriented axis a goes with RAS axis 2 - a
    if first_axis is None:
        # One to one, so that two axes of an oblique grid never go to the same direction.
        order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[p[a], 2 - a]) for a in range(3)))
        signs = [bool(cosines[order[a], 2 - a] < 0) for a in range(3)]
        return Orientation((order[0], order[1], order[2]), (signs[0], signs[1], signs[2]))
    free = closest_to_ras(ijk_to_ras)
    in_plane = [axis for axis in free.order if axis != first_axis]
    flipped = dict(zip(free.order, free.flips, strict=True))
    return Orientation((first_axis, in_plane[0], in_plane[1]), (False, flipped[in_plane[0]], flipped[in_plane[1]]))
