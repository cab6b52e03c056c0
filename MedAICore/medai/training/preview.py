"""One validation case as the network sees it now, for who watches a training: image, reference, prediction.

preview.npz in the run folder holds ``image`` uint8 (c, k, j, i), ``reference`` and ``prediction`` uint8 or int16
(k, j, i) with the label indices of ``labels``, ``ijk_to_ras`` (4, 4) in mm, and ``about``, a JSON text with case and
step. The grid is the network's, with axes along R, A and S; where the case lies in the scanner is not known here.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import numpy as np

from medai.config.training_run import replace_file
from medai.dataset.cache import CaseArrays
from medai.image import Array
from medai.training.run_folder import RunFolder
from medai.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
_MOST_VOXELS = 12_000_000  # a larger case is cut to what lies around the reference
_MARGIN = 24  # voxels around it
_DARKEST, _BRIGHTEST = 0.5, 99.5  # percentiles that become 0 and 255


def write_preview(
    folder: RunFolder, settings: TrainingSettings, step: int, case: CaseArrays, prediction: Array
) -> None:
    """Replace preview.npz and report it. A picture that cannot be written must not end a training: that is logged."""
    reference = np.asarray(case.labels)
    box = _box(reference)
    start = np.array([side.start for side in box])
    ijk_to_ras = np.diag([*settings.spacing_mm[::-1], 1.0])
    ijk_to_ras[:3, 3] = start[::-1] * np.array(settings.spacing_mm[::-1])
    name = settings.validation_cases[0]
    kind = np.uint8 if len(settings.label_names) < 256 else np.int16
    arrays: dict[str, Any] = {
        "image": np.stack([_grey(channel[box]) for channel in case.image]),
        "reference": reference[box].astype(kind),
        "prediction": prediction[box].astype(kind),
        "labels": np.array(["background", *settings.label_names]),
        "ijk_to_ras": ijk_to_ras,
        "about": np.array(json.dumps({"case": name, "step": step})),
    }
    temporary = folder.preview.with_name(f".preview.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)
        replace_file(temporary, folder.preview)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        _log.warning("The preview '%s' cannot be written: %s", folder.preview, error)
        return
    folder.report("preview", step=step, file=folder.preview.name, case=name)


def _grey(channel: Array) -> Array:
    values = np.asarray(channel, dtype=np.float32)
    low, high = np.percentile(values[:: max(1, values.shape[0] // 32)], (_DARKEST, _BRIGHTEST))
    scaled = (values - low) * (255.0 / max(float(high - low), 1e-6))
    return np.clip(scaled, 0.0, 255.0).astype(np.uint8)


def _box(reference: Array) -> tuple[slice, slice, slice]:
    sides = [slice(0, n) for n in reference.shape]
    if reference.size > _MOST_VOXELS:
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            present = np.flatnonzero(reference.any(axis=others))
            middle = reference.shape[axis] // 2
            first, last = (present[0], present[-1]) if len(present) else (middle - 64, middle + 64)
            sides[axis] = slice(max(0, int(first) - _MARGIN), min(reference.shape[axis], int(last) + _MARGIN + 1))
    return sides[0], sides[1], sides[2]
