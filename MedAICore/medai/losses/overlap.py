"""Losses of the overlap of whole masks: soft Dice and Tversky, over a batch and over all processes that train."""

from __future__ import annotations

import torch
import torch.distributed
from torch import nn


class OverlapLoss(nn.Module):
    """1 - tp / (tp + alpha fp + beta fn), the mean over the foreground labels, of softmax probabilities.

    With alpha = beta = 1/2 it is the soft Dice loss (Milletari et al. 2016), with alpha = 0.3 and beta = 0.7, which
    punishes missed voxels more, the Tversky loss as Salehi et al. 2017 recommend it. MONAI has both; this one sums true
    and false positives over the batch *and over all processes* before dividing, so that several GPUs minimise what one
    would, and needs no one-hot image of the labels.
    """

    def __init__(self, alpha: float, beta: float, smooth: float) -> None:
        super().__init__()
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits (b, n, *size) against labels (b, 1, *size)."""
        return self.of_probabilities(logits.float().softmax(dim=1), labels)

    def of_probabilities(self, p: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As `forward`, of probabilities."""
        count = p.shape[1]
        flat = labels.long().flatten()
        own = p.gather(1, labels.long()).flatten()
        both = torch.zeros(count, dtype=p.dtype, device=p.device).scatter_add(0, flat, own)
        truth = torch.bincount(flat, minlength=count).to(p.dtype)
        predicted = p.sum(dim=[0, *range(2, p.ndim)])
        both, truth, predicted = _over_processes(torch.stack([both, truth, predicted])).unbind()
        false_positive, false_negative = predicted - both, truth - both
        overlap = (both + self.smooth) / (both + self.alpha * false_positive + self.beta * false_negative + self.smooth)
        return 1.0 - overlap[1:].mean()


def _over_processes(sums: torch.Tensor) -> torch.Tensor:
    """The sums of all processes; gradients flow back to each of them."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return sums
    from torch.distributed.nn.functional import all_reduce

    total: torch.Tensor = all_reduce(sums)
    return total
