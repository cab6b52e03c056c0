"""How good class probabilities are: ranking, decisions, calibration, with bootstrap confidence intervals.

Arrays: `probabilities` (n, classes), `labels` (n,) class indices, `predicted` (n,) class indices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medai.errors import DatasetError
from medai.image import Array

Numbers = npt.NDArray[np.float64]
BINS = 15
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % confidence interval."""

    value: float
    ci95: tuple[float, float]


def auc(scores: Array, positive: Array) -> float:
    """Area under the ROC curve: the chance that a positive case has the higher score, ties counting half.

    Mann-Whitney's U over the number of pairs (Hanley and McNeil 1982). NaN where one of the classes is missing.
    """
    positive = np.asarray(positive, dtype=bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if n1 == 0 or n0 == 0:
        return float("nan")
    ranks = _mean_ranks(np.asarray(scores, dtype=np.float64))
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def macro_auc(probabilities: Array, labels: Array) -> float:
    """AUC of two classes; of more the mean of each class against the rest, over those that occur."""
    if probabilities.shape[1] == 2:
        return auc(probabilities[:, 1], labels == 1)
    parts = [auc(probabilities[:, c], labels == c) for c in range(probabilities.shape[1])]
    known = [part for part in parts if np.isfinite(part)]
    return float(np.mean(known)) if known else float("nan")


def roc_curve(scores: Array, positive: Array) -> tuple[Numbers, Numbers, Numbers]:
    """False positive rate, true positive rate and threshold at every distinct score, from the strictest on."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    sorted_scores, hits = np.asarray(scores, dtype=np.float64)[order], np.asarray(positive, dtype=bool)[order]
    last = np.r_[np.flatnonzero(np.diff(sorted_scores)), len(hits) - 1]
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    tpr = np.r_[0.0, true / max(int(hits.sum()), 1)]
    fpr = np.r_[0.0, false / max(int((~hits).sum()), 1)]
    return fpr, tpr, np.r_[np.inf, sorted_scores[last]]


def confusion_matrix(labels: Array, predicted: Array, classes: int) -> npt.NDArray[np.int64]:
    """Counts (classes, classes): rows are the true classes, columns the predicted ones."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: Array) -> Numbers:
    """Part of each class's cases that is found; NaN for a class without cases."""
    totals = confusion.sum(axis=1).astype(np.float64)
    totals[totals == 0] = np.nan
    result: Numbers = np.diag(confusion) / totals
    return result


def f1_score(confusion: Array, positive: int) -> float:
    """2 TP / (2 TP + FP + FN) of one class; 0 where it neither occurs nor is predicted."""
    hit = float(confusion[positive, positive])
    total = float(confusion[positive].sum() + confusion[:, positive].sum())
    return 2 * hit / total if total else 0.0


def brier_score(probabilities: Array, labels: Array) -> float:
    """Mean squared difference from the truth (Brier 1950): of two classes that of the second one, 0 to 1.

    Of more than two classes the differences of all classes are summed, 0 to 2, as Brier defined it.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    squares = (probabilities - truth) ** 2
    return float(squares[:, 1].mean() if probabilities.shape[1] == 2 else squares.sum(axis=1).mean())


def calibration_error(probabilities: Array, labels: Array, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, On Calibration of Modern Neural Networks, ICML, equation 3).

    Over `bins` equal widths of the top class's probability: the mean of |share that is right - mean probability|,
    weighted by the number of cases.
    """
    return float(sum(count * abs(right - mean) for mean, right, count in reliability(probabilities, labels, bins))
                 / max(len(labels), 1))  # fmt: skip


def reliability(probabilities: Array, labels: Array, bins: int = BINS) -> list[tuple[float, float, int]]:
    """(mean probability of the top class, share that is right, cases) of every bin that is not empty."""
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    index = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for n in range(bins):
        inside = index == n
        if inside.any():
            found.append((float(top[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    return found


def perfect_calibration_limit(
    probabilities: Array, percentile: float = 95.0, draws: int = 2000, seed: int = 0
) -> float:
    """The percentile of the calibration error of a model whose probabilities are exactly right, at these cases.

    Labels are drawn from the probabilities themselves; even a perfect model has an error above 0 with few cases.
    """
    rng = np.random.default_rng(seed)
    cumulated = probabilities.cumsum(axis=1)
    errors = []
    for _ in range(draws):
        labels = (rng.random(len(probabilities))[:, None] > cumulated[:, :-1]).sum(axis=1)
        errors.append(calibration_error(probabilities, labels))
    return float(np.percentile(errors, percentile))


def bootstrap(
    labels: Array, statistic: Callable[[Array], float], resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """`statistic` of all rows, and its 95 % interval over resamples drawn with replacement within each class.

    `statistic` gets row indices. Percentile interval (Efron and Tibshirani 1993); the classes keep their numbers.
    """
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    values = []
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
        values.append(statistic(rows))
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(statistic(np.arange(len(labels))), (float(low), float(high)))


def check_labels(labels: Array, classes: int) -> None:
    """DatasetError where there is no case, or a label that is no class."""
    if not len(labels):
        raise DatasetError("There is no case to evaluate.", "Give a data set with a test or validation split.")
    if labels.min() < 0 or labels.max() >= classes:
        raise DatasetError(f"A label is {int(labels.max())}; there are {classes} classes.", "Correct the labels.")


def _mean_ranks(values: Numbers) -> Numbers:
    """Ranks from 1 on; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: Numbers = (last - (counts - 1) / 2)[inverse]
    return ranks
