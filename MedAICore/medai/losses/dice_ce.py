"""Cross entropy plus soft Dice, on one output or on the outputs of deep supervision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import nn


def dice_and_cross_entropy() -> nn.Module:
    """Sum of cross entropy and soft Dice (Milletari et al. 2016) over the foreground labels, as nnU-Net trains with.

    Takes logits (b, n, *size) and labels (b, 1, *size). The Dice is computed over the whole batch (`batch=True`): a
    structure that a single patch misses then does not make its term jump between 0 and 1.
    """
    return DiceCELoss(
        to_onehot_y=True, softmax=True, include_background=False, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )


class DeepSupervision(nn.Module):
    """A loss on every output: weights 1, 1/2, 1/4, ... by resolution, scaled to sum 1 (Lee et al. 2015)."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: torch.Tensor | Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits (b, n, *size), or a list of them, highest resolution first, against labels (b, 1, *size)."""
        if isinstance(outputs, torch.Tensor):
            value: torch.Tensor = self.loss(outputs.float(), labels)
            return value
        weights = [0.5**level for level in range(len(outputs))]
        supervised = DeepSupervisionLoss(self.loss, weights=[weight / sum(weights) for weight in weights])
        total: torch.Tensor = supervised(list(outputs), labels)
        return total
