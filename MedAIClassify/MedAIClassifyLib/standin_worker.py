"""A worker without torch for the module's self-test: it compares means, in this process, over the real protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medai.config.requests import AnomalyFound, Classified, ClassifyArgs, ClassifyValue, WarmModel
from medai.image import Image
from medai.session import SessionFolder
from MedAICoreLib.standin_worker import StandinWorker, writePackage

MODEL_ID = "selftest-brightness"
CLASSES = ("dark", "bright")
# Means of 0 to 200 are usual; beyond that the item is unlike anything seen.
BRIGHT, UNUSUAL = 100.0, 200.0


class MeanWorker(StandinWorker):
    """Answers `classify` by the mean intensity of each item."""

    operation = "classify"

    def answer(
        self, arguments: ClassifyArgs, requestId: int, session: SessionFolder, loadSeconds: float
    ) -> ClassifyValue:
        """Bright or dark, with a heat map of the intensities where one is asked for."""
        images = [session.take_image(reference) for reference in arguments.images]
        labelMap = session.take_image(arguments.label_map) if arguments.label_map is not None else None
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
            {"load_model": loadSeconds, "inference": 0.0},
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
    card = {
        "title": "Self-test: brightness",
        "task": "classify",
        "network": {"name": "seed_cnn"},
        "inputs": [{"name": "MR", "modality": "MR"}],
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
    return writePackage(folder, modelId, **{**card, **changes})
