"""Validation: the whole validation cases through the sliding window, Dice per label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from medai.dataset.cache import CaseArrays
from medai.image import Array
from medai.progress import CancelCheck, check_cancelled
from medai.training.precision import Compute
from medai.training.settings import TrainingSettings


@torch.inference_mode()
def validate(
    network: nn.Module,
    cases: Sequence[CaseArrays],
    settings: TrainingSettings,
    compute: Compute,
    cancelled: CancelCheck,
    seen: Callable[[int, Array], None] | None = None,
) -> dict[str, float]:
    """Mean Dice of each label over the cases, by name; `seen` is given each case's number and predicted labels.

    A case where a label is in neither map is left out of that label's mean; one where it is in only one counts 0.
    A label that nobody drew in a case is not judged there.
    """
    network.eval()
    scores: dict[str, list[float]] = {name: [] for name in settings.label_names}
    for number, case in enumerate(cases):
        check_cancelled(cancelled)
        prediction = predict(network, case.image, settings, compute)
        if seen is not None:
            seen(number, prediction)
        for index, name in enumerate(settings.label_names, start=1):
            if index in case.unknown:
                continue
            score = dice(prediction == index, np.asarray(case.labels) == index)
            if score is not None:
                scores[name].append(score)
    return {name: round(float(np.mean(values)), 5) for name, values in scores.items() if values}


def predict(network: nn.Module, image: Array, settings: TrainingSettings, compute: Compute) -> Array:
    """Label indices (k, j, i) of a preprocessed image (c, k, j, i)."""
    flat = settings.patch[0] == 1
    x = torch.from_numpy(np.asarray(image, dtype=np.float32))[None].to(compute.device)

    def forward(window: torch.Tensor) -> torch.Tensor:
        # A 2D network sees the slices: (b, c, 1, j, i) -> (b, c, j, i) and back.
        with compute.autocast():
            y: torch.Tensor = network(window.squeeze(2)).unsqueeze(2) if flat else network(window)
        return y.float()

    logits = sliding_window_inference(x, settings.patch, 4, forward, overlap=0.5, mode="gaussian")
    labels: Array = logits[0].argmax(dim=0).to(torch.int16).cpu().numpy()
    return labels


def dice(prediction: Array, reference: Array) -> float | None:
    """2 |A and B| / (|A| + |B|) (Dice 1945) of two masks; None where both are empty."""
    total = int(prediction.sum()) + int(reference.sum())
    return None if total == 0 else 2.0 * int(np.logical_and(prediction, reference).sum()) / total
