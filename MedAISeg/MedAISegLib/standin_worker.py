"""A worker without torch for the module's self-test: it thresholds, in this process, over the real protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medai.config.requests import LabelFound, ProbabilityMap, SegmentArgs, SegmentValue, TotalFound, WarmModel
from medai.errors import InputError
from medai.image import Image
from medai.label_statistics import label_extents, label_statistics
from medai.labels import Label, LabelScheme
from medai.session import SessionFolder
from MedAICoreLib.standin_worker import StandinWorker, writePackage

SCHEME = LabelScheme((Label(1, "ball", (0.9, 0.6, 0.3)), Label(4, "core", (0.3, 0.6, 0.9))))
THRESHOLDS = {1: 100, 4: 200}
# What the model of the self-test says of its structures: so sure, and a core so small that each one is unusual.
QUALITY = 0.75
USUAL_ML = (0.0001, 0.0002)
MODEL_ID = "selftest-threshold"
PAIR_ID = "selftest-pair"


class ThresholdWorker(StandinWorker):
    """Answers `segment` by thresholds at 100 and 200 of the sum of its inputs."""

    operation = "segment"

    def answer(
        self, arguments: SegmentArgs, requestId: int, session: SessionFolder, loadSeconds: float
    ) -> SegmentValue:
        """The voxels above the thresholds, with the figures and maps that were asked for."""
        return _segment(arguments, requestId, session, loadSeconds)


def writeModel(folder: Path, modelId: str = MODEL_ID, inputs: tuple[str, ...] = ("MR",)) -> Path:
    """A model package that only this worker understands, with an input of each of these names; gives its folder."""
    return writePackage(
        folder,
        modelId,
        title="Self-test: bright ball",
        task="segment",
        network={"name": "unet"},
        inputs=[{"name": name, "modality": "MR"} for name in inputs],
        patch=[16, 16, 16],
        labels=[{"value": label.value, "name": label.name, "color": list(label.color)} for label in SCHEME],
    )


def _sum(images: list[Image]) -> Image:
    """The images added up on the grid of the first one."""
    total = images[0].channel(0).astype(np.float64)
    for image in images[1:]:
        total += _onGrid(image, images[0])
    return Image(total[None], images[0].ijk_to_ras)


def _onGrid(image: Image, target: Image) -> np.ndarray:
    """Linear interpolation by numpy alone; outside of the image its minimum."""
    voxels = image.channel(0).astype(np.float64)
    k, j, i = np.indices(target.shape)
    places = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ target.ijk_to_ras.T @ np.linalg.inv(image.ijk_to_ras).T
    kji = places[..., 2::-1]
    last = np.array(voxels.shape) - 1
    inside = ((kji >= -1e-6) & (kji <= last + 1e-6)).all(axis=-1)
    base = np.clip(np.floor(kji).astype(int), 0, np.maximum(last - 1, 0))
    part = np.clip(kji - base, 0.0, 1.0)
    found = np.zeros(target.shape)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1.0 - part), axis=-1)
        index = np.minimum(base + corner, last)
        found += weight * voxels[index[..., 0], index[..., 1], index[..., 2]]
    return np.where(inside, found, voxels.min())


def _maps(arguments: SegmentArgs, requestId: int, session: SessionFolder, image: Image) -> dict[str, Any]:
    """A probability of 0.75 where a label is, and an entropy of 0.5 everywhere, where they are asked for."""
    made: dict[str, Any] = {}
    if "probabilities" in arguments.config.outputs:
        made["probabilities"] = tuple(
            ProbabilityMap(value, session.put_image(f"r{requestId}-p{value}.raw", Image(array, image.ijk_to_ras)))
            for value, threshold in THRESHOLDS.items()
            for array in [np.where(image.array > threshold, np.float32(0.75), np.float32(0))]
        )
    if "entropy" in arguments.config.outputs:
        half = Image(np.full(image.array.shape, 0.5, np.float32), image.ijk_to_ras)
        made["entropy"] = session.put_image(f"r{requestId}-e.raw", half)
    return made


def _segment(arguments: SegmentArgs, requestId: int, session: SessionFolder, loadSeconds: float) -> SegmentValue:
    image = _sum([session.take_image(reference) for reference in arguments.images])
    if not np.isfinite(image.array).all():
        raise InputError("The image has voxels that are not finite.", "Correct it.")
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
                found.value,
                found.name,
                found.voxels,
                found.volume_ml,
                found.mean,
                found.standard_deviation,
                corners,
                QUALITY if extent else None,
                USUAL_ML if found.name == "core" else None,
            )
        )
    voxels = sum(found.voxels for found in statistics)
    return SegmentValue(
        session.put_image(f"r{requestId}-1.raw", label_map),
        SCHEME.labels,
        WarmModel(MODEL_ID, "1.0.0", "cpu", 0.0),
        {"load_model": loadSeconds, "inference": 0.0},
        None,
        "self-test",
        arguments.config.precision,
        tuple(statistics),
        totals=(TotalFound("whole ball", voxels, voxels * label_map.voxel_volume_ml),),
        **_maps(arguments, requestId, session, image),
    )
