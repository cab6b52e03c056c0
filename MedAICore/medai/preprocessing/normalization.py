"""Intensity normalisations. Each is fixed by plain data (`Normalization` of the model card) and by the image itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medai.config.model_card import Normalization
from medai.errors import ConfigError
from medai.image import Array

Linear = tuple[float, float, float, float]
"""(low, high, subtract, divide): clip to low..high, subtract, divide."""

# Statistics of more voxels than this are taken from an even sample: a percentile of 80 million values takes seconds.
_SAMPLE = 2_000_000
_EPSILON = 1e-8


def _zscore(spec: Normalization, values: Array) -> Linear:
    mean = _mean(values) if spec.mean is None else spec.mean
    std = _std(values) if spec.std is None else spec.std
    return -np.inf, np.inf, mean, max(std, _EPSILON)


def _pieces(values: Array) -> Iterator[Array]:
    """Parts of an array whose copies in double precision are small beside a volume."""
    if values.ndim > 1:
        yield from values
        return
    for start in range(0, values.size, _SAMPLE):
        yield values[start : start + _SAMPLE]


def _mean(values: Array) -> float:
    return sum(float(part.sum(dtype=np.float64)) for part in _pieces(values)) / values.size


def _std(values: Array) -> float:
    # NumPy's own std would hold the whole volume in double precision.
    mean = _mean(values)
    squares = sum(float(np.square(part - mean, dtype=np.float64).sum()) for part in _pieces(values))
    return float(np.sqrt(squares / values.size))


def _percentile(spec: Normalization, values: Array) -> Linear:
    percents = (0.5 if spec.low is None else spec.low, 99.5 if spec.high is None else spec.high)
    low, high = (float(v) for v in np.percentile(_even_sample(values), percents))
    return low, high, low, max(high - low, _EPSILON)


def _ct_window(spec: Normalization, values: Array) -> Linear:
    if spec.low is None or spec.high is None or spec.low >= spec.high:
        raise ConfigError(
            f"The CT window of the model is {spec.low} to {spec.high} HU.", "Give low < high in its normalization."
        )
    if spec.mean is None or spec.std is None:
        return spec.low, spec.high, spec.low, spec.high - spec.low
    return spec.low, spec.high, spec.mean, max(spec.std, _EPSILON)


def _minmax(spec: Normalization, values: Array) -> Linear:
    low = float(values.min()) if spec.low is None else spec.low
    high = float(values.max()) if spec.high is None else spec.high
    return low, high, low, max(high - low, _EPSILON)


def _none(spec: Normalization, values: Array) -> Linear:
    return -np.inf, np.inf, 0.0, 1.0


NORMALIZATIONS: dict[str, Callable[[Normalization, Array], Linear]] = {
    "zscore": _zscore,
    "percentile": _percentile,
    "ct_window": _ct_window,
    "minmax": _minmax,
    "none": _none,
}
"""Name in model.json -> function that gives the scaling of one channel:

* ``zscore``: mean 0, standard deviation 1 over the image (over its non-zero voxels with `nonzero_only`; the others
  become 0); `mean` and `std`, where given, are used in place of the image's own.
* ``percentile``: the image's `low`-th to `high`-th percentile (0.5 and 99.5 if not given) to 0..1, clipped.
* ``ct_window``: clipped to `low`..`high` HU, then minus `mean` over `std` of the training foreground (nnU-Net's CT
  scheme), or to 0..1 where these are not given.
* ``minmax``: `low`..`high`, or the image's own minimum and maximum, to 0..1, clipped.
* ``none``: as it is.
"""


def scaling(spec: Normalization, channel: Array) -> Linear:
    """Clip range, offset and divisor that `spec` gives for this channel (any shape)."""
    values = channel
    if spec.nonzero_only:
        values = channel[channel != 0]
    if values.size == 0:
        values = np.zeros(1, np.float32)
    return NORMALIZATIONS[spec.name](spec, values)


def normalize(spec: Normalization, channel: Array, by: Linear | None = None) -> npt.NDArray[np.float32]:
    """`channel` as float32, scaled by `by` (default: its own `scaling`); a constant channel gives a constant."""
    low, high, subtract, divide = scaling(spec, channel) if by is None else by
    result = channel.astype(np.float32)
    if np.isfinite(low) or np.isfinite(high):
        np.clip(result, low, high, out=result)
    # In one multiply-add in double precision per voxel nothing would be gained; float32 keeps 7 digits.
    result -= np.float32(subtract)
    result /= np.float32(divide)
    if spec.nonzero_only:
        result[channel == 0] = 0.0
    return result


def fit_normalization(spec: Normalization, foreground: Iterable[Array]) -> Normalization:
    """`spec` with the statistics of the data set that it needs: intensities of the labelled voxels, one array per case.

    Only ``ct_window`` needs any: the 0.5 and 99.5 percentile, mean and standard deviation over all cases' foreground.
    """
    if spec.name != "ct_window":
        return spec
    samples = [np.asarray(values, dtype=np.float64).ravel() for values in foreground]
    samples = [values for values in samples if values.size]
    if not samples:
        raise ConfigError("The CT window cannot be fitted: no labelled voxel in any case.", "Check the labels.")
    values = np.concatenate(samples)
    low, high = np.percentile(values, (0.5, 99.5))
    if high - low < 1e-3:
        low, high = low - 0.5, high + 0.5
    std = max(float(values.std()), 1e-3)
    return replace(spec, low=float(low), high=float(high), mean=float(values.mean()), std=std)


def _even_sample(values: Array) -> Array:
    flat = values.reshape(-1)
    step = max(1, flat.size // _SAMPLE)
    # An odd step does not beat against the row length of a volume, which is mostly even.
    return flat[:: step + (step % 2 == 0)]
