"""The U-Net of this project: encoder and decoder with skip connections, in 2D and 3D.

Ronneberger et al. 2015 (the architecture), Cicek et al. 2016 (3D), Isensee et al. 2021 (strided convolutions, instance
normalisation, deep supervision). Every size is an argument, and the arguments are plain data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from medai.errors import ConfigError
from medai.networks.blocks import (
    ACTIVATIONS,
    BLOCKS,
    CONVOLUTIONS,
    NORMALIZATIONS,
    TRANSPOSED_CONVOLUTIONS,
    BlockSize,
    BlockStyle,
    Stage,
)


@dataclass(frozen=True)
class UNetArguments:
    """Architecture of a `UNet`; the lists have one entry per stage, from full resolution down.

    `strides[0]` is normally 1 in every direction; axis order is (k, j, i), or (j, i) in 2D. An empty
    `decoder_blocks_per_stage` means as many blocks as the encoder has at that resolution.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    spatial_dims: int = 3
    kernel_sizes: tuple[tuple[int, ...], ...] = ()
    blocks_per_stage: tuple[int, ...] = ()
    decoder_blocks_per_stage: tuple[int, ...] = ()
    block: str = "convolution"
    residual: bool = False
    normalization: str = "instance"
    activation: str = "leaky_relu"
    deep_supervision: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        stages = len(self.channels)
        _choice("spatial_dims", self.spatial_dims, (2, 3))
        _choice("block", self.block, tuple(BLOCKS))
        _choice("normalization", self.normalization, tuple(NORMALIZATIONS))
        _choice("activation", self.activation, tuple(ACTIVATIONS))
        _positive("in_channels", (self.in_channels,))
        _positive("out_channels", (self.out_channels,))
        _positive("channels", self.channels)
        if stages < 2:
            raise ConfigError(f"channels {list(self.channels)} has {stages} stage.", "A U-Net needs at least two.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}.", "Give a probability from 0 to below 1.")
        _vectors("strides", self.strides, stages, self.spatial_dims)
        if self.kernel_sizes:
            _vectors("kernel_sizes", self.kernel_sizes, stages, self.spatial_dims)
            if any(size % 2 == 0 for kernel in self.kernel_sizes for size in kernel):
                raise ConfigError(f"kernel_sizes {_plain(self.kernel_sizes)} has an even size.", "Use odd sizes.")
        _counts("blocks_per_stage", self.blocks_per_stage, stages)
        _counts("decoder_blocks_per_stage", self.decoder_blocks_per_stage, stages - 1)

    @property
    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """Kernel per stage, 3 in every direction where none was given."""
        return self.kernel_sizes or ((3,) * self.spatial_dims,) * len(self.channels)

    @property
    def encoder_blocks(self) -> tuple[int, ...]:
        """Blocks per encoder stage, two where none was given."""
        return self.blocks_per_stage or (2,) * len(self.channels)

    @property
    def decoder_blocks(self) -> tuple[int, ...]:
        """Blocks per decoder stage, from full resolution down."""
        return self.decoder_blocks_per_stage or self.encoder_blocks[:-1]

    @property
    def divisor(self) -> tuple[int, ...]:
        """The input size must be a multiple of this in each direction."""
        return tuple(math.prod(stride[axis] for stride in self.strides) for axis in range(self.spatial_dims))


def _plain(value: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    return [list(row) for row in value]


def _choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}.", f"Use one of {', '.join(map(str, allowed))}.")


def _positive(name: str, values: tuple[int, ...]) -> None:
    if any(not isinstance(value, int) or isinstance(value, bool) or value < 1 for value in values):
        raise ConfigError(f"{name} is {list(values)}.", "Use whole numbers from 1 up.")


def _vectors(name: str, rows: tuple[tuple[int, ...], ...], stages: int, dims: int) -> None:
    if len(rows) != stages or any(len(row) != dims for row in rows):
        raise ConfigError(f"{name} {_plain(rows)} does not fit.", f"Give {stages} entries of {dims} numbers each.")
    for row in rows:
        _positive(name, row)


def _counts(name: str, counts: tuple[int, ...], stages: int) -> None:
    if counts and len(counts) != stages:
        raise ConfigError(f"{name} {list(counts)} does not fit.", f"Give {stages} numbers.")
    _positive(name, counts)


class UNet(nn.Module):
    """U-Net that maps (b, in_channels, k, j, i) to logits (b, out_channels, k, j, i); in 2D without k.

    In training with deep supervision the result is a list of logits, highest resolution first, each at the size of its
    decoder stage. The spatial size must be a multiple of `arguments.divisor`.
    """

    def __init__(self, arguments: UNetArguments) -> None:
        super().__init__()
        a = self.arguments = arguments
        ones = (1,) * a.spatial_dims
        last = len(a.channels) - 1

        style = BlockStyle(a.spatial_dims, a.normalization, a.activation, a.dropout)

        def stage(inputs: int, index: int, count: int, stride: tuple[int, ...]) -> Stage:
            size = BlockSize(inputs, a.channels[index], a.kernels[index], stride)
            return Stage(a.block, count, size, style, a.residual)

        widths = (a.in_channels, *a.channels)
        self.encoder = nn.ModuleList(
            stage(widths[index], index, a.encoder_blocks[index], a.strides[index]) for index in range(last + 1)
        )
        transposed = TRANSPOSED_CONVOLUTIONS[a.spatial_dims]
        # Decoder lists run from full resolution down, like every list in the arguments; forward walks them backwards.
        self.up = nn.ModuleList(
            transposed(a.channels[index + 1], a.channels[index], a.strides[index + 1], a.strides[index + 1])
            for index in range(last)
        )
        self.decoder = nn.ModuleList(
            stage(2 * a.channels[index], index, a.decoder_blocks[index], ones) for index in range(last)
        )
        pointwise = CONVOLUTIONS[a.spatial_dims]
        self.heads = nn.ModuleList(
            pointwise(a.channels[index], a.out_channels, 1) for index in range(last if a.deep_supervision else 1)
        )
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits (b, out_channels, *size), or the list of them that the class names."""
        skips = []
        for stage in self.encoder:
            x = stage(x)  # (b, channels[s], *size / strides up to s)
            skips.append(x)
        outputs: list[torch.Tensor] = []
        for index in reversed(range(len(self.decoder))):
            x = torch.cat((self.up[index](x), skips[index]), dim=1)  # (b, 2 channels[s], *size at s)
            x = self.decoder[index](x)
            if index < len(self.heads) and (self.training or index == 0):
                outputs.append(self.heads[index](x))
        return outputs[::-1] if self.training and self.arguments.deep_supervision else outputs[-1]


def _initialise(module: nn.Module) -> None:
    """He initialisation for leaky rectifiers (He et al. 2015)."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
