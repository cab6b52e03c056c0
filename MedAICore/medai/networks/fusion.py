"""Features of several sources (modalities, frames of a sequence) fused by attention."""

from __future__ import annotations

import torch
from torch import nn

from medai.networks.blocks import CONVOLUTIONS
from medai.networks.multiscale import ScaleAttention

_EVEN = 0.01


class AttentionFusion(nn.Module):
    """The weighted mean (b, c, *size) of features (b, sources, c, *size), weights by channel and by place.

    The scores of a source are those of `ScaleAttention` for each channel (Li et al. 2019) plus one for each voxel, from
    the source's own features there (the spatial attention of CBAM, Woo et al. 2018); softmax over the sources makes
    weights that sum to 1. Equal sources are so handed on unchanged. Attention begins nearly even.
    """

    def __init__(self, dims: int, channels: int, sources: int) -> None:
        super().__init__()
        self.channel = ScaleAttention(channels, sources)
        self.place = CONVOLUTIONS[dims](sources * channels, sources, 1, groups=sources)
        self.start_evenly()

    def start_evenly(self) -> None:
        """Put the scores near zero, so that every source is used at first."""
        for module in (self.channel.score, self.place):
            nn.init.normal_(module.weight, std=_EVEN)  # type: ignore[arg-type]
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def weights(self, stacked: torch.Tensor) -> torch.Tensor:
        """Weights (b, sources, c, *size), which sum to 1 over the sources."""
        by_channel = self.channel.weights(stacked).clamp_min(1e-6).log()
        by_place = self.place(stacked.flatten(1, 2)).unsqueeze(2)  # (b, sources, 1, *size)
        return (by_channel.view(*by_channel.shape, *(1,) * (stacked.ndim - 3)) + by_place).softmax(dim=1)

    def forward(self, stacked: torch.Tensor) -> torch.Tensor:
        """(b, sources, c, *size) -> (b, c, *size)."""
        return (stacked * self.weights(stacked)).sum(dim=1)
