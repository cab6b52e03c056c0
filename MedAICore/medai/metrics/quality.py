"""From the network's certainty about a structure to the Dice coefficient that can be expected of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.stats

from medai.config.label_rules import QualitySpec
from medai.errors import DatasetError

_FEWEST = 10
_POINTS = 8


def fit_quality(certainty: Sequence[float], dice: Sequence[float], low: float = 0.6) -> QualitySpec:
    """The rising curve through pairs of certainty and Dice coefficient, one for each structure of each case.

    Isotonic regression (Barlow et al. 1972), then means over equal parts of the pairs as points, and a line from there
    to 0 at no certainty, of which there are no pairs. The cases must be ones that the network was not trained on.
    Structures that were missed have no certainty and do not belong here. Raises DatasetError for fewer than ten pairs,
    or where all certainties are alike.
    """
    x, y = np.asarray(certainty, np.float64), np.asarray(dice, np.float64)
    if len(x) != len(y) or len(x) < _FEWEST or x.max() - x.min() < 1e-3:
        raise DatasetError(
            f"{len(x)} certainties and {len(y)} Dice coefficients are too few, or all alike, for a curve.",
            f"Give {_FEWEST} pairs or more, of good and of bad structures.",
        )
    order = np.argsort(x, kind="stable")
    rising = scipy.optimize.isotonic_regression(y[order]).x
    points = [(0.0, 0.0)]
    for part in np.array_split(np.arange(len(x)), min(_POINTS, len(x) // 2)):
        at, value = round(float(x[order][part].mean()), 3), round(float(rising[part].mean()), 3)
        if at > points[-1][0]:
            points.append((at, value))
    return QualitySpec(tuple(a for a, _ in points), tuple(b for _, b in points), low)


def rank_correlation(certainty: Sequence[float], dice: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN where either is constant."""
    if len(set(certainty)) < 2 or len(set(dice)) < 2:
        return float("nan")
    return float(scipy.stats.spearmanr(certainty, dice).statistic)
