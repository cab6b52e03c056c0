"""From a data set's fingerprint to spacing, patch, network and batch, by the rules of nnU-Net (Isensee et al. 2021).

The rules: median spacing; a patch of the median image, cut until it fits the budget; as many stages as keep four
voxels; strides and kernels that wait for the coarse axis; a batch as large as the memory allows. On a CPU time is what
is scarce, so that the network is narrower and leaner at full resolution, where most of the multiplications are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from medai.config.model_card import InputSpec, NetworkSpec
from medai.config.training import BlocksName, Plan
from medai.dataset.fingerprint import Fingerprint
from medai.errors import ConfigError

_ANISOTROPIC = 3.0  # spacing ratio from which an axis counts as coarse
_SMALLEST_MAP = 4  # voxels along an axis at the lowest resolution


@dataclass(frozen=True)
class Budget:
    """What the machine allows. `lean` networks have single blocks where they are the most expensive."""

    patch_voxels: int
    width: int
    largest_width: int
    stages: int
    memory_mb: float
    largest_batch: int
    lean: bool
    activation_bytes: int  # per voxel and channel: outputs of convolution and norm with gradients; half in bfloat16


@dataclass(frozen=True)
class NetworkStyle:
    """What a person chooses about the U-Net: its blocks, how several inputs meet, how many of them are frames."""

    blocks: BlocksName | None = None
    fusion: Literal["early", "attention"] | None = None
    frames: int = 1


CPU_BUDGET = Budget(
    patch_voxels=64**3,
    width=24,
    largest_width=256,
    stages=5,
    memory_mb=4000,
    largest_batch=2,
    lean=True,
    activation_bytes=16,
)
GPU_BUDGET = Budget(
    patch_voxels=128**3,
    width=32,
    largest_width=320,
    stages=6,
    memory_mb=9000,
    largest_batch=16,
    lean=False,
    activation_bytes=8,
)
_SMALLEST_BATCH = 2


def target_spacing(facts: Fingerprint) -> tuple[float, float, float]:
    """Median spacing; a coarse axis of few slices takes the 10th percentile, as interpolation would invent the rest."""
    spacing = np.array(facts.median_spacing_mm)
    if round(facts.median_shape[0]) == 1:  # single slices have no spacing to choose
        return 1.0, round(float(spacing[1]), 5), round(float(spacing[2]), 5)
    coarse = int(spacing.argmax())
    others = [axis for axis in range(3) if axis != coarse]
    few_slices = facts.median_shape[coarse] * _ANISOTROPIC < min(facts.median_shape[axis] for axis in others)
    if spacing[coarse] > _ANISOTROPIC * min(spacing[others]) and few_slices:
        spacing[coarse] = max(facts.fine_spacing_mm[coarse], float(spacing[others].max()))
    # Headers hold spacings in float32; the tail of their digits means nothing.
    return round(float(spacing[0]), 5), round(float(spacing[1]), 5), round(float(spacing[2]), 5)


def make_plan(
    facts: Fingerprint,
    inputs: Sequence[InputSpec],
    spacing_mm: tuple[float, float, float],
    budget: Budget,
    *,
    crop: Literal["none", "nonzero", "body"] = "none",
    planar: bool = False,
    network: str = "unet",
    patch: tuple[int, int, int] | None = None,
    style: NetworkStyle = NetworkStyle(),
) -> Plan:
    """The plan of a data set for a machine. `patch`, where given, is taken as the size of the images."""
    size = np.maximum(1.0, np.array(facts.median_size_mm) / np.array(spacing_mm))
    if planar:
        size[0] = 1.0
    if patch is not None:
        size, budget = np.array(patch, dtype=float), replace(budget, patch_voxels=max(64, int(np.prod(patch))))
    chosen, strides, kernels = patch_and_strides(size, spacing_mm, budget)
    channels = _channels(len(strides), budget)
    per_sample_mb = activation_mb(chosen, strides, channels, budget.activation_bytes) * _heavier(style, len(inputs))
    if patch is None and _SMALLEST_BATCH * per_sample_mb > budget.memory_mb and np.prod(chosen) > 16**3:
        smaller = replace(budget, patch_voxels=int(0.85 * np.prod(chosen)))
        return make_plan(facts, inputs, spacing_mm, smaller, crop=crop, planar=planar, network=network, style=style)
    if patch is not None and chosen != patch:
        divisor = [int(step) for step in np.prod(np.array(strides), axis=0)]
        raise ConfigError(f"The patch {list(patch)} does not suit a network of strides {divisor}.",
                          f"Use multiples of these, for example {list(chosen)}.")  # fmt: skip
    drop = 1 if planar else 0  # a 2D network has no k axis
    shape = _Shape(
        len(inputs),
        len(facts.label_voxels) + 1,
        tuple(channels),
        tuple(stride[drop:] for stride in strides),
        tuple(kernel[drop:] for kernel in kernels),
        budget.lean,
        chosen[drop:],
        style,
    )
    batch = int(np.clip(budget.memory_mb // max(per_sample_mb, 1e-6), _SMALLEST_BATCH, budget.largest_batch))
    return Plan(
        inputs=tuple(inputs),
        spacing_mm=spacing_mm,
        patch=chosen,
        batch_size=batch,
        network=NetworkSpec(network, network_arguments(network, shape)),
        crop=crop,
        expected_memory_mb=round(batch * per_sample_mb),
        notes=_notes(facts, spacing_mm, size, chosen),
    )


@dataclass(frozen=True)
class _Shape:
    """What the plan has found out about the network, whichever it is."""

    inputs: int
    outputs: int
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    lean: bool
    patch: tuple[int, ...]
    style: NetworkStyle = NetworkStyle()


def _halvings(patch: Sequence[int]) -> int:
    """How often every axis of the patch can be halved, up to four times: SegResNet knows no other strides."""
    return next(count for count in (4, 3, 2, 1) if count == 1 or all(n % 2**count == 0 for n in patch))


def _channels(stages: int, budget: Budget) -> list[int]:
    channels = [min(budget.width * 2**stage, budget.largest_width) for stage in range(stages)]
    if budget.lean:
        # Two thirds of the channels, in eights as CPUs' vectors are: full resolution takes most of the time.
        channels[0] = max(8, round(budget.width * 2 / 3 / 8) * 8)
    return channels


def network_arguments(network: str, shape: _Shape) -> dict[str, Any]:
    """Arguments of one of the registry's networks for the planned channels, strides and kernels."""
    dims, stages = len(shape.strides[0]), len(shape.channels)
    common: dict[str, Any] = {"spatial_dims": dims, "in_channels": shape.inputs, "out_channels": shape.outputs}
    strides = [list(stride) for stride in shape.strides]
    kernels = [list(kernel) for kernel in shape.kernels]
    if network != "unet" and shape.style != NetworkStyle():
        raise ConfigError(f"blocks and fusion are not of the network '{network}'.", "Use them with unet.")
    if network == "unet":
        return (
            common
            | _style_arguments(shape.style)
            | {
                "channels": list(shape.channels),
                "strides": strides,
                "kernel_sizes": kernels,
                "blocks_per_stage": [1 if shape.lean and stage == 0 else 2 for stage in range(stages)],
                "decoder_blocks_per_stage": [1 if shape.lean else 2] * (stages - 1),
                "deep_supervision": True,
            }
        )
    if network == "dynunet":
        return common | {
            "filters": list(shape.channels), "strides": strides, "kernel_sizes": kernels, "deep_supervision": True,
        }  # fmt: skip
    if network == "segresnet":
        return common | {
            "init_filters": max(8, shape.channels[0] // 8 * 8),
            "blocks_down": [1, 2, 2, 4, 4][: _halvings(shape.patch) + 1],
            "blocks_up": [1] * _halvings(shape.patch),
        }
    raise ConfigError(f"No plan is known for the network '{network}'.", "Use unet, dynunet or segresnet.")


def _heavier(style: NetworkStyle, inputs: int) -> float:
    """How many times the plain U-Net's activations a style has: its encoder is half of them."""
    encoders = style.frames if style.frames > 1 else inputs if style.fusion == "attention" else 1
    # A multi-scale block keeps its two contexts and the stack of the three; a separable one the depthwise result.
    blocks = {"multiscale_attention": 2.5, "separable": 1.3, "dynamic": 1.3}.get(style.blocks or "", 1.0)
    return blocks * (1 + encoders) / 2


def _style_arguments(style: NetworkStyle) -> dict[str, Any]:
    """The U-Net's arguments for a style; none for the default, so that plain plans stay as they were."""
    arguments: dict[str, Any] = {}
    if style.blocks == "residual":
        arguments["residual"] = True
    elif style.blocks is not None and style.blocks != "plain":
        arguments["block"] = style.blocks
    if style.fusion == "attention":
        arguments["fusion"] = "attention"
    if style.frames > 1:
        arguments["frames"] = style.frames
    return arguments


def patch_and_strides(
    size: Sequence[float], spacing_mm: Sequence[float], budget: Budget
) -> tuple[tuple[int, int, int], list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Patch, strides and kernels (k, j, i) for a median image of `size` voxels.

    The patch is the median image, rounded to the nearest size that the strides divide; while it is over the budget the
    axis that covers most of the image is cut.
    """
    wanted = np.array(size, dtype=float)
    while True:
        patch, strides, kernels = _divisible(wanted, spacing_mm, budget.stages)
        if np.prod(patch) <= budget.patch_voxels or patch.max() <= 16:
            return (int(patch[0]), int(patch[1]), int(patch[2])), strides, kernels
        cover = np.where(patch > _SMALLEST_MAP, patch / np.maximum(size, 1.0), 0.0)
        axis = int(cover.argmax())
        wanted[axis] = patch[axis]
        step = int(np.prod([stride[axis] for stride in strides]))
        wanted[axis] -= min(step, max(1, wanted[axis] // 2))


def _divisible(
    wanted: np.ndarray, spacing_mm: Sequence[float], stages: int
) -> tuple[np.ndarray, list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    strides, kernels = _strides(wanted, spacing_mm, stages)
    divisor = np.prod(np.array(strides), axis=0)
    patch = np.maximum(divisor, np.floor(wanted / divisor + 0.5) * divisor).astype(int)
    return patch, strides, kernels


def _strides(
    patch: np.ndarray, spacing_mm: Sequence[float], stages: int
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Halve an axis while it keeps four voxels and is less than twice as coarse as the finest that still shrinks."""
    size, spacing = np.array(patch, dtype=float), np.array(spacing_mm, dtype=float)
    strides: list[tuple[int, int, int]] = [(1, 1, 1)]
    kernels = [_kernel(size, spacing, (1, 1, 1))]
    while len(strides) < stages:
        can = size >= 2 * _SMALLEST_MAP
        if not can.any():
            break
        can &= spacing < 2 * spacing[can].min()
        step = np.where(can, 2, 1)
        size, spacing = size / step, spacing * step
        strides.append((int(step[0]), int(step[1]), int(step[2])))
        kernels.append(_kernel(size, spacing, kernels[-1]))
    return strides, kernels


def _kernel(size: np.ndarray, spacing: np.ndarray, above: Sequence[int]) -> tuple[int, int, int]:
    """3 along an axis, but 1 along one of a single voxel, and along a coarse one until the others have caught up."""
    finest = spacing[size > 1].min() if (size > 1).any() else spacing.min()
    wide = (size > 1) & ((spacing < 2 * finest) | (np.array(above) == 3))
    k, j, i = (3 if use else 1 for use in wide)
    return k, j, i


def activation_mb(
    patch: Sequence[int], strides: Sequence[Sequence[int]], channels: Sequence[int], activation_bytes: int
) -> float:
    """Estimate of the memory that one sample's activations take in training, in MiB."""
    voxels, total = float(np.prod(patch)), 0.0
    for stride, width in zip(strides, channels, strict=True):
        voxels /= float(np.prod(stride))
        total += voxels * width * 6  # two convolutions down, one transposed, the concatenation (2), one or two up
    return total * activation_bytes / 2**20


def _notes(
    facts: Fingerprint, spacing: Sequence[float], size: Sequence[float], patch: Sequence[int]
) -> tuple[str, ...]:
    rounded = [round(float(n)) for n in size]
    return (
        f"{facts.cases} cases, median spacing {[round(s, 3) for s in facts.median_spacing_mm]} mm (k, j, i), "
        f"target {[round(float(s), 3) for s in spacing]} mm",
        f"median image {rounded} voxels at the target spacing, patch {list(patch)}",
    )
