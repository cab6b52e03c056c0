"""One image through one classifier: from images as they came to probabilities, and where they come from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from medai.classify.decision import decide
from medai.classify.heat import HeatMap
from medai.classify.items import Item, Scene, channels_of
from medai.classify.loading import LoadedClassifier
from medai.config.classify import ClassifyConfig
from medai.errors import InputError, ModelError
from medai.image import Image, Roi
from medai.inference.anomaly import Anomaly
from medai.inference.classification import Votes, vote
from medai.labels import LabelScheme
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

if TYPE_CHECKING:
    import torch

_BATCH = 16


@dataclass(frozen=True)
class ClassifiedItem:
    """What one volume, ROI or segment is. `probabilities` by class name sum to 1; `value`: its label, if any."""

    name: str
    value: int | None
    probabilities: dict[str, float]
    predicted: str
    anomaly: Anomaly | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ClassifyResult:
    """The items in their order; `heat_map` float32 0..1 on the first image's grid, the maximum over the items."""

    items: tuple[ClassifiedItem, ...]
    heat_map: Image | None
    seconds: dict[str, float]
    engine: str
    warnings: tuple[str, ...]


def run(
    config: ClassifyConfig,
    images: Sequence[Image],
    model: LoadedClassifier,
    rois: Sequence[Roi] = (),
    label_map: Image | None = None,
    labels: LabelScheme | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> ClassifyResult:
    """Classify the volume, or each of the `rois`, or each label of `label_map` (those of `labels`, if given).

    `images` are the channels in the model's order; a model that looks at masks alone takes the label map, or a mask as
    its one image. Raises InputError, GeometryError, ModelError, and Cancelled.
    """
    started_s = time.perf_counter()
    _check_request(config, images, model, rois, label_map)
    image, warnings = _channels(images, label_map, model)
    scene = Scene(image, rois, label_map, labels)
    heat = HeatMap.start(config, model, images[0] if images else image)
    stage, total = Stage(progress, "Classifying"), scene.count()
    found: list[ClassifiedItem] = []
    seconds = {"load_model": 0.0, "preprocess": time.perf_counter() - started_s, "inference": 0.0, "explain": 0.0}
    items = scene.items(model)
    while batch := _next_batch(items, seconds, cancelled):
        since = time.perf_counter()
        votes = vote(_tensor(batch, model), model, config, cancelled)
        results = [_result(item, votes, n, model) for n, item in enumerate(batch)]
        seconds["inference"] += time.perf_counter() - since
        since = time.perf_counter()
        for number, (item, result) in enumerate(zip(batch, results, strict=True), start=len(found)):
            check_cancelled(cancelled)
            heat.add(item.framed, result.predicted, cancelled, lambda part, n=number: stage((n + part) / total))  # type: ignore[misc]
        seconds["explain"] += time.perf_counter() - since
        found += results
        stage(len(found) / total)
    stage(1.0)
    notes = tuple(dict.fromkeys([*warnings, *(note for item in found for note in item.warnings)]))
    return ClassifyResult(tuple(found), heat.image, seconds, "torch", notes)


def _check_request(
    config: ClassifyConfig,
    images: Sequence[Image],
    model: LoadedClassifier,
    rois: Sequence[Roi],
    label_map: Image | None,
) -> None:
    if rois and label_map is not None:
        raise InputError("Both ROIs and segments were given.", "Give one of them.")
    if model.mask_inputs and model.image_inputs and label_map is None:
        raise InputError(
            f"Model '{model.card.id}' looks at a structure and its surroundings, and no segmentation was given.",
            "Give the segmentation whose segments are to be classified (--segments).",
        )
    if config.explain_class and config.explain_class not in model.classes:
        raise InputError(
            f"Model '{model.card.id}' knows no class '{config.explain_class}'.", f"Use {', '.join(model.classes)}."
        )
    if config.explain and not images and label_map is None:
        raise InputError("A heat map needs an image.", "Give the volume.")


def _channels(images: Sequence[Image], label_map: Image | None, model: LoadedClassifier) -> tuple[Image, list[str]]:
    if label_map is not None and model.image_inputs == 0:
        return label_map, []
    return channels_of(images, model)


def _next_batch(items: Iterator[Item], seconds: dict[str, float], cancelled: CancelCheck) -> list[Item]:
    since = time.perf_counter()
    check_cancelled(cancelled)
    batch = list(islice(items, _BATCH))
    seconds["preprocess"] += time.perf_counter() - since
    return batch


def _tensor(batch: Sequence[Item], model: LoadedClassifier) -> torch.Tensor:
    """The inputs (b, c, k, j, i), or (b, c, j, i) for a 2D network."""
    import torch

    x = torch.from_numpy(np.stack([item.framed.array for item in batch]))
    return x.squeeze(2) if model.planar else x


def _result(item: Item, votes: Votes, number: int, model: LoadedClassifier) -> ClassifiedItem:
    row = votes.probabilities[number]
    if len(row) != len(model.classes):
        raise ModelError(
            f"The network of model '{model.card.id}' gives {len(row)} classes; its card lists {len(model.classes)}.",
            "The package is damaged.",
        )
    if not np.isfinite(row).all():
        raise ModelError(
            f"The network of model '{model.card.id}' gave values that are not finite for '{item.name}'.",
            "The model is damaged, or the image is very unlike its training data.",
        )
    probabilities = {name: float(p) for name, p in zip(model.classes, row, strict=True)}
    warnings = list(item.warnings)
    anomaly = None
    if votes.scores is not None and model.anomaly is not None:
        anomaly = model.anomaly.judge(float(votes.scores[number]))
        if anomaly.flag:
            warnings.append(
                f"'{item.name}' is unlike the images that model '{model.card.id}' was trained on (score "
                f"{anomaly.score:.2f}, usual below {anomaly.threshold:.2f}): do not rely on its class."
            )
    predicted = decide(model.card, probabilities)
    return ClassifiedItem(item.name, item.value, probabilities, predicted, anomaly, tuple(warnings))
