"""Distances between the surfaces of two masks (k, j, i).

The surface of a mask is its voxels that have a face neighbour outside of it, as in MONAI; distances run between voxel
centres. They are exact nearest neighbours in a k-d tree: unlike a distance transform its cost depends on the surfaces,
not on the box around them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage
from scipy.spatial import KDTree

from medai.image import Array

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances in mm from every surface voxel of the reference to the prediction's surface, and the other way round.

    Empty sets follow one rule: where one mask is empty distances are infinite and no surface agrees (NSD 0); where both
    are, there is nothing to measure (NaN).
    """

    to_prediction: Distances
    to_reference: Distances

    @property
    def _one_is_empty(self) -> bool:
        return (self.to_prediction.size == 0) != (self.to_reference.size == 0)

    def _if_both(self, value: float, one_empty: float) -> float:
        if self._one_is_empty:
            return one_empty
        return value if self.to_prediction.size else math.nan

    def hausdorff_mm(self, percentile: float = 95.0) -> float:
        """The larger of both directions' percentile of distances (Huttenlocher et al. 1993)."""
        if self.to_prediction.size == 0 or self.to_reference.size == 0:
            return self._if_both(math.nan, math.inf)
        return float(max(np.percentile(self.to_prediction, percentile), np.percentile(self.to_reference, percentile)))

    def average_mm(self) -> float:
        """Average symmetric surface distance: the mean over the distances of both directions together."""
        if self.to_prediction.size == 0 or self.to_reference.size == 0:
            return self._if_both(math.nan, math.inf)
        return float(np.concatenate([self.to_prediction, self.to_reference]).mean())

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces that lies within `tolerance_mm` of the other (Nikolov et al. 2021), 0..1."""
        if self.to_prediction.size == 0 or self.to_reference.size == 0:
            return self._if_both(math.nan, 0.0)
        within = np.count_nonzero(self.to_prediction <= tolerance_mm) + np.count_nonzero(
            self.to_reference <= tolerance_mm
        )
        return within / (self.to_prediction.size + self.to_reference.size)


def surface_distances(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> SurfaceDistances:
    """Both directions' surface distances; `spacing_mm` along (k, j, i)."""
    points_reference = _surface_points(reference, spacing_mm)
    points_prediction = _surface_points(prediction, spacing_mm)
    if len(points_reference) == 0 or len(points_prediction) == 0:
        infinite = (np.full(len(points_reference), np.inf), np.full(len(points_prediction), np.inf))
        return SurfaceDistances(*infinite)
    to_prediction, _ = KDTree(points_prediction).query(points_reference)
    to_reference, _ = KDTree(points_reference).query(points_prediction)
    return SurfaceDistances(to_prediction, to_reference)


def _surface_points(mask: Array, spacing_mm: Sequence[float]) -> Distances:
    mask = mask.astype(bool, copy=False)
    boxes = scipy.ndimage.find_objects(mask.astype(np.uint8))
    if not boxes or boxes[0] is None:
        return np.empty((0, 3))
    part = mask[boxes[0]]
    surface = part & ~scipy.ndimage.binary_erosion(part)
    start = np.array([side.start for side in boxes[0]])
    points: Distances = (np.argwhere(surface) + start) * np.asarray(spacing_mm, dtype=np.float64)
    return points


def hd95_mm(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> float:
    """95th percentile of the Hausdorff distance in mm; infinite where one mask is empty, NaN where both are."""
    return surface_distances(reference, prediction, spacing_mm).hausdorff_mm(95.0)


def assd_mm(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance in mm; infinite where one mask is empty, NaN where both are."""
    return surface_distances(reference, prediction, spacing_mm).average_mm()


def nsd(reference: Array, prediction: Array, spacing_mm: Sequence[float], tolerance_mm: float = 1.0) -> float:
    """Normalised surface Dice at `tolerance_mm`; 0 where one mask is empty, NaN where both are."""
    return surface_distances(reference, prediction, spacing_mm).surface_dice(tolerance_mm)
