"""All metrics of one label at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from medai.image import Array, Box
from medai.metrics.overlap import dice, volume_ml
from medai.metrics.surface import surface_distances


@dataclass(frozen=True)
class Comparison:
    """How well a prediction meets its reference for one label. NaN: both are empty; infinite: one of them is."""

    dice: float
    hd95_mm: float
    assd_mm: float
    nsd: float
    reference_ml: float
    prediction_ml: float


def compare(reference: Array, prediction: Array, spacing_mm: Sequence[float], tolerance_mm: float = 1.0) -> Comparison:
    """Every metric of two masks (k, j, i) on one grid, computed inside the box around both."""
    if reference.shape != prediction.shape:
        raise ValueError(f"masks of shape {reference.shape} and {prediction.shape}")
    box = _union_box(reference, prediction)
    reference, prediction = reference[box].astype(bool, copy=False), prediction[box].astype(bool, copy=False)
    distances = surface_distances(reference, prediction, spacing_mm)
    return Comparison(
        dice=dice(reference, prediction),
        hd95_mm=distances.hausdorff_mm(95.0),
        assd_mm=distances.average_mm(),
        nsd=distances.surface_dice(tolerance_mm),
        reference_ml=volume_ml(reference, spacing_mm),
        prediction_ml=volume_ml(prediction, spacing_mm),
    )


def _union_box(reference: Array, prediction: Array) -> Box:
    union = np.logical_or(reference, prediction).view(np.uint8)
    boxes = scipy.ndimage.find_objects(union)
    if not boxes or boxes[0] is None:
        return slice(0, 1), slice(0, 1), slice(0, 1)
    box: Box = boxes[0]
    return box
