"""A worker without torch for the module's self-test: it compares means, in this process, over the real protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import medai
from medai.client import InProcessTransport
from medai.config import to_json
from medai.config.messages import (
    PROTOCOL_VERSION,
    ErrorEvent,
    Hello,
    ProgressEvent,
    Request,
    ResultEvent,
    arguments_of,
    encode,
)
from medai.config.requests import AnomalyFound, Classified, ClassifyArgs, ClassifyValue, Device, WarmModel
from medai.errors import MedAIError
from medai.image import Image
from medai.session import SessionFolder

MODEL_ID = "selftest-brightness"
CLASSES = ("dark", "bright")
# Means of 0 to 200 are usual; beyond that the item is unlike anything seen.
BRIGHT, UNUSUAL = 100.0, 200.0


class StandinWorker:
    """Counts its model loads and requests; `makeTransport` gives the transport of a client."""

    def __init__(self) -> None:
        self.loads = 0
        self.requests: list[ClassifyArgs] = []

    def makeTransport(self) -> InProcessTransport:
        """A transport whose worker answers `classify` by the mean intensity of each item."""
        hello = Hello(PROTOCOL_VERSION, medai.__version__, 1, ("classify",), (Device("cpu", "cpu", "self-test"),))
        return InProcessTransport(self._run, encode(hello))

    def _run(
        self, request: Request, emit: Callable[[bytes], None], cancelled: Callable[[], bool], session: SessionFolder
    ) -> None:
        arguments: Any = arguments_of(request)
        self.requests.append(arguments)
        try:
            emit(encode(ProgressEvent(request.id, 0.5, "Comparing")))
            emit(encode(ResultEvent(request.id, to_json(self._classify(arguments, request.id, session)))))
        except MedAIError as error:
            emit(encode(ErrorEvent(error.code, error.message, error.remedy, request.id)))

    def _classify(self, arguments: ClassifyArgs, requestId: int, session: SessionFolder) -> ClassifyValue:
        images = [session.take_image(reference) for reference in arguments.images]
        labelMap = session.take_image(arguments.label_map) if arguments.label_map is not None else None
        first = not self.loads
        self.loads += first
        image = images[0] if images else labelMap
        items, heat = [], np.zeros(image.array.shape, np.float32)
        for name, value, where in _items(arguments, image, labelMap):
            voxels = image.channel(0)[where]
            probability = float(np.clip(voxels.mean() / (2 * BRIGHT), 0.0, 1.0))
            anomaly = AnomalyFound(float(voxels.mean()), UNUSUAL, bool(voxels.mean() > UNUSUAL))
            shares = {"dark": 1.0 - probability, "bright": probability}
            predicted = "bright" if probability >= 0.5 else "dark"
            items.append(Classified(name, shares, predicted, value, anomaly))
            heat[0][where] = np.maximum(heat[0][where], voxels / max(float(voxels.max()), 1.0))
        reference = None
        if arguments.config.explain:
            reference = session.put_image(f"r{requestId}-1.raw", Image(heat, image.ijk_to_ras))
        return ClassifyValue(
            tuple(items),
            WarmModel(MODEL_ID, "1.0.0", "cpu", 0.0),
            reference,
            {"load_model": float(first), "inference": 0.0},
            "self-test",
            tuple(f"'{item.name}' is unlike the training data." for item in items if item.anomaly.flag),
        )


def _items(arguments: ClassifyArgs, image: Image, labelMap: Image | None) -> list[tuple[str, int | None, Any]]:
    if labelMap is not None:
        labels = labelMap.channel(0)
        return [(label.name, label.value, labels == label.value) for label in arguments.labels]
    if arguments.rois:
        return [(f"ROI {n}", None, roi.index_box(image)) for n, roi in enumerate(arguments.rois, 1)]
    return [(image.name, None, (slice(None),) * 3)]


def writeModel(folder: Path, modelId: str = MODEL_ID, **changes: Any) -> Path:
    """A model package that only this worker understands; gives its folder."""
    package = folder / modelId
    package.mkdir(parents=True)
    card = {
        "format": 1,
        "id": modelId,
        "version": "1.0.0",
        "title": "Self-test: brightness",
        "task": "classify",
        "network": {"name": "seed_cnn"},
        "weights": [{"file": "weights.safetensors", "sha256": "0" * 64}],
        "inputs": [{"name": "MR", "modality": "MR"}],
        "licence": "Apache-2.0",
        "spacing_mm": [1.0, 1.0, 1.0],
        "patch": [8, 8, 8],
        "classes": [{"name": name} for name in CLASSES],
        "training": {
            "metrics": {
                "roc": [
                    {
                        "class": "bright",
                        "false_positive_rate": [0.0, 0.2, 1.0],
                        "true_positive_rate": [0.0, 0.9, 1.0],
                        "auc": 0.85,
                    }
                ],
                "reliability": {"confidence": [0.6, 0.9], "accuracy": [0.55, 0.92], "cases": [20, 80]},
            }
        },
    }
    (package / "model.json").write_text(json.dumps({**card, **changes}), encoding="utf-8")
    return package
