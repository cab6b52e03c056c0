"""Overlap and volume of two masks (k, j, i)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medai.image import Array


def dice(reference: Array, prediction: Array) -> float:
    """Dice coefficient 2|A and B| / (|A| + |B|) (Dice 1945); NaN where both masks are empty, 0 where one is."""
    reference, prediction = reference.astype(bool, copy=False), prediction.astype(bool, copy=False)
    total = np.count_nonzero(reference) + np.count_nonzero(prediction)
    if total == 0:
        return math.nan
    return 2.0 * np.count_nonzero(reference & prediction) / total


def volume_ml(mask: Array, spacing_mm: Sequence[float]) -> float:
    """Volume of the mask in millilitres; `spacing_mm` along (k, j, i)."""
    return float(np.count_nonzero(mask)) * math.prod(spacing_mm) / 1000.0
