"""A block that looks at several scales at once and weighs them by attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from medai.networks.blocks import BlockSize, BlockStyle, convolution, finish

DILATIONS = (2, 4)
_REDUCTION = 4
_NARROWEST = 8


class ScaleAttention(nn.Module):
    """Weights of several branches for every channel, from all of them together (Li et al. 2019, Selective Kernel).

    The branches are added and averaged over space, a bottleneck turns that into one score per branch and channel, and
    softmax over the branches makes weights that sum to 1.
    """

    def __init__(self, channels: int, branches: int) -> None:
        super().__init__()
        hidden = max(_NARROWEST, channels // _REDUCTION)
        self.branches = branches
        self.squeeze = nn.Linear(channels, hidden)
        self.score = nn.Linear(hidden, branches * channels)

    def weights(self, stacked: torch.Tensor) -> torch.Tensor:
        """Weights (b, branches, c) of branches (b, branches, c, *size)."""
        pooled = stacked.sum(dim=1).flatten(2).mean(dim=2)  # (b, c)
        scores = self.score(F.relu(self.squeeze(pooled)))
        return scores.unflatten(1, (self.branches, -1)).softmax(dim=1)

    def forward(self, stacked: torch.Tensor) -> torch.Tensor:
        """The weighted sum (b, c, *size) of branches (b, branches, c, *size)."""
        weights = self.weights(stacked)
        return (stacked * weights.view(*weights.shape, *(1,) * (stacked.ndim - 3))).sum(dim=1)


class MultiScaleAttentionBlock(nn.Module):
    """A feature extractor and context extractors at growing distances, fused by attention over the scales.

    A convolution finds features; depthwise convolutions of it with dilation 2 and 4 (Yu and Koltun 2016; parallel as in
    the ASPP of Chen et al. 2018, each 1 / channels of a full one's cost) put them into the context of 5 and 9 voxels
    around. `ScaleAttention` weighs the scales for every channel (Li et al. 2019).
    """

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        super().__init__()
        self.features = nn.Sequential(convolution(style.dims, size), *finish(style, size.outputs))
        around = BlockSize(size.outputs, size.outputs, size.kernel, (1,) * style.dims)
        self.contexts = nn.ModuleList(
            nn.Sequential(
                convolution(style.dims, around, groups=size.outputs, dilation=dilation), *finish(style, size.outputs)
            )
            for dilation in DILATIONS
        )
        self.attention = ScaleAttention(size.outputs, 1 + len(DILATIONS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, inputs, *size) -> (b, outputs, *size / stride)."""
        near = self.features(x)
        fused: torch.Tensor = self.attention(torch.stack([near, *(context(near) for context in self.contexts)], dim=1))
        return fused
