"""How much memory a segmentation will need, told before it starts. Standard library only: panels show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medai.config.model_card import ModelCard

_FLOAT = 4
# Feature maps, in widths of the first stage, that are alive at once at full resolution: the skip (1), the joined input
# of the decoder's block (2), a convolution's and a normalisation's output (1 + 1), and the library's own copies (2).
_LIVE_WIDTHS = 7
# The slab of one class at the input's resolution that is interpolated at a time, and the tensors of it: the class, its
# planes before and after, the maximum, the mask.
_SLAB_VOXELS = 4_000_000
_SLAB_TENSORS = 5
# Planes of all classes that leave the window together.
_PLANES = 9
_EQUAL_SPACING = 0.01


def estimate_mb(card: ModelCard, shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Peak memory in MB of one run on an image of `shape` voxels and `spacing_mm`, both (k, j, i).

    The larger of two times is taken: preparing the image (in floats, before and after resampling), and computing (the
    prepared image, the slab of sums that the sliding window holds for every class, the label map, one tile's feature
    maps). The image itself, the model's weights and the libraries are not in it.
    """
    voxels = math.prod(shape)
    model_shape = [max(1, round(n * s / m)) for n, s, m in zip(shape, spacing_mm, card.spacing_mm, strict=True)]
    resampled = any(abs(s / m - 1) > _EQUAL_SPACING for s, m in zip(spacing_mm, card.spacing_mm, strict=True))
    inputs = len(card.inputs)
    prepared = inputs * math.prod(model_shape) * _FLOAT
    preparing = inputs * voxels * _FLOAT + (2 * prepared if resampled else 0)
    label_map = voxels * (1 if max(label.value for label in card.labels) < 256 else 2)
    computing = prepared + label_map + _window(card, model_shape, resampled) + _tile(card)
    if resampled:
        computing += _SLAB_TENSORS * _FLOAT * min(voxels, _SLAB_VOXELS)
    return max(preparing, computing) / 2**20


def _window(card: ModelCard, model_shape: Sequence[int], resampled: bool) -> float:
    """Bytes of the slab of a streaming window; it lies across the axis that makes it smallest."""
    classes = len(card.labels) + 1
    size = [max(n, p) for n, p in zip(model_shape, card.patch, strict=True)]
    axis = min(range(3), key=lambda a: card.patch[a] / size[a])
    plane = math.prod(size) / size[axis]
    leaving = _PLANES * classes * plane if resampled else 0
    return ((classes + 1) * plane * card.patch[axis] + leaving) * _FLOAT


def _tile(card: ModelCard) -> float:
    """Bytes of what one tile needs in the network (its full-resolution level dominates), and of its logits."""
    channels = card.network.arguments.get("channels")
    width = channels[0] if isinstance(channels, list | tuple) and channels else 32
    return float((_LIVE_WIDTHS * width + 2 * (len(card.labels) + 1)) * math.prod(card.patch) * _FLOAT)
