"""Resampling along one axis at a time with a filter as wide as the step, so that making smaller does not alias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medai.image import Array

Kernel = Literal["linear", "cubic"]


@dataclass(frozen=True)
class AxisSampling:
    """`count` samples along an axis; sample n covers the source from ``start + n * step`` to one `step` further.

    Positions count voxels from the outer face of the first one, so that voxel m covers m to m + 1.
    """

    start: float
    step: float
    count: int

    @property
    def identity(self) -> bool:
        """Whether every sample is exactly one voxel."""
        return abs(self.step - 1.0) < 1e-6 and abs(self.start - round(self.start)) < 1e-6


def sample(array: Array, axes: Sequence[AxisSampling], kernel: Kernel, outside: float) -> npt.NDArray[np.float32]:
    """The array (k, j, i) resampled along every axis; float32 of ``[axis.count for axis in axes]`` voxels.

    `cubic` is the Catmull-Rom spline (Keys 1981), `linear` the triangle; both are widened by the step where it is above
    1, which averages. Samples whose centre lies outside of the array go to the value `outside`.
    """
    result = array
    # The axis that shrinks most first: what follows has less to do.
    for axis in sorted(range(len(axes)), key=lambda a: axes[a].count / array.shape[a]):
        result = _along(result, axis, axes[axis], kernel, outside)
    return np.ascontiguousarray(result, dtype=np.float32)


def _along(array: Array, axis: int, sampling: AxisSampling, kernel: Kernel, outside: float) -> Array:
    size = array.shape[axis]
    if sampling.identity and round(sampling.start) == 0 and sampling.count == size:
        return array
    weights, lost = _weights(size, sampling, kernel)
    low, high = _used(weights)
    part = np.take(array, range(low, high), axis=axis) if (low, high) != (0, size) else array
    moved = np.moveaxis(part, axis, -1).astype(np.float32, copy=False)
    result: Array = moved @ weights[:, low:high].T
    if outside and lost.any():
        result = result + lost * np.float32(outside)
    return np.moveaxis(result, -1, axis)


def _weights(size: int, sampling: AxisSampling, kernel: Kernel) -> tuple[Array, Array]:
    """Weights (count, size) of the voxels, and (count,) of what lies outside; each row sums to 1 with it."""
    width = max(sampling.step, 1.0)
    support = width * (2.0 if kernel == "cubic" else 1.0)
    centers = sampling.start + (np.arange(sampling.count) + 0.5) * sampling.step - 0.5  # in voxel indices
    first = int(np.floor(min(centers.min() - support, 0)))
    last = int(np.ceil(max(centers.max() + support, size - 1)))
    index = np.arange(first, last + 1)
    weights = _kernel((index[None] - centers[:, None]) / width, kernel)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = weights[:, -first : size - first]
    # A sample in the array is made of the array alone, also where its filter reaches beyond the border.
    within = (centers >= -0.5) & (centers <= size - 0.5)
    inside[within] /= inside[within].sum(axis=1, keepdims=True)
    return inside.astype(np.float32), (1.0 - inside.sum(axis=1)).astype(np.float32)


def _kernel(x: Array, kernel: Kernel) -> Array:
    x = np.abs(x)
    if kernel == "linear":
        return np.clip(1.0 - x, 0.0, None)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _used(weights: Array) -> tuple[int, int]:
    """The range of voxels that any sample needs; at least one voxel."""
    used = np.flatnonzero(np.abs(weights).max(axis=0) > 0)
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
