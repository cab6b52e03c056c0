"""Losses by name against MONAI's and by hand, and labels that nobody drew."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss, DiceLoss, TverskyLoss

from medai.losses import LOSSES, DeepSupervision, merge_unknown, segmentation_loss

CLASSES = 4


def example(seed: int = 0, size: tuple[int, ...] = (3, 5, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, CLASSES, *size), generator=generator, requires_grad=True)
    labels = torch.randint(0, CLASSES, (2, 1, *size), generator=generator)
    return logits, labels.float()


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("dice", DiceLoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)),
        ("dice_ce", DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)),
        (
            "tversky",
            TverskyLoss(
                to_onehot_y=True, softmax=True, include_background=False, batch=True, alpha=0.3, beta=0.7,
                smooth_nr=1e-5, smooth_dr=1e-5,
            ),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_monais(name: str, peer: torch.nn.Module) -> None:
    logits, labels = example()
    value, expected = segmentation_loss(name)(logits, labels), peer(logits, labels)  # type: ignore[arg-type]
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    ours, theirs = (torch.autograd.grad(v, logits)[0] for v in (value, expected))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_focal_loss_by_hand() -> None:
    # Two classes, logits (a, 0) of a background voxel: p = sigmoid(a); -(1 - p)^2 log p (Lin et al. 2017), and the mean
    # over classes and voxels that MONAI takes: the other class's term is 0.
    logits = torch.zeros(1, 2, 1, 1, 2)
    logits[:, 0] = math.log(3.0)
    p = 0.75
    value = segmentation_loss("focal")(logits, torch.zeros(1, 1, 1, 1, 2))
    assert float(value) == pytest.approx(-((1 - p) ** 2) * math.log(p) / 2, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_loss_falls_towards_the_reference_under_deep_supervision(name: str, dims: int) -> None:
    labels = torch.zeros(2, 1, *(8,) * dims)
    labels[..., 2:6] = 1
    labels[..., 6:] = 2
    right = F.one_hot(labels[:, 0].long(), 3).movedim(-1, 1).float() * 20
    half = (slice(None), slice(None), *(slice(1, None, 2),) * dims)
    loss = DeepSupervision(segmentation_loss(name))  # type: ignore[arg-type]
    good, bad = float(loss([right, right[half]], labels)), float(loss([-right, -right[half]], labels))
    assert math.isfinite(bad)
    assert 0 <= good < 0.01 * bad


@pytest.mark.parametrize("name", LOSSES)
def test_an_absent_label_leaves_gradients_finite(name: str) -> None:
    logits, labels = example()
    segmentation_loss(name)(logits, torch.zeros_like(labels)).backward()  # type: ignore[arg-type]
    assert torch.isfinite(logits.grad).all()


UNKNOWN = torch.tensor([[False, False, True, True], [False, False, False, False]])


def test_merged_probabilities_are_sums_and_other_samples_stay() -> None:
    logits, _ = example()
    p, merged = logits.softmax(1), merge_unknown(logits, UNKNOWN).softmax(1)
    assert torch.allclose(merged[0, 0], p[0, [0, 2, 3]].sum(0), atol=1e-6)
    assert torch.allclose(merged[0, 1], p[0, 1], atol=1e-6)
    assert not merged[0, 2:].any()
    assert torch.allclose(merged[1], p[1], atol=1e-6)


def test_the_gradient_of_an_unknown_class_is_that_of_the_merged_class() -> None:
    """With q = p0 + p2 + p3, the loss of a background voxel is -log q: d/dz_c = p_c - p_c / q for the merged classes,
    and the label's own p_1 - 1 or p_1 for the known one."""
    logits, labels = example()
    labels = torch.where(labels > 1, 0.0, labels)  # nobody drew 2 and 3
    merged = merge_unknown(logits, UNKNOWN)
    F.cross_entropy(merged, labels[:, 0].long(), reduction="sum").backward()
    gradient, p = logits.grad[0], logits.detach().softmax(1)[0]
    together = p[[0, 2, 3]].sum(0)
    background = labels[0, 0] == 0
    for c in (0, 2, 3):
        expected = torch.where(background, p[c] - p[c] / together, p[c])
        assert torch.allclose(gradient[c], expected, atol=1e-5)
    assert torch.allclose(gradient[1], p[1] - (~background).float(), atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_naming_an_unknown_structure_costs_nothing(name: str) -> None:
    labels = torch.zeros(1, 1, 4, 4, 4)
    labels[..., 0] = 1
    known = F.one_hot(labels[:, 0].long(), 3).movedim(-1, 1).float() * 30
    found = known.clone()
    found[:, 0, ..., 2:] = 0
    found[:, 2, ..., 2:] = 30  # the network finds label 2 where nobody looked for it
    unknown = torch.tensor([[False, False, True]])
    loss = segmentation_loss(name)  # type: ignore[arg-type]
    with_it, without = (float(loss(merge_unknown(x, unknown), labels)) for x in (found, known))
    assert with_it == pytest.approx(without, abs=1e-4)
    assert float(loss(found, labels)) > with_it + 0.05  # without merging it is punished


def test_deep_supervision_outputs_are_all_merged() -> None:
    logits, _ = example()
    merged = merge_unknown([logits, logits[..., ::2]], UNKNOWN)
    assert [tuple(m.shape) for m in merged] == [tuple(logits.shape), tuple(logits[..., ::2].shape)]
    assert torch.equal(merged[1], merge_unknown(logits[..., ::2], UNKNOWN))
