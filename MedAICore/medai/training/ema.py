"""Exponential moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """Average of a network's weights over the last steps, about 1 / (1 - decay) of them (Polyak and Juditsky 1992).

    Early in a run the decay is lower, (1 + step) / (10 + step), so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the weights after `step`; buffers are copied."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averaged: list[torch.Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averaged, list(network.parameters()), 1.0 - decay)
        for mine, other in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(other)
