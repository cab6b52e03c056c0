from __future__ import annotations

import math

import torch

from medai.losses import DeepSupervision, dice_and_cross_entropy


def perfect_logits(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels[:, 0].long(), classes).movedim(-1, 1).float() * 200


def test_a_perfect_prediction_costs_nothing() -> None:
    labels = torch.randint(0, 3, (2, 1, 4, 6, 8), generator=torch.Generator().manual_seed(0)).float()
    assert dice_and_cross_entropy()(perfect_logits(labels, 3), labels) < 1e-4


def test_the_value_of_an_undecided_prediction() -> None:
    # Two classes, all logits 0: cross entropy log 2; p = 1/2 everywhere, so that the Dice is 1/2:
    labels = torch.zeros(1, 1, 4, 4, 4)
    labels[..., :2] = 1  # half of the voxels: intersection n/4, sums n/2 and n/2, Dice 1/2
    value = dice_and_cross_entropy()(torch.zeros(1, 2, 4, 4, 4), labels)
    assert math.isclose(float(value), math.log(2) + 0.5, rel_tol=1e-4)


def test_deep_supervision_weighs_by_resolution() -> None:
    labels = torch.zeros(1, 1, 4, 4, 4)
    labels[..., :2] = 1
    good, bad = perfect_logits(labels, 2), torch.zeros(1, 2, 2, 2, 2)
    loss = DeepSupervision(dice_and_cross_entropy())
    alone = float(loss(bad.new_zeros(1, 2, 4, 4, 4), labels))
    # Weights 2/3 and 1/3 of two levels: only the coarse one is undecided.
    assert math.isclose(float(loss([good, bad], labels)), alone / 3, rel_tol=1e-3)
    assert math.isclose(float(loss([good], labels)), 0.0, abs_tol=1e-4)


def test_an_absent_label_does_not_make_the_loss_infinite() -> None:
    logits = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    value = DeepSupervision(dice_and_cross_entropy())(logits, torch.zeros(2, 1, 4, 4, 4))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
