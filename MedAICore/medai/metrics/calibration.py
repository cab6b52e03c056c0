"""Temperature and decision threshold of a classifier, fitted on cases that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from medai.config.training import ThresholdRule
from medai.image import Array
from medai.metrics.classification import Numbers, roc_curve

_LOWEST, _HIGHEST = 0.2, 10.0
_CHI_SQUARE_5_PERCENT = 3.841  # of one degree of freedom
_SPECIFICITY = 0.99


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

    1 unless these cases speak against it (likelihood ratio test, 5 %): of few cases a temperature is mostly noise, and
    makes probabilities worse. From 0.2 to 10: few cases that all are right would ask for 0.
    """
    found = scipy.optimize.minimize_scalar(
        lambda t: negative_log_likelihood(logits, labels, float(np.exp(t))),
        bounds=(np.log(_LOWEST), np.log(_HIGHEST)),
        method="bounded",
    )
    gain = negative_log_likelihood(logits, labels, 1.0) - float(found.fun)
    return float(np.exp(found.x)) if 2 * len(labels) * gain > _CHI_SQUARE_5_PERCENT else 1.0


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
    (Youden 1950); ``accuracy``: the best accuracy. One case more or less moves such a maximum far, so that the middle
    (in log odds) of all thresholds within one standard error of it is taken. ``specific``: where 99 in 100 of the other
    class are left alone, for a class that is known to be named too easily elsewhere.
    """
    fpr, tpr, thresholds = roc_curve(probability, positive)
    if rule == "specific":
        return _between(thresholds, int(np.flatnonzero(fpr <= 1 - _SPECIFICITY + 1e-9)[-1]))
    n1, n0 = int(np.sum(positive)), int(np.sum(~np.asarray(positive, dtype=bool)))
    share = n1 / (n1 + n0) if rule == "accuracy" else 0.5  # what sensitivity weighs
    score = share * tpr + (1 - share) * (1 - fpr)
    best = int(score.argmax())
    variance = share**2 * tpr[best] * (1 - tpr[best]) / n1 + (1 - share) ** 2 * fpr[best] * (1 - fpr[best]) / n0
    error = np.sqrt(variance)
    # The connected range around the best one; a threshold lies between a score and the next higher one.
    low = high = best
    while low > 0 and score[low - 1] >= score[best] - error:
        low -= 1
    while high < len(score) - 1 and score[high + 1] >= score[best] - error:
        high += 1
    ends = np.array([_between(thresholds, low), _between(thresholds, high)])
    odds = np.log(ends / (1 - ends)).mean()
    return float(1 / (1 + np.exp(-odds)))


def _between(thresholds: Array, index: int) -> float:
    """Half way from the score at `index` to the next lower one, away from 0 and 1."""
    upper = min(float(thresholds[index]), 1.0)
    lower = float(thresholds[index + 1]) if index + 1 < len(thresholds) else 0.0
    return float(np.clip((upper + lower) / 2, 1e-4, 1 - 1e-4))
