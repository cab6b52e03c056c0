"""Which patches a step trains on.

Everything that patch N of the run draws comes from (seed, fold, N) alone. A resumed run therefore needs no sampler
state: it draws at a step what the unbroken run drew there. And of several processes that train together each takes its
share of the patches that one with the larger batch would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medai.dataset.cache import CaseArrays
from medai.image import Array
from medai.training.settings import TrainingSettings

_ORDER, _PATCHES, _AUGMENTATION = 0, 1, 2  # streams of random numbers that must not repeat each other


@dataclass(frozen=True)
class Batch:
    """Sources of one step's patches: images (b, c, K, J, I) float32 and labels (b, 1, K, J, I) int16.

    They are larger than the patch, so that rotation finds real voxels at its corners; `seed` is for the augmentation.
    `unknown` (b, n + 1) tells which labels nobody drew in a sample's case: there they are part of the background's
    voxels, and the loss must not punish either. None where everything is known.
    """

    images: Array
    labels: Array
    seed: int
    unknown: Array | None = None


class PatchSampler:
    """Draws batches: every case equally often, a part of the patches centred on a labelled voxel.

    `rank` of `count` processes gets the patches that are its own.
    """

    def __init__(self, cases: Sequence[CaseArrays], settings: TrainingSettings, rank: int = 0, count: int = 1) -> None:
        self._cases = cases
        self._settings = settings
        self._rank, self._count = rank, count
        factor = settings.augmentation.source_factor
        self.source_size = tuple(n if n == 1 else int(np.ceil(n * factor / 2)) * 2 for n in settings.patch)

    def batch(self, step: int) -> Batch:
        """The sources of step `step`."""
        size = self._settings.batch_size
        part = step * self._count + self._rank
        numbers = range(part * size, (part + 1) * size)
        cases = [self._case_of(number) for number in numbers]
        sources = [self._source(case, self._rng(_PATCHES, number)) for case, number in zip(cases, numbers, strict=True)]
        images = np.stack([image for image, _ in sources])
        labels = np.stack([labels for _, labels in sources])[:, None]
        seed = int(self._rng(_AUGMENTATION, part).integers(2**62))
        return Batch(images, labels, seed, self._unknown(cases))

    def _unknown(self, cases: Sequence[CaseArrays]) -> Array | None:
        if not any(case.unknown for case in cases):
            return None
        unknown = np.zeros((len(cases), len(self._settings.label_names) + 1), bool)
        for row, case in zip(unknown, cases, strict=True):
            row[list(case.unknown)] = True
        return unknown

    def _rng(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, self._settings.fold, stream, number])

    def _case_of(self, sample: int) -> CaseArrays:
        """Cases in a new random order in every epoch."""
        epoch, position = divmod(sample, len(self._cases))
        return self._cases[self._rng(_ORDER, epoch).permutation(len(self._cases))[position]]

    def _source(self, case: CaseArrays, rng: np.random.Generator) -> tuple[Array, Array]:
        patch = np.array(self._settings.patch)
        source = np.array(self.source_size)
        start = self._patch_start(case, patch, rng) - (source - patch) // 2
        index = [np.arange(first, first + n) for first, n in zip(start, source, strict=True)]
        clipped = [np.clip(axis, 0, n - 1) for axis, n in zip(index, case.labels.shape, strict=True)]
        image = case.image[np.ix_(np.arange(case.image.shape[0]), *clipped)].astype(np.float32)
        labels = case.labels[np.ix_(*clipped)].astype(np.int16)
        outside = [axis != inside for axis, inside in zip(index, clipped, strict=True)]
        # Outside the image is background. Its voxels repeat the border or are 0 (the mean), as a network meets both:
        # anatomy that goes on, and the padding of the sliding window.
        zero = rng.random() < 0.5
        for axis, mask in enumerate(outside):
            where: list[Any] = [slice(None)] * 3
            where[axis] = mask
            labels[tuple(where)] = 0
            if zero:
                image[(slice(None), *where)] = 0.0
        return image, labels

    def _patch_start(self, case: CaseArrays, patch: Array, rng: np.random.Generator) -> Array:
        size = np.array(case.labels.shape)
        overhang = np.where(patch > 1, (patch * self._settings.overhang).astype(int), 0)
        low = np.minimum(0, size - patch) - np.where(size > patch, overhang, 0)
        high = np.maximum(0, size - patch) + np.where(size > patch, overhang, 0)
        if case.foreground and rng.random() < self._settings.foreground_fraction:
            voxels = case.foreground[int(rng.choice(sorted(case.foreground)))]
            centre = voxels[rng.integers(len(voxels))]
            jitter = rng.integers(-(patch // 4), patch // 4 + 1)
            return np.clip(centre + jitter - patch // 2, low, high)
        return rng.integers(low, high + 1)
