"""The operation classify: volumes, regions and segments through a model that stays loaded."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import TYPE_CHECKING

from medai.config.requests import AnomalyFound, Classified, ClassifyArgs, ClassifyValue, WarmModel
from medai.labels import LabelScheme
from medai.progress import Progress, check_cancelled
from medai.worker.package_files import files_signature, locate, network_memory_mb
from medai.worker.run import Run

if TYPE_CHECKING:
    from medai.classify import ClassifiedItem, LoadedClassifier


def classify(args: ClassifyArgs, run: Run) -> ClassifyValue:
    """Classify all items of the request; the model is loaded once, and only where it is not warm."""
    from medai import classify as use_case
    from medai.inference import choose_device
    from medai.models import open_model

    root = locate(args.model)
    images = [run.take(ref) for ref in args.images]
    label_map = run.take(args.label_map) if args.label_map is not None else None
    device = choose_device(args.config.device)

    def load() -> tuple[LoadedClassifier, WarmModel]:
        run.progress(Progress(0.0, "Loading the model"))
        package = open_model(root)
        model = use_case.load_model(package, device)
        return model, WarmModel(package.card.id, package.card.version, str(device), network_memory_mb(model))

    key: Hashable = ("classify", root, files_signature(root), str(device))
    warm = run.models.get(key, load)
    check_cancelled(run.cancelled)
    result = use_case.run(
        args.config,
        images,
        warm.model,
        args.rois,
        label_map,
        LabelScheme(args.labels) if args.labels else None,
        run.progress,
        run.cancelled,
    )
    started_s = time.perf_counter()
    heat_map = run.put(result.heat_map) if result.heat_map is not None else None
    seconds = {**result.seconds, "load_model": warm.seconds, "write": time.perf_counter() - started_s}
    return ClassifyValue(
        tuple(_classified(item) for item in result.items),
        warm.entry,
        heat_map,
        seconds,
        result.engine,
        tuple(result.warnings),
    )


def _classified(item: ClassifiedItem) -> Classified:
    anomaly = item.anomaly
    found = AnomalyFound(anomaly.score, anomaly.threshold, anomaly.flag) if anomaly is not None else None
    return Classified(item.name, dict(item.probabilities), item.predicted, item.value, found, tuple(item.warnings))
