"""The losses of segmentation that a training can choose from."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from monai.losses import FocalLoss
from torch import nn

from medai.config.training import LossName
from medai.losses.overlap import OverlapLoss

_DICE_SMOOTH = 5e-6  # MONAI's 1e-5 on numerator and denominator, for a Dice that is written without its factor 2
_TVERSKY_SMOOTH = 1e-5


class CrossEntropy(nn.Module):
    """Mean cross entropy of logits (b, n, *size) against labels (b, 1, *size)."""

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean over all voxels."""
        return F.cross_entropy(logits.float(), labels.squeeze(1).long())


class DiceAndCrossEntropy(nn.Module):
    """Sum of cross entropy and soft Dice, as nnU-Net trains with (Isensee et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = OverlapLoss(0.5, 0.5, _DICE_SMOOTH)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits (b, n, *size) against labels (b, 1, *size)."""
        log_p = F.log_softmax(logits.float(), dim=1)
        cross_entropy = F.nll_loss(log_p, labels.squeeze(1).long())
        return cross_entropy + self.dice.of_probabilities(log_p.exp(), labels)


def _focal() -> nn.Module:
    return FocalLoss(include_background=True, to_onehot_y=True, gamma=2.0, use_softmax=True)


LOSSES: dict[LossName, Callable[[], nn.Module]] = {
    "dice_ce": DiceAndCrossEntropy,
    "ce": CrossEntropy,
    "dice": lambda: OverlapLoss(0.5, 0.5, _DICE_SMOOTH),
    "focal": _focal,
    "tversky": lambda: OverlapLoss(0.3, 0.7, _TVERSKY_SMOOTH),
}
"""Name -> function that makes the loss of logits (b, n, *size) and labels (b, 1, *size):

* ``dice_ce``: cross entropy plus soft Dice; ``ce``, ``dice``: one of them.
* ``focal``: cross entropy that leaves out what is easy, (1 - p)^2 (Lin et al. 2017); MONAI's.
* ``tversky``: Dice in which a missed voxel counts more than twice as much as a wrong one (Salehi et al. 2017).
"""


def segmentation_loss(name: LossName) -> nn.Module:
    """The loss of this name, on one output; `DeepSupervision` puts it on several."""
    return LOSSES[name]()
