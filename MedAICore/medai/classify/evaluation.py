"""The use case "how good is this classifier": a model on a labelled data set, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medai.classify.curves import curves
from medai.classify.decision import decide, positive_class
from medai.classify.loading import LoadedClassifier
from medai.config.classify import ClassifyConfig
from medai.dataset.classification import LabelledItem, LabelledSet, Split, list_labelled
from medai.dataset.framed import frame_item
from medai.errors import DatasetError
from medai.image import Array
from medai.inference.classification import vote
from medai.metrics import classification as figures
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about labelled cases: `probabilities` (n, classes), `logits`, `predicted`, `labels` (n,).

    `scores` (n,): how unlike the training data they are, None where the model cannot tell.
    """

    names: tuple[str, ...]
    labels: Array
    probabilities: Array
    logits: Array
    predicted: Array
    scores: Array | None
    warnings: tuple[str, ...] = ()


def run(
    dataset: Path,
    model: LoadedClassifier,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> dict[str, Any]:
    """Figures of the model on the data set's test split, or on its validation split, or on all where it has none.

    As plain data: n, auc and accuracy {value, ci95}, balanced_accuracy, sensitivity, specificity, f1, brier, ece,
    confusion (rows: true), and split, classes, positive, warnings, and the curves (roc, reliability). DatasetError
    where there is nothing to measure on.
    """
    found = list_labelled(dataset, model.classes)
    split, items = evaluated_cases(found)
    made = predict(found, items, model, progress, cancelled)
    return {**measured(made, model), "split": split or "all", "warnings": list(made.warnings)}


def evaluated_cases(found: LabelledSet) -> tuple[Split, list[LabelledItem]]:
    """The test split where there is one, else the validation split, else all cases without a split.

    DatasetError where that holds no case: figures on training cases would mean nothing.
    """
    order: tuple[Split, ...] = ("test", "val", "")
    for split in order:
        items = found.part(split)
        if items:
            return split, items
    raise DatasetError(f"'{found.source}' has training cases only.", "Give a data set with a test or validation split.")


def predict(
    found: LabelledSet,
    items: Sequence[LabelledItem],
    model: LoadedClassifier,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> Predictions:
    """The model's probabilities for these cases, a batch at a time."""
    import torch

    stage = Stage(progress, "Evaluating")
    parts: list[tuple[Array, Array, Array | None]] = []
    warnings: dict[str, None] = {}
    for start in range(0, len(items), _BATCH):
        check_cancelled(cancelled)
        framed = [frame_item(found, item, model.framing) for item in items[start : start + _BATCH]]
        warnings.update(dict.fromkeys(note for _, notes in framed for note in notes))
        x = torch.from_numpy(np.stack([one.array for one, _ in framed]))
        votes = vote(x.squeeze(2) if model.planar else x, model, ClassifyConfig(), cancelled)
        parts.append((votes.probabilities, votes.logits, votes.scores))
        stage((start + len(framed)) / len(items))
    probabilities = np.concatenate([part[0] for part in parts])
    names = model.classes
    chosen = [decide(model.card, dict(zip(names, row, strict=True))) for row in probabilities.tolist()]
    scores = None if model.anomaly is None else np.concatenate([part[2] for part in parts if part[2] is not None])
    return Predictions(
        tuple(item.name for item in items),
        np.array([item.label for item in items], dtype=np.int64),
        probabilities,
        np.concatenate([part[1] for part in parts]),
        np.array([names.index(name) for name in chosen], dtype=np.int64),
        scores,
        tuple(warnings),
    )


def measured(made: Predictions, model: LoadedClassifier) -> dict[str, Any]:
    """The figures of predictions as plain data, see `run`.

    Of two classes sensitivity, specificity and F1 are those of the positive class; of more they are means over the
    classes. A figure that is not defined (a class without cases) is NaN.
    """
    labels, probabilities, predicted = made.labels, made.probabilities, made.predicted
    count = len(model.classes)
    figures.check_labels(labels, count)
    confusion = figures.confusion_matrix(labels, predicted, count)
    found = figures.recalls(confusion)
    positive = model.classes.index(positive_class(model.card)) if count == 2 else None
    auc = figures.bootstrap(labels, lambda rows: figures.macro_auc(probabilities[rows], labels[rows]))
    right = predicted == labels
    accuracy = figures.bootstrap(labels, lambda rows: float(right[rows].mean()))
    if positive is not None:
        sensitivity, specificity = float(found[positive]), float(found[1 - positive])
        f1 = figures.f1_score(confusion, positive)
    else:
        sensitivity = float(np.nanmean(found))
        specificity = float(np.nanmean([_specificity(confusion, c) for c in range(count)]))
        f1 = float(np.mean([figures.f1_score(confusion, c) for c in range(count)]))
    return {
        "n": len(labels),
        "auc": {"value": auc.value, "ci95": list(auc.ci95)},
        "accuracy": {"value": accuracy.value, "ci95": list(accuracy.ci95)},
        "balanced_accuracy": float(np.nanmean(found)),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "f1": f1,
        "brier": figures.brier_score(probabilities, labels),
        "ece": figures.calibration_error(probabilities, labels),
        "confusion": confusion.tolist(),
        "classes": list(model.classes),
        "positive": None if positive is None else model.classes[positive],
        **curves(probabilities, labels, model.classes, None if positive is None else model.classes[positive]),
    }


def _specificity(confusion: Array, positive: int) -> float:
    """Part of the cases of all other classes that are not taken for this one."""
    others = confusion.sum() - confusion[positive].sum()
    wrong = confusion[:, positive].sum() - confusion[positive, positive]
    return float(1.0 - wrong / others) if others else float("nan")
