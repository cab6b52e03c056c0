"""Convolutions whose kernel is mixed anew for every image, and for every frame of a sequence (Chen et al. 2020)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from medai.networks.blocks import BlockSize, BlockStyle, finish

_REDUCTION = 4
_EPSILON = 1e-5
_SLOPE = 0.1  # of the bottleneck's rectifier: of its few units none may die
_EVEN = 0.01  # standard deviation of the last layer: attention starts nearly even, so that every kernel learns


class DynamicConvolution(nn.Module):
    """Dynamic convolution in space, or in space and time.

    Chen et al. 2020, "Dynamic Convolution: Attention over Convolution Kernels": K kernels W_k are mixed to
    sum_k a_k(x) W_k with weights a(x) = softmax(MLP(pooled x)) that sum to 1; as a convolution is linear in its kernel,
    this is the same mixture of the K results. The pooled x is mean and standard deviation of every channel, as instance
    normalisation leaves little in the mean alone. Here the weights are drawn up for every *frame*, from what it shows
    and what its sequence shows on average, and with `style.taps` of 3 the kernels also extend over the frame before and
    the one after (at the ends of the sequence the frame itself): a convolution in 2D + t or 3D + t. The paper keeps the
    attention even in early training by a high temperature; here its last layer begins near zero, with the same effect.

    Samples in a row are the frames of one sequence: (b, frames, ...) folded into the first axis.
    """

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        super().__init__()
        self.size, self.style = size, style
        inputs = size.inputs * style.taps
        self.weight = nn.Parameter(torch.empty(style.kernels, size.outputs, inputs, *size.kernel))
        described = 2 * size.inputs * (2 if style.frames > 1 else 1)
        hidden = max(4, size.inputs // _REDUCTION)
        self.squeeze = nn.Linear(described, hidden)
        self.choose = nn.Linear(hidden, style.kernels)
        nn.init.normal_(self.choose.weight, std=_EVEN)
        nn.init.zeros_(self.choose.bias)
        # He initialisation for leaky rectifiers, as every convolution of the U-Net has (He et al. 2015).
        fan_in = inputs * math.prod(size.kernel)
        nn.init.normal_(self.weight, std=math.sqrt(2 / (1 + 0.01**2) / fan_in))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Weights (b frames, K) of the kernels, which sum to 1."""
        flat = x.flatten(2)
        mean = flat.mean(dim=2)
        spread = ((flat - mean[:, :, None]).square().mean(dim=2) + _EPSILON).sqrt()
        pooled = torch.cat((mean, spread), dim=1)
        if self.style.frames > 1:
            sequences = pooled.unflatten(0, (-1, self.style.frames))
            average = sequences.mean(dim=1, keepdim=True).expand_as(sequences)
            pooled = torch.cat((sequences, average), dim=2).flatten(0, 1)
        return self.choose(F.leaky_relu(self.squeeze(pooled), _SLOPE)).softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b frames, inputs, *size) -> (b frames, outputs, *size / stride)."""
        weights = self.attention(x)
        if self.style.taps > 1:
            x = self._with_neighbours(x)
        count, size = x.shape[0], self.size
        # One group per frame: every frame is convolved with its own kernel in one call.
        kernels = torch.matmul(weights, self.weight.flatten(1).to(weights.dtype))
        kernels = kernels.view(count * size.outputs, *self.weight.shape[2:])
        convolve = F.conv2d if self.style.dims == 2 else F.conv3d
        padding = tuple((width - 1) // 2 for width in size.kernel)
        joined = x.reshape(1, -1, *x.shape[2:])
        y = convolve(joined, kernels, stride=tuple(size.stride), padding=padding, groups=count)
        return y.view(count, size.outputs, *y.shape[2:])

    def _with_neighbours(self, x: torch.Tensor) -> torch.Tensor:
        """Channels of the frame before, the frame and the frame after: (b frames, 3 inputs, *size)."""
        frames = x.unflatten(0, (-1, self.style.frames))
        before = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
        after = torch.cat((frames[:, 1:], frames[:, -1:]), dim=1)
        return torch.cat((before, frames, after), dim=2).flatten(0, 1)


class DynamicBlock(nn.Sequential):
    """Dynamic convolution, dropout, normalisation, activation."""

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        super().__init__(DynamicConvolution(size, style), *finish(style, size.outputs))
