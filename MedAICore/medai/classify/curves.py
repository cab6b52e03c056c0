"""ROC and reliability curves of a classifier, as plain data that a panel can plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medai.image import Array
from medai.metrics import classification as figures

# A curve is drawn, not measured: the figures beside it come from all cases.
_MOST_POINTS = 101


def curves(probabilities: Array, labels: Array, classes: Sequence[str], positive: str | None) -> dict[str, Any]:
    """`roc`: [{class, false_positive_rate, true_positive_rate, auc}]; `reliability`: {confidence, accuracy, cases}.

    `probabilities` (n, classes), `labels` (n,). Of two classes the ROC curve is that of the `positive` one; of more
    there is one for each class against the rest that has cases. The reliability curve has a point for each bin of the
    top class's probability that is not empty (Guo et al. 2017).
    """
    shown = range(len(classes)) if positive is None else [list(classes).index(positive)]
    bins = figures.reliability(probabilities, labels)
    return {
        "roc": [
            _roc(probabilities[:, index], labels == index, classes[index])
            for index in shown
            if 0 < int((labels == index).sum()) < len(labels)
        ],
        "reliability": {
            "confidence": [round(mean, 4) for mean, _, _ in bins],
            "accuracy": [round(right, 4) for _, right, _ in bins],
            "cases": [count for _, _, count in bins],
        },
    }


def _roc(scores: Array, hits: Array, name: str) -> dict[str, Any]:
    fpr, tpr, _ = figures.roc_curve(scores, hits)
    kept = _corners(fpr, tpr)
    return {
        "class": name,
        "false_positive_rate": [round(float(x), 4) for x in fpr[kept]],
        "true_positive_rate": [round(float(x), 4) for x in tpr[kept]],
        "auc": round(figures.auc(scores, hits), 4),
    }


def _corners(fpr: Array, tpr: Array) -> Array:
    """Indices of the points that a picture needs: both ends, and where the curve turns, thinned evenly."""
    inner = np.arange(1, len(fpr) - 1)
    along_x = (fpr[inner] == fpr[inner - 1]) & (fpr[inner] == fpr[inner + 1])
    along_y = (tpr[inner] == tpr[inner - 1]) & (tpr[inner] == tpr[inner + 1])
    kept = np.r_[0, inner[~along_x & ~along_y], len(fpr) - 1]
    if len(kept) > _MOST_POINTS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, _MOST_POINTS).round().astype(int))]
    return kept
