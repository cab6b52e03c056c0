"""Logits at the network's spacing to labels on the image's grid: by nnU-Net's export, by MedAI."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks import nnunet, volumes
from benchmarks.measurement import measure, with_threads

MODEL_SPACING_MM = (1.5, 1.5, 1.5)


def by_nnunet(
    classes: int, source: list[int], target: list[int], threads: int, labels: str | None = None
) -> dict[str, Any]:
    """`convert_predicted_logits_to_segmentation_with_correct_shape`: skimage's resize per class, then argmax."""
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    about = with_threads(threads)
    logits = volumes.logits(classes, (source[0], source[1], source[2]))
    plans_manager = PlansManager(nnunet.plans((96, 96, 96), MODEL_SPACING_MM))
    label_manager = plans_manager.get_label_manager(nnunet.dataset(classes))
    about["argument"] = str(logits.dtype)

    def convert() -> np.ndarray:
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            plans_manager,
            plans_manager.get_configuration("3d_fullres"),
            label_manager,
            nnunet.properties(target, _spacing_mm(source, target)),
            num_threads_torch=threads,
        )

    found, figures = measure(convert)
    return _finish(found, labels, {**about, **figures})


def by_medai(
    classes: int, source: list[int], target: list[int], threads: int, labels: str | None = None
) -> dict[str, Any]:
    """`medai.preprocessing.invert_logits`: linear interpolation by slab, running maximum over the classes."""
    from medai.preprocessing import invert_logits
    from medai.preprocessing.orientation import closest_to_ras
    from medai.preprocessing.record import Record

    about = with_threads(threads)
    logits = volumes.logits(classes, (source[0], source[1], source[2]))
    k, j, i = _spacing_mm(source, target)
    affine = np.diag([i, j, k, 1.0])
    box = (slice(0, target[0]), slice(0, target[1]), slice(0, target[2]))
    shape = (target[0], target[1], target[2])
    record = Record(shape, affine, closest_to_ras(affine), box, (source[0], source[1], source[2]), (3, 3, 3))
    found, figures = measure(lambda: invert_logits(logits, record, range(classes)))
    return _finish(found, labels, {**about, **figures})


def bare_interpolation(classes: int, source: list[int], target: list[int], threads: int, labels: str) -> dict[str, Any]:
    """The reference: torch's own trilinear interpolation in float32 of one class after the other, full size."""
    with_threads(threads)
    logits = volumes.logits(classes, (source[0], source[1], source[2]))
    best, winner = None, torch.zeros(tuple(target), dtype=torch.uint8)
    for n in range(classes):
        values = torch.nn.functional.interpolate(logits[n][None, None].float(), size=tuple(target), mode="trilinear")[
            0, 0
        ]
        if best is None:
            best = values
            continue
        winner.masked_fill_(values > best, n)
        torch.maximum(best, values, out=best)
    np.save(labels, winner.numpy())
    return {}


def _spacing_mm(source: list[int], target: list[int]) -> tuple[float, float, float]:
    """Spacing (k, j, i) of the image whose outer faces are those of the network's grid."""
    k, j, i = (m * s / t for m, s, t in zip(MODEL_SPACING_MM, source, target, strict=True))
    return k, j, i


def _finish(found: Any, labels: str | None, figures: dict[str, Any]) -> dict[str, Any]:
    if labels is not None:
        np.save(labels, np.asarray(found).astype(np.uint8, copy=False))
    return figures
