"""Temperature and decision threshold of a classifier, fitted on cases that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from medai.config.training import ThresholdRule
from medai.image import Array
from medai.metrics.classification import Numbers, roc_curve

_LOWEST, _HIGHEST = 0.2, 10.0


def softmax(logits: Array) -> Numbers:
    """Probabilities (n, classes) of logits."""
    z = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Numbers = z / z.sum(axis=1, keepdims=True)
    return result


def negative_log_likelihood(logits: Array, labels: Array, temperature: float) -> float:
    """Mean of -log of the true class's probability at this temperature."""
    z = logits / temperature
    z = z - z.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(z).sum(axis=1))
    return float((log_total - z[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: Array, labels: Array) -> float:
    """The number by which logits (n, classes) are to be divided, of the greatest likelihood (Guo et al. 2017).

    0.2 to 10: few cases that all are right would ask for 0.
    """
    found = scipy.optimize.minimize_scalar(
        lambda t: negative_log_likelihood(logits, labels, float(np.exp(t))),
        bounds=(np.log(_LOWEST), np.log(_HIGHEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def cross_fitted(logits: Array, labels: Array, parts: Sequence[Sequence[int]]) -> Numbers:
    """Probabilities of each part with the temperature that was fitted on the other parts, so that they are honest."""
    result = np.zeros(logits.shape, dtype=np.float64)
    every = np.arange(len(labels))
    for part in parts:
        rest = np.setdiff1d(every, np.asarray(part))
        result[list(part)] = softmax(logits[list(part)] / fit_temperature(logits[rest], labels[rest]))
    return result


def choose_threshold(probability: Array, positive: Array, rule: ThresholdRule = "balanced") -> float:
    """The probability of the positive class from which it is named.

    ``balanced``: the best balanced accuracy, which is where Youden's J = sensitivity + specificity - 1 is largest
    (Youden 1950). One case more or less moves that maximum far, so that the middle (in log odds) of all thresholds
    within one standard error of it is taken. ``specific``: the highest of these, for a class that is named too easily.
    ``accuracy``: the middle of those within one standard error of the best accuracy.
    """
    fpr, tpr, thresholds = roc_curve(probability, positive)
    n1, n0 = int(np.sum(positive)), int(np.sum(~np.asarray(positive, dtype=bool)))
    if rule == "accuracy":
        score = (tpr * n1 + (1 - fpr) * n0) / (n1 + n0)
        best = int(score.argmax())
        error = np.sqrt(max(score[best] * (1 - score[best]), 1e-12) / (n1 + n0))
    else:
        score = (tpr + 1 - fpr) / 2
        best = int(score.argmax())
        variance = tpr[best] * (1 - tpr[best]) / n1 + fpr[best] * (1 - fpr[best]) / n0
        error = np.sqrt(max(variance, 1e-12)) / 2
    # The connected range around the best one; a threshold lies between a score and the next higher one.
    low = high = best
    while low > 0 and score[low - 1] >= score[best] - error:
        low -= 1
    while high < len(score) - 1 and score[high + 1] >= score[best] - error:
        high += 1
    strict = _between(thresholds, low)
    if rule == "specific":
        return strict
    loose = _between(thresholds, high)
    odds = (np.log(strict / (1 - strict)) + np.log(loose / (1 - loose))) / 2
    return float(1 / (1 + np.exp(-odds)))


def _between(thresholds: Array, index: int) -> float:
    """Half way from the score at `index` to the next lower one, away from 0 and 1."""
    upper = min(float(thresholds[index]), 1.0)
    lower = float(thresholds[index + 1]) if index + 1 < len(thresholds) else 0.0
    return float(np.clip((upper + lower) / 2, 1e-4, 1 - 1e-4))
