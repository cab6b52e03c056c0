"""Parts of the U-Net's blocks, chosen by name from tables: convolutions, norms, activations; the plain block.

The blocks themselves, and the stages that they make up, are in `medai.networks.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """What all blocks of a network have in common.

    `kernels` are those that dynamic convolutions mix, `frames` how many samples in a row are frames of one sequence,
    and `taps` how many of these a dynamic convolution looks at (1: each alone, 3: with the one before and after).
    """

    dims: int
    normalization: str
    activation: str
    dropout: float
    kernels: int = 4
    frames: int = 1
    taps: int = 1


@dataclass(frozen=True)
class BlockSize:
    """What differs between blocks: channels in and out, kernel and stride per spatial axis."""

    inputs: int
    outputs: int
    kernel: Sequence[int]
    stride: Sequence[int]


def convolution(dims: int, size: BlockSize, groups: int = 1, dilation: int = 1) -> nn.Module:
    """A convolution whose output is the input's size divided by the stride (rounded up); no bias, a norm follows."""
    padding = tuple(dilation * ((width - 1) // 2) for width in size.kernel)
    make = CONVOLUTIONS[dims]
    return make(
        size.inputs,
        size.outputs,
        tuple(size.kernel),
        tuple(size.stride),
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=False,
    )


def finish(style: BlockStyle, channels: int) -> list[nn.Module]:
    """Dropout where asked for, normalisation, activation."""
    dropout = [DROPOUTS[style.dims](style.dropout)] if style.dropout > 0 else []
    return [*dropout, NORMALIZATIONS[style.normalization](style.dims, channels), ACTIVATIONS[style.activation]()]


class ConvolutionBlock(nn.Sequential):
    """Convolution, dropout, normalisation, activation: the unit of nnU-Net's plain U-Net (Isensee et al. 2021)."""

    def __init__(self, size: BlockSize, style: BlockStyle) -> None:
        super().__init__(convolution(style.dims, size), *finish(style, size.outputs))
