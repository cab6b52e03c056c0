"""How much memory a segmentation will need, told before it starts. Standard library only: panels show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medai.config.model_card import ModelCard

_FLOAT = 4
# Feature maps that are alive at once at a level: input and output of a convolution, the skip, the normalised copy.
_LIVE_MAPS = 4


def estimate_mb(card: ModelCard, shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Peak memory in MB of one run on an image of `shape` voxels and `spacing_mm`, both (k, j, i).

    Counted are the image in floats at the model's spacing, the sums of the sliding window (one per label, with the
    background, and the weights), the label map on the input grid, and the feature maps of one patch. The model's
    weights and the libraries themselves are not in it.
    """
    voxels = math.prod(shape)
    at_model = math.prod(max(1, round(n * s / m)) for n, s, m in zip(shape, spacing_mm, card.spacing_mm, strict=True))
    classes = len(card.labels) + 1
    image = (len(card.inputs) + 1) * at_model * _FLOAT
    window = (classes + 1) * max(at_model, math.prod(card.patch)) * _FLOAT
    label_map = 2 * voxels * (1 if classes <= 256 else 2)
    return (image + window + label_map + _feature_maps(card)) / 2**20


def _feature_maps(card: ModelCard) -> float:
    """Bytes of the feature maps of one patch: the full-resolution level dominates."""
    channels = card.network.arguments.get("channels")
    width = channels[0] if isinstance(channels, list | tuple) and channels else 32
    return float(_LIVE_MAPS * width * math.prod(card.patch) * _FLOAT)
