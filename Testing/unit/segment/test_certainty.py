"""The soft Dice of a label follows from the very logits that its voxels come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medai.segment import certainty
from medai.segment.certainty import Certainty

SHAPE = (5, 14, 11)


def logits(seed: int, classes: int = 4) -> torch.Tensor:
    return 3 * torch.randn((classes, *SHAPE), generator=torch.Generator().manual_seed(seed))


def expected(values: torch.Tensor, label: int, temperature: float = 1.0) -> float:
    shares = torch.softmax(values.double() / temperature, 0)[label]
    mask = values.argmax(0) == label
    return float(2 * shares[mask].sum() / (shares.sum() + mask.sum()))


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_it_is_the_soft_dice_of_the_probabilities(temperature):
    values = logits(1)
    sums = Certainty((0, 7, 30, 9), SHAPE, temperature)
    sums.add(values)
    found = sums.by_value()
    assert found == pytest.approx({v: expected(values, n, temperature) for n, v in ((1, 7), (2, 30), (3, 9))}, abs=1e-5)


def test_it_does_not_matter_in_which_parts_the_logits_come():
    values = logits(2)
    whole, parts = Certainty((0, 1, 2, 3), SHAPE), Certainty((0, 1, 2, 3), SHAPE)
    whole.add(values)
    for rows in (slice(0, 3), slice(3, 14)):
        for planes in (slice(0, 4), slice(4, 5)):
            parts.add(values[:, planes, rows])
    assert parts.by_value() == pytest.approx(whole.by_value())


def test_labels_that_are_not_wanted_or_win_nowhere_are_left_out():
    values = logits(3)
    values[3] = -50.0
    sums = Certainty((0, 0, 5, 6), SHAPE)
    sums.add(values)
    assert set(sums.by_value()) == {5}


def test_sure_is_one_and_undecided_is_low():
    sure = torch.full((2, *SHAPE), -40.0)
    sure[1, :, :7], sure[0, :, 7:] = 40.0, 40.0
    undecided = torch.zeros((2, *SHAPE))
    undecided[1, :, :7] = 1e-3
    undecided[0, :, 7:] = 1e-3
    values = []
    for logit in (sure, undecided):
        sums = Certainty((0, 1), SHAPE)
        sums.add(logit.half())
        values.append(sums.by_value()[1])
    assert values == pytest.approx([1.0, 0.5], abs=1e-2)  # p = 1/2: 2 * n/4 / (n/2 + n/2)


def test_of_large_grids_rows_are_left_out(monkeypatch):
    monkeypatch.setattr(certainty, "_ENOUGH_VOXELS", np.prod(SHAPE) // 4)
    values = logits(4)
    sums = Certainty((0, 1, 2, 3), SHAPE)
    sums.add(values)
    assert sums.by_value()[2] == pytest.approx(expected(values[:, :, ::3, ::3], 2), abs=1e-5)
    assert sums.by_value()[2] == pytest.approx(expected(values, 2), abs=0.1)
