"""Paired differences against scipy's own bootstrap and known p values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from medai.metrics.paired import holm, paired_difference


def test_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    first = rng.uniform(0.7, 0.95, 23)
    second = first + rng.gamma(1.5, 0.01, 23) - 0.008
    found = paired_difference(first, second)
    expected = scipy.stats.bootstrap(
        (second - first,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert abs(found.low - expected.low) < 0.03 * width
    assert abs(found.high - expected.high) < 0.03 * width
    assert found.difference == pytest.approx((second - first).mean())
    assert found == paired_difference(first, second)  # seeded
    assert found.low != paired_difference(first, second, seed=1).low


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        d = rng.normal(0.02, 0.05, 30)
        found = paired_difference(np.zeros(30), d, seed=trial)
        hits += found.low <= 0.02 <= found.high
    assert 178 <= hits <= 198  # 95 % of 200, less what a bootstrap of 30 lacks


def test_p_value_of_the_signed_rank_test() -> None:
    # Six cases that all got better: 2 / 2^6, the smallest two-sided value there is.
    assert paired_difference([0.1] * 6, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]).p == pytest.approx(2 / 64)
    same = paired_difference([0.5, 0.6], [0.5, 0.6])
    assert (same.p, same.low, same.high, same.difference) == (1.0, 0.0, 0.0, 0.0)
    assert paired_difference([0.1, 0.2, 0.3], [0.3, 0.1, 0.3]).p > 0.5


def test_one_pair_has_no_interval() -> None:
    found = paired_difference([0.4], [0.6])
    assert math.isnan(found.low)
    assert found.difference == pytest.approx(0.2)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([0.01, math.nan, 0.02])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])


def test_values_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([1.0], [1.0, 2.0])
