"""A worker without torch for the module's self-test: it thresholds, in this process, over the real protocol."""

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
from medai.config.requests import Device, LabelFound, SegmentArgs, SegmentValue, WarmModel
from medai.errors import MedAIError
from medai.image import Image
from medai.label_statistics import label_extents, label_statistics
from medai.labels import Label, LabelScheme
from medai.session import SessionFolder

SCHEME = LabelScheme((Label(1, "ball", (0.9, 0.6, 0.3)), Label(4, "core", (0.3, 0.6, 0.9))))
THRESHOLDS = {1: 100, 4: 200}
MODEL_ID = "selftest-threshold"


def makeTransport() -> InProcessTransport:
    """A transport whose worker answers `segment` by thresholds at 100 and 200."""
    hello = Hello(PROTOCOL_VERSION, medai.__version__, 1, ("segment",), (Device("cpu", "cpu", "self-test"),))
    return InProcessTransport(_run, encode(hello))


def writeModel(folder: Path) -> Path:
    """A model package that only this worker understands; gives its folder."""
    package = folder / MODEL_ID
    package.mkdir(parents=True)
    card = {
        "format": 1,
        "id": MODEL_ID,
        "version": "1.0.0",
        "title": "Self-test: bright ball",
        "task": "segment",
        "network": {"name": "unet"},
        "weights": [{"file": "weights.safetensors", "sha256": "0" * 64}],
        "inputs": [{"name": "MR", "modality": "MR"}],
        "licence": "Apache-2.0",
        "spacing_mm": [1.0, 1.0, 1.0],
        "patch": [16, 16, 16],
        "labels": [{"value": label.value, "name": label.name, "color": list(label.color)} for label in SCHEME],
    }
    (package / "model.json").write_text(json.dumps(card), encoding="utf-8")
    return package


def _run(
    request: Request, emit: Callable[[bytes], None], cancelled: Callable[[], bool], session: SessionFolder
) -> None:
    arguments: Any = arguments_of(request)
    try:
        emit(encode(ProgressEvent(request.id, 0.5, "Thresholding")))
        value = _segment(arguments, request.id, session)
        emit(encode(ResultEvent(request.id, to_json(value))))
    except MedAIError as error:
        emit(encode(ErrorEvent(error.code, error.message, error.remedy, request.id)))


def _segment(arguments: SegmentArgs, requestId: int, session: SessionFolder) -> SegmentValue:
    image = session.take_image(arguments.images[0])
    labels = np.zeros(image.shape, np.uint8)
    for value, threshold in THRESHOLDS.items():
        labels[image.channel(0) > threshold] = value
    box = arguments.config.roi.index_box(image) if arguments.config.roi else (slice(None),) * 3
    inside = np.zeros_like(labels)
    inside[box] = labels[box]
    label_map = Image(inside[None], image.ijk_to_ras)
    extents = label_extents(inside)
    statistics = []
    for found in label_statistics(label_map, SCHEME, image, extents):
        extent = extents.get(found.value)
        corners = tuple(n for side in extent.box for n in (side.start, side.stop)) if extent else None
        statistics.append(
            LabelFound(
                found.value, found.name, found.voxels, found.volume_ml, found.mean, found.standard_deviation, corners
            )
        )
    return SegmentValue(
        session.put_image(f"r{requestId}-1.raw", label_map),
        SCHEME.labels,
        WarmModel(MODEL_ID, "1.0.0", "cpu", 0.0),
        {"load_model": 0.0, "inference": 0.0},
        None,
        "self-test",
        arguments.config.precision,
        tuple(statistics),
    )
