"""From a data set's fingerprint to spacing, patch, network and batch, by the rules of nnU-Net (Isensee et al. 2021).

The rules: median spacing; a patch of the median image, cut until it fits the budget; as many stages as keep four
voxels; strides and kernels that wait for the coarse axis; a batch as large as the memory allows. On a CPU time is what
is scarce, so that the network is narrower and leaner at full resolution, where most of the multiplications are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medai.config.model_card import InputSpec, NetworkSpec
from medai.config.training import Plan
from medai.dataset.fingerprint import Fingerprint

_ANISOTROPIC = 3.0  # spacing ratio from which an axis counts as coarse
_SMALLEST_MAP = 4  # voxels along an axis at the lowest resolution
_BYTES_PER_ACTIVATION = 16  # convolution and norm outputs with their gradients, measured on the plain network


@dataclass(frozen=True)
class Budget:
    """What the machine allows."""

    patch_voxels: int
    width: int
    largest_width: int
    stages: int
    memory_mb: float
    batch_size: int
    largest_batch: int
    lean: bool


CPU_BUDGET = Budget(
    patch_voxels=64**3, width=24, largest_width=256, stages=5, memory_mb=4000, batch_size=2, largest_batch=2, lean=True
)
GPU_BUDGET = Budget(
    patch_voxels=128**3,
    width=32,
    largest_width=320,
    stages=6,
    memory_mb=9000,
    batch_size=2,
    largest_batch=16,
    lean=False,
)


def target_spacing(facts: Fingerprint) -> tuple[float, float, float]:
    """Median spacing; a coarse axis of few slices takes the 10th percentile, as interpolation would invent the rest."""
    spacing = np.array(facts.median_spacing_mm)
    coarse = int(spacing.argmax())
    others = [axis for axis in range(3) if axis != coarse]
    few_slices = facts.median_shape[coarse] * _ANISOTROPIC < min(facts.median_shape[axis] for axis in others)
    if spacing[coarse] > _ANISOTROPIC * min(spacing[others]) and few_slices:
        spacing[coarse] = max(facts.fine_spacing_mm[coarse], float(spacing[others].max()))
    return float(spacing[0]), float(spacing[1]), float(spacing[2])


def make_plan(
    facts: Fingerprint, inputs: Sequence[InputSpec], label_count: int, budget: Budget, width: int | None = None
) -> Plan:
    """The plan of a data set for a machine; `width` replaces the number of channels that the budget names."""
    spacing = target_spacing(facts)
    size = np.maximum(1, np.array(facts.median_size_mm) / np.array(spacing))
    dims = 2 if round(float(facts.median_shape[0])) == 1 else 3
    patch, strides, kernels = patch_and_strides(size, spacing, budget, dims)
    first = width or budget.width
    channels = [min(first * 2**stage, budget.largest_width) for stage in range(len(strides))]
    if budget.lean:
        # Two thirds of the channels, in eights as CPUs' vectors are: full resolution takes most of the time.
        channels[0] = max(8, round(first * 2 / 3 / 8) * 8)
    stages = len(channels)
    drop = 3 - dims  # a 2D network has no k axis
    arguments = {
        "spatial_dims": dims,
        "in_channels": len(inputs),
        "out_channels": label_count + 1,
        "channels": channels,
        "strides": [list(stride[drop:]) for stride in strides],
        "kernel_sizes": [list(kernel[drop:]) for kernel in kernels],
        "blocks_per_stage": [1 if budget.lean and stage == 0 else 2 for stage in range(stages)],
        "decoder_blocks_per_stage": [1 if budget.lean else 2] * (stages - 1),
        "deep_supervision": True,
    }
    per_sample_mb = activation_mb(patch, strides, channels)
    batch = int(np.clip(budget.memory_mb // max(per_sample_mb, 1e-6), budget.batch_size, budget.largest_batch))
    return Plan(
        inputs=tuple(inputs),
        spacing_mm=spacing,
        patch=patch,
        batch_size=batch,
        network=NetworkSpec("unet", arguments),
        crop="nonzero" if facts.zero_fraction > 0.4 else "none",
        expected_memory_mb=round(batch * per_sample_mb),
        notes=_notes(facts, spacing, size, patch),
    )


def patch_and_strides(
    size: Sequence[float], spacing_mm: Sequence[float], budget: Budget, dims: int = 3
) -> tuple[tuple[int, int, int], list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Patch, strides and kernels (k, j, i) for a median image of `size` voxels.

    The patch is the median image, rounded to the nearest size that the strides divide; while it is over the budget the
    axis that covers most of the image is cut.
    """
    wanted = np.maximum(np.array(size, dtype=float), [1.0 if dims == 2 else 8.0, 8.0, 8.0])
    if dims == 2:
        wanted[0] = 1.0
    while True:
        patch, strides, kernels = _divisible(wanted, spacing_mm, budget.stages)
        if np.prod(patch) <= budget.patch_voxels or patch.max() <= 16:
            return (int(patch[0]), int(patch[1]), int(patch[2])), strides, kernels
        cover = np.where(patch > 8, patch / np.maximum(size, 1.0), 0.0)
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


def activation_mb(patch: Sequence[int], strides: Sequence[Sequence[int]], channels: Sequence[int]) -> float:
    """Estimate of the memory that one sample's activations take in training, in MiB."""
    voxels, total = float(np.prod(patch)), 0.0
    for stride, width in zip(strides, channels, strict=True):
        voxels /= float(np.prod(stride))
        total += voxels * width * 6  # two convolutions down, one transposed, the concatenation (2), one or two up
    return total * _BYTES_PER_ACTIVATION / 2**20


def _notes(
    facts: Fingerprint, spacing: Sequence[float], size: Sequence[float], patch: Sequence[int]
) -> tuple[str, ...]:
    rounded = [round(float(n)) for n in size]
    return (
        f"{facts.cases} cases, median spacing {[round(s, 3) for s in facts.median_spacing_mm]} mm (k, j, i), "
        f"target {[round(float(s), 3) for s in spacing]} mm",
        f"median image {rounded} voxels at the target spacing, patch {list(patch)}",
    )
