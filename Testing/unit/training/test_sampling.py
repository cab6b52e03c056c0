from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from medai.augmentation import AugmentationSettings
from medai.config.model_card import NetworkSpec
from medai.dataset.cache import CaseArrays, sample_foreground
from medai.training import TrainingSettings
from medai.training.sampling import PatchSampler

SETTINGS = TrainingSettings(
    network=NetworkSpec("unet"),
    label_names=("a", "b"),
    patch=(8, 12, 16),
    spacing_mm=(1.0, 1.0, 1.0),
    training_cases=("x",),
    validation_cases=("y",),
    steps=10,
    batch_size=3,
    augmentation=AugmentationSettings(rotation=0, scaling=0),
)


def case(value: float, shape: tuple[int, int, int] = (11, 17, 23), label: int = 1) -> CaseArrays:
    labels = np.zeros(shape, np.uint8)
    labels[4:6, 5:8, 9:13] = label
    return CaseArrays(np.full((1, *shape), value, np.float16), labels, sample_foreground(labels, 2))


def test_a_step_draws_the_same_whenever_it_is_asked() -> None:
    sampler, again = (PatchSampler([case(1), case(2)], SETTINGS) for _ in range(2))
    expected = [sampler.batch(step) for step in range(5)]
    for step in (3, 0, 4):
        batch = again.batch(step)
        assert np.array_equal(batch.images, expected[step].images)
        assert np.array_equal(batch.labels, expected[step].labels)
        assert batch.seed == expected[step].seed
    assert len({batch.seed for batch in expected}) == 5


def test_shapes_and_types() -> None:
    batch = PatchSampler([case(1)], SETTINGS).batch(0)
    assert batch.images.shape == (3, 1, 8, 12, 16)
    assert batch.labels.shape == (3, 1, 8, 12, 16)
    assert (batch.images.dtype, batch.labels.dtype) == (np.float32, np.int16)


def test_sources_are_larger_where_the_augmentation_rotates() -> None:
    rotating = replace(SETTINGS, augmentation=AugmentationSettings())
    size = PatchSampler([case(1)], rotating).source_size
    assert all(source > patch for source, patch in zip(size, SETTINGS.patch, strict=True))
    # An even difference keeps the patch exactly in the middle.
    assert all((source - patch) % 2 == 0 for source, patch in zip(size, SETTINGS.patch, strict=True))
    flat = replace(rotating, patch=(1, 12, 16))
    assert PatchSampler([case(1)], flat).source_size[0] == 1


def test_every_epoch_visits_every_case_once() -> None:
    cases = [case(float(n + 1)) for n in range(5)]
    sampler = PatchSampler(cases, replace(SETTINGS, batch_size=5))
    orders = []
    for epoch in range(4):
        values = [int(image.max()) for image in sampler.batch(epoch).images]
        assert Counter(values) == Counter(range(1, 6))
        orders.append(tuple(values))
    assert len(set(orders)) > 1


def test_seeds_and_folds_draw_differently() -> None:
    seeds = {
        PatchSampler([case(1)], replace(SETTINGS, seed=seed, fold=fold)).batch(0).seed
        for seed in (0, 1)
        for fold in (0, 1)
    }
    assert len(seeds) == 4


def test_outside_the_image_is_background_and_zero_or_the_border() -> None:
    settings = replace(SETTINGS, patch=(20, 20, 32), batch_size=1)
    labels = np.ones((11, 17, 23), np.uint8)
    full = CaseArrays(np.full((1, 11, 17, 23), 7.0, np.float32), labels, sample_foreground(labels, 1))
    fills = set()
    for step in range(12):
        batch = PatchSampler([full], settings).batch(step)
        assert batch.labels.sum() == labels.size, "a patch larger than the image holds the whole image"
        outside = batch.images[0, 0][batch.labels[0, 0] == 0]
        assert len(np.unique(outside)) == 1
        fills.add(float(outside[0]))
    assert fills == {0.0, 7.0}


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, False), (0.99, True)])
def test_foreground_oversampling(fraction: float, expected: bool) -> None:
    big = (60, 60, 60)
    sampler = PatchSampler([case(1, big)], replace(SETTINGS, foreground_fraction=fraction, batch_size=1))
    hits = float(np.mean([sampler.batch(step).labels.any() for step in range(40)]))
    assert (hits > 0.9) is expected
    if not expected:
        assert hits < 0.4


def test_rare_labels_are_drawn_as_often_as_common_ones() -> None:
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[:20, :20, :20] = 1
    labels[50, 50, 50] = 2
    rare = CaseArrays(np.zeros((1, 60, 60, 60), np.float16), labels, sample_foreground(labels, 2))
    sampler = PatchSampler([rare], replace(SETTINGS, foreground_fraction=0.99, batch_size=1))
    hits = np.mean([(sampler.batch(step).labels == 2).any() for step in range(40)])
    assert 0.25 < hits < 0.75


def test_a_case_without_labels_is_drawn_anywhere() -> None:
    empty = CaseArrays(np.zeros((1, 20, 20, 20), np.float16), np.zeros((20, 20, 20), np.uint8), {})
    assert PatchSampler([empty], SETTINGS).batch(0).labels.sum() == 0
