"""Building blocks of the U-Net: every part is chosen by name from a table, so that a new one is one entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

CONVOLUTIONS: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTIONS: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DROPOUTS: dict[int, type[nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}


def _instance_norm(dims: int, channels: int) -> nn.Module:
    return (nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d)(channels, affine=True)


def _batch_norm(dims: int, channels: int) -> nn.Module:
    return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels)


def _group_norm(dims: int, channels: int) -> nn.Module:
    groups = next(count for count in (8, 4, 2, 1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)


NORMALIZATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "instance": _instance_norm,
    "batch": _batch_norm,
    "group": _group_norm,
    "none": lambda dims, channels: nn.Identity(),
}
"""Name -> function of (spatial dimensions, channels)."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "gelu": lambda: nn.GELU(),
    "silu": lambda: nn.SiLU(inplace=True),
}
"""Name -> function that makes the activation."""


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network have in common."""

    dims: int
    normalization: str
    activation: str
    dropout: float


@dataclass(frozen=True)
class BlockSize:
    """What differs between blocks: channels in and out, kernel and stride per spatial axis."""

    inputs: int
    outputs: int
    kernel: Sequence[int]
    stride: Sequence[int]


def convolution(dims: int, size: BlockSize, groups: int = 1) -> nn.Module:
    """A convolution whose output is the input's size divided by the stride (rounded up); no bias, a norm follows."""
    padding = tuple((width - 1) // 2 for width in size.kernel)
    make = CONVOLUTIONS[dims]
    return make(
        size.inputs, size.outputs, tuple(size.kernel), tuple(size.stride), padding=padding, groups=groups, bias=False
    )


def _finish(style: BlockStyle, channels: int) -> list[nn.Module]:
    """Dropout where asked for, normalisation, activation."""
    dropout = [DROPOUTS[style.dims](style.dropout)] if style.dropout > 0 else []
    return [*dropout, NORMALIZATIONS[style.normalization](style.dims, channels), ACTIVATIONS[style.activation]()]


class ConvolutionBlock(nn.Sequential):
    """Convolution, dropout, normalisation, activation: the unit of nnU-Net's plain U-Net (Isensee et al. 2021)."""

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        super().__init__(convolution(style.dims, size), *_finish(style, size.outputs))


class SeparableBlock(nn.Sequential):
    """Depthwise then pointwise convolution (Chollet 2017): about a tenth of the multiplications in 3D."""

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        one = (1,) * style.dims
        super().__init__(
            convolution(style.dims, BlockSize(size.inputs, size.inputs, size.kernel, size.stride), groups=size.inputs),
            convolution(style.dims, BlockSize(size.inputs, size.outputs, one, one)),
            *_finish(style, size.outputs),
        )


BLOCKS: dict[str, Callable[[BlockSize, BlockStyle], nn.Module]] = {
    "convolution": ConvolutionBlock,
    "separable": SeparableBlock,
}
"""Name -> block, which maps (b, inputs, *size) to (b, outputs, *size / stride); register a block of your own here."""


class Stage(nn.Module):
    """Blocks in a row at one resolution; the first one carries the stride and the change of channels.

    With `residual` the input is added to the output, through a projection where the shape differs, as in V-Net
    (Milletari et al. 2016).
    """

    def __init__(self, block: str, count: int, size: BlockSize, style: BlockStyle, residual: bool) -> None:
        super().__init__()
        make = BLOCKS[block]
        ones = (1,) * style.dims
        later = BlockSize(size.outputs, size.outputs, size.kernel, ones)
        self.blocks = nn.Sequential(*(make(size if index == 0 else later, style) for index in range(count)))
        changes_shape = size.inputs != size.outputs or any(step != 1 for step in size.stride)
        self.shortcut: nn.Module | None = None
        if residual:
            projection = BlockSize(size.inputs, size.outputs, ones, size.stride)
            self.shortcut = convolution(style.dims, projection) if changes_shape else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, inputs, *size) -> (b, outputs, *size / stride)."""
        y: torch.Tensor = self.blocks(x)
        return y if self.shortcut is None else y + self.shortcut(x)
