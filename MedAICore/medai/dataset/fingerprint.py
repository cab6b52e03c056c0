"""What a data set looks like: the numbers from which its plan follows (nnU-Net's fingerprint, Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medai.config.model_card import Normalization
from medai.image import Array


@dataclass(frozen=True)
class CaseFacts:
    """Facts about one case; axes (k, j, i) in RAS orientation, `foreground` up to 2000 values per channel."""

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    label_voxels: tuple[int, ...]
    foreground: tuple[tuple[float, ...], ...]
    zero_fraction: float


@dataclass(frozen=True)
class ChannelStatistics:
    """Intensities of one channel inside the labelled structures, over the training cases."""

    mean: float
    std: float
    low: float  # 0.5th percentile
    high: float  # 99.5th percentile


@dataclass(frozen=True)
class Fingerprint:
    """Medians and counts over all cases; `median_shape` and `spacing_mm` have the axes (k, j, i)."""

    cases: int
    median_shape: tuple[float, float, float]
    median_spacing_mm: tuple[float, float, float]
    fine_spacing_mm: tuple[float, float, float]  # 10th percentile
    median_size_mm: tuple[float, float, float]
    label_voxels: tuple[int, ...]  # by label index
    channels: tuple[ChannelStatistics, ...]
    zero_fraction: float


def case_facts(
    name: str, image: Array, spacing_mm: tuple[float, float, float], labels: Array, label_values: Sequence[int]
) -> CaseFacts:
    """Facts about the image (c, k, j, i) and its labels (k, j, i)."""
    counts = tuple(int((labels == value).sum()) for value in label_values)
    voxels = image[:, np.isin(labels, list(label_values))]
    if voxels.shape[1] > 2000:
        voxels = voxels[:, np.random.default_rng(0).choice(voxels.shape[1], 2000, replace=False)]
    return CaseFacts(
        name,
        (labels.shape[0], labels.shape[1], labels.shape[2]),
        spacing_mm,
        counts,
        tuple(tuple(float(v) for v in channel) for channel in voxels),
        float((image == 0).all(axis=0).mean()),
    )


def fingerprint(facts: Sequence[CaseFacts]) -> Fingerprint:
    """Summary over the cases, of which there must be at least one."""
    shapes = np.array([fact.shape for fact in facts], dtype=float)
    spacings = np.array([fact.spacing_mm for fact in facts])
    channels = []
    for index in range(len(facts[0].foreground)):
        pooled = np.concatenate([np.array(fact.foreground[index]) for fact in facts])
        channels.append(_statistics(pooled))
    return Fingerprint(
        len(facts),
        _triple(np.median(shapes, axis=0)),
        _triple(np.median(spacings, axis=0)),
        _triple(np.percentile(spacings, 10, axis=0)),
        _triple(np.median(shapes * spacings, axis=0)),
        tuple(sum(counts) for counts in zip(*(fact.label_voxels for fact in facts), strict=True)),
        tuple(channels),
        float(np.mean([fact.zero_fraction for fact in facts])),
    )


def default_normalization(modality: str, statistics: ChannelStatistics) -> Normalization:
    """CT: window and scale of the foreground, as Hounsfield units mean the same everywhere; else z-score per image."""
    if modality.upper() == "CT":
        return Normalization(
            "ct_window", mean=statistics.mean, std=max(statistics.std, 1e-6), low=statistics.low, high=statistics.high
        )
    return Normalization("zscore")


def _statistics(values: Array) -> ChannelStatistics:
    if values.size == 0:
        return ChannelStatistics(0.0, 1.0, 0.0, 1.0)
    low, high = np.percentile(values, [0.5, 99.5])
    return ChannelStatistics(float(values.mean()), float(values.std()), float(low), float(high))


def _triple(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
