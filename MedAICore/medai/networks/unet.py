"""The U-Net of this project: encoder and decoder with skip connections, in 2D and 3D.

Ronneberger et al. 2015 (the architecture), Cicek et al. 2016 (3D), Isensee et al. 2021 (strided convolutions, instance
normalisation, deep supervision). Every size is an argument, and the arguments are plain data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from medai.errors import ConfigError
from medai.networks.blocks import (
    ACTIVATIONS,
    CONVOLUTIONS,
    NORMALIZATIONS,
    TRANSPOSED_CONVOLUTIONS,
    BlockSize,
    BlockStyle,
)
from medai.networks.fusion import AttentionFusion
from medai.networks.stages import BLOCKS, Stage

_TAPS = 3  # frames that a dynamic convolution over a sequence looks at: the one before, itself, the one after


@dataclass(frozen=True)
class UNetArguments:
    """Architecture of a `UNet`; the lists have one entry per stage, from full resolution down.

    `strides[0]` is normally 1 in every direction; axis order is (k, j, i), or (j, i) in 2D. An empty
    `decoder_blocks_per_stage` means as many blocks as the encoder has at that resolution.

    `block` is what stages are made of (`medai.networks.stages.BLOCKS`). `fusion` says how several inputs meet:
    ``early`` as channels of one encoder, ``attention`` in an encoder each, whose features `AttentionFusion` weighs at
    every resolution. `frames` above 1 takes the inputs for so many frames of a sequence (all inputs of the first frame,
    then of the second, ...) with the one to segment in the middle: one encoder of dynamic convolutions sees them all,
    in time, and attention fuses what it found. `dynamic_kernels` are mixed in every dynamic convolution.
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
    fusion: str = "early"
    frames: int = 1
    dynamic_kernels: int = 4

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
        self._check_sources()

    def _check_sources(self) -> None:
        _choice("fusion", self.fusion, ("early", "attention"))
        _positive("dynamic_kernels", (self.dynamic_kernels,))
        if self.frames < 1 or self.frames % 2 == 0 or self.in_channels % self.frames:
            raise ConfigError(
                f"frames is {self.frames} of {self.in_channels} inputs.",
                "Give an odd number of frames (the middle one is segmented), each with the same inputs.",
            )
        if self.frames > 1 and (self.block != "dynamic" or self.fusion != "early"):
            raise ConfigError(
                f"frames {self.frames} does not go with block '{self.block}' and fusion '{self.fusion}'.",
                "Sequences take block 'dynamic' and fusion 'early'.",
            )
        if self.fusion == "attention" and self.in_channels < 2:
            raise ConfigError("fusion 'attention' of one input.", "It takes two inputs or more.")

    @property
    def sources(self) -> int:
        """How many feature maps are fused at every resolution: frames, or inputs with an encoder each; 1 for none."""
        return self.in_channels if self.fusion == "attention" else self.frames

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

        style = BlockStyle(a.spatial_dims, a.normalization, a.activation, a.dropout, a.dynamic_kernels)
        in_time = replace(style, frames=a.frames, taps=_TAPS) if a.frames > 1 else style

        def stage(inputs: int, index: int, count: int, stride: tuple[int, ...], style: BlockStyle) -> Stage:
            size = BlockSize(inputs, a.channels[index], a.kernels[index], stride)
            return Stage(a.block, count, size, style, a.residual)

        def encoder(inputs: int) -> nn.ModuleList:
            widths = (inputs, *a.channels)
            return nn.ModuleList(
                stage(widths[index], index, a.encoder_blocks[index], a.strides[index], in_time)
                for index in range(last + 1)
            )

        if a.fusion == "attention":
            self.encoders = nn.ModuleList(encoder(1) for _ in range(a.in_channels))
        else:
            self.encoder = encoder(a.in_channels // a.frames)
        transposed = TRANSPOSED_CONVOLUTIONS[a.spatial_dims]
        # Decoder lists run from full resolution down, like every list in the arguments; forward walks them backwards.
        self.up = nn.ModuleList(
            transposed(a.channels[index + 1], a.channels[index], a.strides[index + 1], a.strides[index + 1])
            for index in range(last)
        )
        self.decoder = nn.ModuleList(
            stage(2 * a.channels[index], index, a.decoder_blocks[index], ones, style) for index in range(last)
        )
        pointwise = CONVOLUTIONS[a.spatial_dims]
        self.heads = nn.ModuleList(
            pointwise(a.channels[index], a.out_channels, 1) for index in range(last if a.deep_supervision else 1)
        )
        if a.sources > 1:
            self.fusions = nn.ModuleList(AttentionFusion(a.spatial_dims, width, a.sources) for width in a.channels)
        self.apply(_initialise)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features (b, channels[s], *size / strides up to s) of every stage s, of all inputs and frames together."""
        a = self.arguments
        if a.sources == 1:
            return _features(self.encoder, x)
        if a.fusion == "attention":
            found = [_features(stages, x[:, n : n + 1]) for n, stages in enumerate(self.encoders)]  # type: ignore[arg-type]
            stacked = [torch.stack(maps, dim=1) for maps in zip(*found, strict=True)]
        else:
            frames = x.unflatten(1, (a.frames, -1)).flatten(0, 1)  # (b frames, inputs of a frame, *size)
            stacked = [y.unflatten(0, (-1, a.frames)) for y in _features(self.encoder, frames)]
        return [fuse(maps) for fuse, maps in zip(self.fusions, stacked, strict=True)]

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits (b, out_channels, *size), or the list of them that the class names."""
        skips = self.encode(x)
        x = skips[-1]
        outputs: list[torch.Tensor] = []
        for index in reversed(range(len(self.decoder))):
            x = torch.cat((self.up[index](x), skips[index]), dim=1)  # (b, 2 channels[s], *size at s)
            x = self.decoder[index](x)
            if index < len(self.heads) and (self.training or index == 0):
                outputs.append(self.heads[index](x))
        return outputs[::-1] if self.training and self.arguments.deep_supervision else outputs[-1]


def _features(encoder: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for stage in encoder:
        x = stage(x)
        found.append(x)
    return found


def _initialise(module: nn.Module) -> None:
    """He initialisation for leaky rectifiers (He et al. 2015); attention over sources starts evenly."""
    if isinstance(module, AttentionFusion):
        module.start_evenly()  # `apply` comes to a module after its parts
    elif isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
