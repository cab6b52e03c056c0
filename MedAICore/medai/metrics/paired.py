"""Is one method better than another on the same cases? Paired differences with interval and test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

_RESAMPLES = 9999
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first over `cases` pairs; `low`..`high` is the 95 % interval of the mean difference.

    `p` is Wilcoxon's. NaN: too few pairs for it (an interval needs two, a test one that differs counts as p = 1).
    """

    cases: int
    mean_first: float
    mean_second: float
    difference: float
    low: float
    high: float
    p: float


def paired_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> PairedDifference:
    """Compare the values of the same cases, in the same order.

    The interval is the bias-corrected and accelerated bootstrap (Efron 1987) over the cases; the test is the
    signed-rank test (Wilcoxon 1945), two-sided, exact for few cases without ties, zeros ranked by Pratt (1959).
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"values of shape {a.shape} and {b.shape} are no pairs")
    d = b - a
    low, high = _interval(d, seed)
    return PairedDifference(len(d), float(a.mean()), float(b.mean()), float(d.mean()), low, high, _p_value(d))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being several (Holm 1979); NaN stays and does not count."""
    known = sorted((p, n) for n, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    highest = 0.0
    for rank, (p, n) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[n] = highest
    return corrected


def _interval(d: np.ndarray[tuple[int, ...], np.dtype[np.float64]], seed: int) -> tuple[float, float]:
    if len(d) < 2:
        return math.nan, math.nan
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    rng = np.random.default_rng(seed)
    means = d[rng.integers(len(d), size=(_RESAMPLES, len(d)))].mean(axis=1)
    alpha = (1 - _CONFIDENCE) / 2
    # Share of resamples below the mean (half of those that equal it), so that ties of small samples do not shift it.
    below = np.clip((means < d.mean()).mean() + 0.5 * (means == d.mean()).mean(), 1e-6, 1 - 1e-6)
    z0 = scipy.stats.norm.ppf(below)
    jackknife = (d.sum() - d) / (len(d) - 1)
    deviation = jackknife.mean() - jackknife
    acceleration = (deviation**3).sum() / (6.0 * (deviation**2).sum() ** 1.5)
    z = z0 + scipy.stats.norm.ppf([alpha, 1 - alpha])
    share = scipy.stats.norm.cdf(z0 + z / (1 - acceleration * z))
    low, high = np.quantile(means, share)
    return float(low), float(high)


def _p_value(d: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    if not np.any(d):
        return 1.0
    return float(scipy.stats.wilcoxon(d, zero_method="pratt").pvalue)
