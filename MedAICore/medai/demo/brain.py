"""The demo's first part: the structures of the whole brain, by the model that segments any head MR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medai.image import Image

if TYPE_CHECKING:
    from medai.models import ModelPackage
    from medai.segment import SegmentResult

BRAIN_MODEL_ID = "brain-any"
# The slices go through it: a good level of the basal ganglia and ventricles.
_SHOWN = "Left-Thalamus"


def installed_brain_model() -> ModelPackage | None:
    """The brain's model, where this machine has it; else the demo is about the hippocampi alone."""
    from medai.models import list_models

    return next((package for package in list_models() if package.card.id == BRAIN_MODEL_ID), None)


def brain_picture(image: Image, result: SegmentResult, path: Path) -> Path:
    """A PNG of three slices through the thalamus (or the largest structure, where there is none) with all labels."""
    from medai.render import slice_picture

    return slice_picture(image, result.label_map, result.scheme, path, point_ras=_shown_point(result))


def _shown_point(result: SegmentResult) -> tuple[float, float, float] | None:
    """Middle (RAS mm) of the structure that the slices go through; None where it was not found."""
    value = next((label.value for label in result.scheme if label.name == _SHOWN), None)
    extent = result.extents.get(value) if value is not None else None
    if extent is None:
        return None
    middle_ijk = [(side.start + side.stop - 1) / 2 for side in extent.box[::-1]]
    r, a, s = (result.label_map.ijk_to_ras @ np.array([*middle_ijk, 1.0]))[:3]
    return float(r), float(a), float(s)
