"""The blocks that a U-Net can be built of, by name, and stages of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from medai.networks.blocks import BlockSize, BlockStyle, ConvolutionBlock, convolution, finish
from medai.networks.dynamic import DynamicBlock
from medai.networks.multiscale import MultiScaleAttentionBlock


class SeparableBlock(nn.Sequential):
    """Depthwise then pointwise convolution (Chollet 2017; Howard et al. 2017, MobileNets).

    k^d m + m n weights in place of k^d m n for m inputs and n outputs: in 3D about a twentieth. As in Chollet's
    Xception nothing lies between the two.
    """

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        one = (1,) * style.dims
        super().__init__(
            convolution(style.dims, BlockSize(size.inputs, size.inputs, size.kernel, size.stride), groups=size.inputs),
            convolution(style.dims, BlockSize(size.inputs, size.outputs, one, one)),
            *finish(style, size.outputs),
        )


BLOCKS: dict[str, Callable[[BlockSize, BlockStyle], nn.Module]] = {
    "convolution": ConvolutionBlock,
    "separable": SeparableBlock,
    "dynamic": DynamicBlock,
    "multiscale_attention": MultiScaleAttentionBlock,
}
"""Name -> block, which maps (b, inputs, *size) to (b, outputs, *size / stride); register a block of your own here."""


class Stage(nn.Module):
    """Blocks in a row at one resolution; the first one carries the stride, the change of channels and the look in time.

    With `residual` the input is added to the output, through a projection where the shape differs, as in V-Net
    (Milletari et al. 2016).
    """

    def __init__(self, block: str, count: int, size: BlockSize, style: BlockStyle, residual: bool) -> None:
        super().__init__()
        make = BLOCKS[block]
        ones = (1,) * style.dims
        later = BlockSize(size.outputs, size.outputs, size.kernel, ones)
        alone = replace(style, taps=1)
        self.blocks = nn.Sequential(make(size, style), *(make(later, alone) for _ in range(count - 1)))
        changes_shape = size.inputs != size.outputs or any(step != 1 for step in size.stride)
        self.shortcut: nn.Module | None = None
        if residual:
            projection = BlockSize(size.inputs, size.outputs, ones, size.stride)
            self.shortcut = convolution(style.dims, projection) if changes_shape else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, inputs, *size) -> (b, outputs, *size / stride)."""
        y: torch.Tensor = self.blocks(x)
        return y if self.shortcut is None else y + self.shortcut(x)
