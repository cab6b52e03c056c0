"""Heat maps: which part of an input spoke for a class."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from itertools import product
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from medai.errors import ConfigError, InputError, ModelError
from medai.explain.feature_maps import FeatureMaps, class_logits, evaluation_mode, feature_maps
from medai.progress import CancelCheck, check_cancelled, never_cancelled

logger = logging.getLogger(__name__)
Method = Literal["gradcam", "gradcampp", "occlusion"]
METHODS: tuple[str, ...] = get_args(Method)
Advance = Callable[[float], None]

# The occluding box has this part of each side of the input (by the number of axes: 225 boxes in a large 2D image, 729
# in a 3D one), and moves by half of its own side.
_OCCLUDED_PART = {2: 1 / 8, 3: 1 / 5}
_OCCLUSION_OVERLAP = 0.5
# Voxels of the inputs that are computed together: a batch has to end within a second, for cancelling.
_BATCH_VOXELS = 500_000


def heat_map(
    network: nn.Module,
    inputs: Tensor,
    class_index: int,
    method: Method,
    layer: str = "",
    cancelled: CancelCheck = never_cancelled,
    progress: Advance | None = None,
) -> Tensor:
    """How much each voxel of `inputs` (1, c, [k,] j, i) speaks for the class: float32 ([k,] j, i), 0 to 1.

    1 is the strongest voxel of this map; maps of two inputs are not on one scale. Nothing that speaks for the class
    gives a map of zeros and a logged warning, never NaN. The result is the same at each call. `layer` names the
    feature maps of the Grad-CAM methods (empty: the last ones before pooling). `network` (inputs -> logits (b, n))
    stays as it was. `progress` gets the part that is done, 0 to 1.

    gradcam: Selvaraju et al., Grad-CAM, ICCV 2017. gradcampp: Chattopadhay et al., Grad-CAM++, WACV 2018. occlusion:
    the loss of the class's probability while a box around the voxel shows each channel's median (Zeiler and Fergus,
    ECCV 2014).
    """
    _check(inputs, method)
    check_cancelled(cancelled)
    if method == "occlusion":
        raw = _occlusion(network, inputs, class_index, cancelled, progress or _unheard)
    else:
        maps = feature_maps(network, inputs, class_index, layer, cancelled)
        raw = _enlarged(gradcam(maps) if method == "gradcam" else gradcampp(maps), inputs.shape[2:])
    return _scaled(raw, class_index, method)


def gradcam(maps: FeatureMaps) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2): the maps summed by their mean gradients, and above 0."""
    weights = maps.gradients.flatten(1).mean(1)
    return relu(torch.tensordot(weights, maps.activations, dims=1))


def gradcampp(maps: FeatureMaps) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, equations 5 and 19): positive gradients, weighted voxel by voxel.

    With the score exp(logit), the second and third derivatives are the logit's gradient squared and cubed, so that
    equation 19 is alpha = 1 / (2 + sum of the map * gradient). The factor exp(logit) is common to all voxels; it is
    left out, since the map is scaled afterwards and it would overflow. MONAI's class has neither, and adds 1e-7 to a
    square that is often smaller.
    """
    gradients = maps.gradients
    sums = maps.activations.flatten(1).sum(1).reshape(-1, *[1] * (gradients.ndim - 1))
    # Behind an activation the sums are positive and so is the denominator; maps with negative values are held off 0.
    alpha = torch.where(gradients != 0, 1.0 / (2.0 + sums * gradients).clamp(min=1e-3), 0.0)
    weights = (alpha * relu(gradients)).flatten(1).sum(1)
    return relu(torch.tensordot(weights, maps.activations, dims=1))


def _occlusion(
    network: nn.Module, inputs: Tensor, class_index: int, cancelled: CancelCheck, advance: Advance
) -> Tensor:
    """Probability that is lost while the voxel is hidden, mean over the boxes that hide it: (axes of the input).

    The same boxes and mean as MONAI's OcclusionSensitivity gives. That one cannot be cancelled, hides all channels
    with one number, and indexes in a way that torch is about to drop.
    """
    size = inputs.shape[2:]
    box = [max(1, round(_OCCLUDED_PART[len(size)] * side)) for side in size]
    boxes: list[tuple[slice, ...]] = list(
        product(*(_intervals(side, width) for side, width in zip(size, box, strict=True)))
    )
    neutral = inputs[0].flatten(1).median(dim=1).values.reshape(-1, *[1] * len(size))
    loss, count = inputs.new_zeros(size), inputs.new_zeros(size)
    batch = max(1, min(32, _BATCH_VOXELS // inputs[0].numel()))
    with evaluation_mode(network), torch.no_grad():
        whole = class_logits(network(inputs), class_index).softmax(1)[0, class_index]
        for first in range(0, len(boxes), batch):
            check_cancelled(cancelled)
            part = boxes[first : first + batch]
            hidden = inputs.repeat(len(part), *[1] * (inputs.ndim - 1))
            for n, where in enumerate(part):
                hidden[n][(slice(None), *where)] = neutral
            lost = whole - class_logits(network(hidden), class_index).softmax(1)[:, class_index]
            for where, value in zip(part, lost, strict=True):
                loss[where] += value
                count[where] += 1
            advance(min(1.0, (first + batch) / len(boxes)))
    return relu(loss / count).float()


def _intervals(side: int, width: int) -> list[slice]:
    """The boxes' extents along one side, so that each voxel is hidden; the last one ends with the side."""
    step = math.ceil(width * (1 - _OCCLUSION_OVERLAP))
    starts = sorted({min(at, side - width) for at in range(0, side - width + step, step)})
    return [slice(start, start + width) for start in starts]


def _enlarged(small: Tensor, size: torch.Size) -> Tensor:
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return interpolate(small[None, None], size=tuple(size), mode=mode, align_corners=False)[0, 0]


def _scaled(raw: Tensor, class_index: int, method: str) -> Tensor:
    highest = float(raw.max())
    if not math.isfinite(highest) or not bool(torch.isfinite(raw).all()):
        raise ModelError(
            f"The heat map of class {class_index} ({method}) is not finite.",
            "The network's weights or its input hold NaN or infinite values: check the image and the model.",
        )
    if highest <= 0:
        logger.warning("Nothing in the image speaks for class %d by %s: the heat map is empty.", class_index, method)
        return torch.zeros_like(raw)
    return raw / highest


def _check(inputs: Tensor, method: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"'{method}' is no way to explain.", f"There is: {', '.join(METHODS)}.")
    if inputs.ndim not in (4, 5) or inputs.shape[0] != 1:
        raise InputError(
            f"A heat map is made for one input (1, c, [k,] j, i), got {tuple(inputs.shape)}.",
            "Give one image at a time.",
        )


def _unheard(fraction: float) -> None:
    """Progress that nobody watches."""
