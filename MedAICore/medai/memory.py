"""How much memory a segmentation will need, told before it starts. Standard library only: panels show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from medai.config.model_card import ModelCard

Engine = Literal["auto", "openvino", "eager"]

_FLOAT = 4
# Feature maps, in widths of the first stage, that are alive at once at full resolution. OpenVINO, without the decoder's
# concatenation: two, and the coarser stages'. Eager torch: the skip (1), the joined input of the decoder's block (2), a
# convolution's and a normalisation's output (2), and the library's reordered copies of these.
_LIVE_WIDTHS = {"openvino": 2.3, "eager": 9.0}
# Tiles of logits: OpenVINO's output lies beside its feature maps; eager torch makes a few of them.
_LIVE_LOGITS = {"openvino": 1.2, "eager": 2.0}
# Compiled kernels, threads, and what the libraries keep once they have computed.
_START = {"openvino": 45e6, "eager": 25e6}
# OpenVINO is used for runs that are longer than its start: this many floating-point operations (as the engine's own).
_WORTHWHILE_FLOPS = 500e9
# The sliding window: planes that are handed on at once, and the bytes that they may have.
_PLANES = 8
_BYTES_AT_ONCE = 4e6
_OVERLAP = 0.5
# Where logits are interpolated: copies of the planes that leave the window, and the blocks that are computed at a time.
_PLANE_COPIES = 3
_INTERPOLATING = 24e6
_EQUAL_SPACING = 0.01
_USUAL_WIDTH = 32


def estimate_mb(card: ModelCard, shape: Sequence[int], spacing_mm: Sequence[float], engine: Engine = "auto") -> float:
    """Peak memory in MiB of one run on an image of `shape` voxels and `spacing_mm`, both (k, j, i), on a CPU.

    The larger of two times is taken: preparing the image (in floats, before and after resampling), and computing (the
    prepared image, the sums that the sliding window holds for every class but the first, the label map, the engine with
    one tile's feature maps). The image itself, the model's weights and the libraries' own code are not in it. `engine`:
    what computes; ``auto`` judges as the run does where OpenVINO is installed: it is used where the run is long.
    """
    voxels = math.prod(shape)
    model_shape = [max(1, round(n * s / m)) for n, s, m in zip(shape, spacing_mm, card.spacing_mm, strict=True)]
    resampled = any(abs(s / m - 1) > _EQUAL_SPACING for s, m in zip(spacing_mm, card.spacing_mm, strict=True))
    inputs = len(card.inputs)
    unchanged = not resampled and all(spec.normalization.name == "none" for spec in card.inputs)
    prepared = 0 if unchanged else inputs * math.prod(model_shape) * _FLOAT
    preparing = (inputs * voxels * _FLOAT if resampled else 0) + 2 * prepared
    label_map = voxels * (1 if max(label.value for label in card.labels) < 256 else 2)
    computing = prepared + label_map + _window(card, model_shape, resampled) + _tile(card, model_shape, engine)
    return max(preparing, computing) / 2**20


def _window(card: ModelCard, model_shape: Sequence[int], resampled: bool) -> float:
    """Bytes of the sums of a streaming window; it lies across the axis that makes them smallest."""
    classes = len(card.labels) + 1
    size = [max(n, p) for n, p in zip(model_shape, card.patch, strict=True)]
    axis = min(range(3), key=lambda a: card.patch[a] / size[a])
    others = [a for a in range(3) if a != axis]
    depth, rows, columns = card.patch[axis], size[others[0]], size[others[1]]
    plane = rows * columns
    several = size[axis] > depth
    unfinished = depth - max(1, int(depth * (1 - _OVERLAP))) if several else 0
    if resampled:  # finished planes wait for their last rows
        held = depth * plane
    else:
        held = unfinished * plane + (depth - unfinished) * card.patch[others[0]] * columns
    leaving = min(max(_BYTES_AT_ONCE, classes * columns * _FLOAT), _PLANES * classes * plane * _FLOAT)
    if resampled:
        leaving = _PLANE_COPIES * max(leaving, classes * plane * _FLOAT) + _INTERPOLATING
    return (classes - 1) * held * _FLOAT + leaving


def _tile(card: ModelCard, model_shape: Sequence[int], engine: Engine) -> float:
    """Bytes of one tile in the network (its full-resolution level dominates), of its input and its logits."""
    used = engine
    if used == "auto":
        used = "openvino" if _tiles(card, model_shape) * _flops_per_tile(card) >= _WORTHWHILE_FLOPS else "eager"
    maps = _LIVE_WIDTHS[used] * _widths(card)[0] + _LIVE_LOGITS[used] * (len(card.labels) + 1) + 2 * len(card.inputs)
    return maps * math.prod(card.patch) * _FLOAT + _START[used]


def _tiles(card: ModelCard, model_shape: Sequence[int]) -> int:
    """How many tiles cover the volume."""
    steps = [max(1, int(p * (1 - _OVERLAP))) for p in card.patch]
    beyond = [max(n - p, 0) for n, p in zip(model_shape, card.patch, strict=True)]
    return math.prod(math.ceil(b / s) + 1 for b, s in zip(beyond, steps, strict=True))


def _flops_per_tile(card: ModelCard) -> float:
    """Floating-point operations of a U-Net with 3 x 3 (x 3) kernels of the card's widths, both ways."""
    widths = _widths(card)
    dimensions = sum(p > 1 for p in card.patch)
    counts = card.network.arguments.get("blocks_per_stage")
    blocks = counts if isinstance(counts, list | tuple) and len(counts) == len(widths) else [2] * len(widths)
    total, voxels, before = 0.0, float(math.prod(card.patch)), len(card.inputs)
    for width, count in zip(widths, blocks, strict=True):
        encoder = before * width + (count - 1) * width**2
        decoder = 2 * width**2 + (count - 1) * width**2 if width != widths[-1] else 0
        total += 2 * 3**dimensions * (encoder + decoder) * voxels
        voxels, before = voxels / 2**dimensions, width
    return total


def _widths(card: ModelCard) -> list[int]:
    """Channels per stage, from full resolution down; a usual width where the network names them otherwise."""
    for name in ("channels", "filters", "features"):
        value = card.network.arguments.get(name)
        if isinstance(value, list | tuple) and value and all(isinstance(n, int) for n in value):
            return list(value)
    return [_USUAL_WIDTH, 2 * _USUAL_WIDTH]
