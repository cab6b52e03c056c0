"""The benchmark's volumes are what they say, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks import volumes


def test_organs_have_all_values_and_do_not_touch():
    labels = volumes.organs((30, 40, 50), 27)
    assert sorted(np.unique(labels)) == list(range(28))
    counts = np.bincount(labels.ravel())[1:]
    assert counts.max() < 2 * counts.min()
    assert 0.15 < (labels > 0).mean() < 0.5


def test_logits_are_smooth_seeded_and_of_half_precision():
    first, again, other = (volumes.logits(3, (32, 33, 34), seed) for seed in (0, 0, 1))
    assert first.dtype == torch.float16
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    steps = first.float().diff(dim=1).abs()
    assert float(steps.max()) < 0.3 * float(first.float().std() * 6)
    assert len(torch.unique(first.float().argmax(0))) == 3


def test_head_has_every_tissue_on_its_own_intensity():
    pytest.importorskip("nilearn", reason="the head comes with nilearn")
    image, labels = volumes.head((40, 60, 50), seed=3)
    assert image.dtype == np.float32
    assert image.shape == labels.shape == (40, 60, 50)
    means = [float(image[labels == n].mean()) for n in range(5)]
    assert means == sorted(means)  # background, fluid, grey, white, lesion
    assert abs(float(image.mean())) < 1e-4
