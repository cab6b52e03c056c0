"""MONAI's networks behind the registry: their arguments checked, their outputs as our own U-Net's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets import DynUNet, SegResNet
from torch import nn

from medai.errors import ConfigError


@dataclass(frozen=True)
class DynUNetArguments:
    """Arguments of MONAI's DynUNet (nnU-Net's architecture); the lists go by stage, full resolution first."""

    in_channels: int
    out_channels: int
    filters: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    spatial_dims: int = 3
    residual: bool = False
    deep_supervision: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        stages = len(self.filters)
        if self.spatial_dims not in (2, 3):
            raise ConfigError(f"spatial_dims is {self.spatial_dims}.", "Use 2 or 3.")
        if stages < 3:
            raise ConfigError(f"filters {list(self.filters)} has {stages} stages.", "DynUNet needs at least three.")
        for name, rows in (("strides", self.strides), ("kernel_sizes", self.kernel_sizes)):
            if len(rows) != stages or any(len(row) != self.spatial_dims or min(row) < 1 for row in rows):
                raise ConfigError(
                    f"{name} {[list(row) for row in rows]} does not fit {stages} stages in {self.spatial_dims}D.",
                    f"Give {stages} entries of {self.spatial_dims} whole numbers from 1 up.",
                )
        if min(self.in_channels, self.out_channels, *self.filters) < 1:
            raise ConfigError("A number of channels is below 1.", "Use whole numbers from 1 up.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """The input size must be a multiple of this in each direction."""
        sizes = [1] * self.spatial_dims
        for stride in self.strides:
            sizes = [size * step for size, step in zip(sizes, stride, strict=True)]
        return tuple(sizes)


@dataclass(frozen=True)
class SegResNetArguments:
    """Arguments of MONAI's SegResNet (Myronenko 2018); every stage halves the size in all directions."""

    in_channels: int
    out_channels: int
    init_filters: int = 8
    blocks_down: tuple[int, ...] = (1, 2, 2, 4)
    blocks_up: tuple[int, ...] = (1, 1, 1)
    spatial_dims: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        if self.spatial_dims not in (2, 3):
            raise ConfigError(f"spatial_dims is {self.spatial_dims}.", "Use 2 or 3.")
        if len(self.blocks_up) != len(self.blocks_down) - 1 or len(self.blocks_down) < 2:
            raise ConfigError(
                f"blocks_up {list(self.blocks_up)} does not fit blocks_down {list(self.blocks_down)}.",
                "Give one entry less in blocks_up than in blocks_down.",
            )
        if min(self.in_channels, self.out_channels, *self.blocks_down, *self.blocks_up) < 1:
            raise ConfigError("A number of channels or blocks is below 1.", "Use whole numbers from 1 up.")
        if self.init_filters < 8 or self.init_filters % 8:
            raise ConfigError(f"init_filters is {self.init_filters}.", "Use a multiple of 8 (its norm has 8 groups).")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}.", "Give a probability from 0 to below 1.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """The input size must be a multiple of this in each direction."""
        return (2 ** (len(self.blocks_down) - 1),) * self.spatial_dims


class StackedOutputs(nn.Module):
    """DynUNet whose training output is a list, highest resolution first, as `UNet` gives it.

    MONAI returns the heads of deep supervision stacked along axis 1, all at full resolution.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits (b, labels, *size), or the list of them in training."""
        y: torch.Tensor = self.network(x)
        if self.training and y.ndim == x.ndim + 1:  # (b, heads, labels, *size)
            return list(torch.unbind(y, dim=1))
        return y


def build_dynunet(arguments: DynUNetArguments) -> nn.Module:
    """MONAI's DynUNet of these arguments."""
    a = arguments
    supervised = a.deep_supervision
    return StackedOutputs(
        DynUNet(
            spatial_dims=a.spatial_dims,
            in_channels=a.in_channels,
            out_channels=a.out_channels,
            kernel_size=a.kernel_sizes,
            strides=a.strides,
            upsample_kernel_size=a.strides[1:],
            filters=a.filters,
            res_block=a.residual,
            deep_supervision=supervised,
            deep_supr_num=len(a.filters) - 2 if supervised else 1,
        )
    )


def build_segresnet(arguments: SegResNetArguments) -> nn.Module:
    """MONAI's SegResNet of these arguments."""
    a = arguments
    return SegResNet(
        spatial_dims=a.spatial_dims,
        in_channels=a.in_channels,
        out_channels=a.out_channels,
        init_filters=a.init_filters,
        blocks_down=a.blocks_down,
        blocks_up=a.blocks_up,
        dropout_prob=a.dropout or None,
    )
