"""The curve from certainty to expected Dice."""

from __future__ import annotations

import numpy as np
import pytest

from medai.errors import DatasetError
from medai.metrics.quality import fit_quality, rank_correlation


def pairs(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    certainty = rng.uniform(0.3, 1.0, count)
    return certainty, np.clip(certainty**2 + rng.normal(0, 0.05, count), 0, 1)


def test_the_curve_follows_the_pairs_and_rises():
    certainty, dice = pairs()
    quality = fit_quality(certainty, dice, low=0.5)
    for x in (0.4, 0.6, 0.8, 0.95):
        assert quality.expected_dice(x) == pytest.approx(x**2, abs=0.05)
    assert list(quality.dice) == sorted(quality.dice)
    assert quality.low == 0.5
    assert quality.expected_dice(0.0) == 0.0


def test_it_keeps_nothing_of_a_network_that_is_sure_of_what_is_wrong():
    """Then no certainty promises more than the mean."""
    certainty, dice = pairs()
    quality = fit_quality(certainty, 1 - dice)
    assert np.ptp(quality.dice[1:]) < 0.05
    assert quality.expected_dice(0.9) == pytest.approx((1 - dice).mean(), abs=0.05)
    assert rank_correlation(certainty, 1 - dice) < -0.9


@pytest.mark.parametrize(("certainty", "dice"), [([0.5] * 20, [0.1] * 20), ([0.1, 0.9], [0.2, 0.8])])
def test_too_few_or_equal_pairs_give_no_curve(certainty, dice):
    with pytest.raises(DatasetError):
        fit_quality(certainty, dice)


def test_rank_correlation():
    assert rank_correlation([0.1, 0.2, 0.5], [0.0, 0.3, 0.31]) == pytest.approx(1.0)
    assert np.isnan(rank_correlation([0.1, 0.2], [0.3, 0.3]))
