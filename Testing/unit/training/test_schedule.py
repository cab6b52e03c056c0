from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from medai.config.model_card import NetworkSpec
from medai.errors import ConfigError
from medai.training import TrainingSettings
from medai.training.schedule import learning_rate, run_fraction

SETTINGS = TrainingSettings(
    network=NetworkSpec("unet"),
    label_names=("a",),
    patch=(8, 8, 8),
    spacing_mm=(1.0, 1.0, 1.0),
    training_cases=("x",),
    validation_cases=(),
    steps=100,
    learning_rate=0.01,
    warmup_fraction=0.1,
)


def test_without_a_time_limit_only_steps_count() -> None:
    assert run_fraction(25, 1e9, SETTINGS) == 0.25


def test_with_a_time_limit_whatever_is_further_counts() -> None:
    limited = replace(SETTINGS, max_minutes=10.0)
    assert run_fraction(25, 60.0, limited) == 0.25
    assert run_fraction(25, 450.0, limited) == 0.75
    assert run_fraction(25, 6000.0, limited) == 1.0


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step / 100, SETTINGS) for step in range(101)]
    top = rates.index(max(rates))
    assert 5 <= top <= 15
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert rates[0] > 0
    assert rates[-1] == 0.0


def test_the_decay_is_polynomial() -> None:
    assert math.isclose(learning_rate(0.5, SETTINGS), 0.01 * 0.5**0.9)
    assert math.isclose(learning_rate(0.0, replace(SETTINGS, warmup_fraction=0.0)), 0.01)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"learning_rate": -1.0}, {"max_minutes": 0.0}, {"ema_decay": 1.0}, {"training_cases": ()}]
)
def test_settings_that_cannot_be_trained_with(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        replace(SETTINGS, **wrong)
