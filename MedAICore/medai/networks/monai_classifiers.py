"""MONAI's classifiers behind the registry, in 2D and 3D: DenseNet, ResNet, SE-ResNet, EfficientNet."""

from __future__ import annotations

from dataclasses import dataclass

from monai.networks.blocks.squeeze_and_excitation import SEResNetBottleneck
from monai.networks.nets import DenseNet, EfficientNetBN, ResNet, SENet
from torch import nn

from medai.errors import ConfigError
from medai.networks.classifiers import check_classes, check_input

_EFFICIENTNETS = tuple(f"efficientnet-b{n}" for n in range(9))


@dataclass(frozen=True)
class DenseNetArguments:
    """Arguments of MONAI's DenseNet (Huang et al. 2017); the defaults are DenseNet-121."""

    classes: int
    dims: int = 3
    in_channels: int = 1
    init_features: int = 64
    growth_rate: int = 32
    blocks: tuple[int, ...] = (6, 12, 24, 16)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        _check_positive("init_features, growth_rate or blocks", (self.init_features, self.growth_rate, *self.blocks))
        _check_dropout(self.dropout)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (2 ** (len(self.blocks) + 1),) * self.dims


@dataclass(frozen=True)
class ResNetArguments:
    """Arguments of MONAI's ResNet (He et al. 2016); the defaults are ResNet-18.

    `small` takes a stem of 3 voxels without stride and pooling, for images of few voxels.
    """

    classes: int
    dims: int = 3
    in_channels: int = 1
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    small: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        if len(self.widths) != 4 or len(self.blocks) != 4:
            raise ConfigError(
                f"widths {list(self.widths)} and blocks {list(self.blocks)} are not of four stages.", "Give four each."
            )
        _check_positive("widths or blocks", (*self.widths, *self.blocks))

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (8 if self.small else 32,) * self.dims


@dataclass(frozen=True)
class SEResNetArguments:
    """Arguments of MONAI's SE-ResNet with bottlenecks (Hu et al. 2018); the defaults are SE-ResNet-50."""

    classes: int
    dims: int = 3
    in_channels: int = 1
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    reduction: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        if len(self.blocks) != 4:
            raise ConfigError(f"blocks {list(self.blocks)} has {len(self.blocks)} stages.", "Give four.")
        _check_positive("blocks or reduction", (self.reduction, *self.blocks))
        _check_dropout(self.dropout)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (32,) * self.dims


@dataclass(frozen=True)
class EfficientNetArguments:
    """Arguments of MONAI's EfficientNet (Tan and Le 2019), `variant` efficientnet-b0 to -b8."""

    classes: int
    dims: int = 3
    in_channels: int = 1
    variant: str = "efficientnet-b0"

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        if self.variant not in _EFFICIENTNETS:
            raise ConfigError(f"variant is '{self.variant}'.", f"Use one of {', '.join(_EFFICIENTNETS)}.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (32,) * self.dims


def build_densenet(arguments: DenseNetArguments) -> nn.Module:
    """MONAI's DenseNet of these arguments."""
    a = arguments
    return DenseNet(
        spatial_dims=a.dims,
        in_channels=a.in_channels,
        out_channels=a.classes,
        init_features=a.init_features,
        growth_rate=a.growth_rate,
        block_config=a.blocks,
        dropout_prob=a.dropout,
    )


def build_resnet(arguments: ResNetArguments) -> nn.Module:
    """MONAI's ResNet with basic blocks of these arguments."""
    a = arguments
    return ResNet(
        block="basic",
        layers=list(a.blocks),
        block_inplanes=list(a.widths),
        spatial_dims=a.dims,
        n_input_channels=a.in_channels,
        conv1_t_size=3 if a.small else 7,
        conv1_t_stride=1 if a.small else 2,
        no_max_pool=a.small,
        num_classes=a.classes,
    )


def build_seresnet(arguments: SEResNetArguments) -> nn.Module:
    """MONAI's SE-ResNet of these arguments."""
    a = arguments
    return SENet(
        spatial_dims=a.dims,
        in_channels=a.in_channels,
        block=SEResNetBottleneck,
        layers=a.blocks,
        groups=1,
        reduction=a.reduction,
        dropout_prob=a.dropout or None,
        inplanes=64,
        input_3x3=False,
        downsample_kernel_size=1,
        num_classes=a.classes,
    )


def build_efficientnet(arguments: EfficientNetArguments) -> nn.Module:
    """MONAI's EfficientNet of these arguments, without pretrained weights."""
    a = arguments
    return EfficientNetBN(
        a.variant, pretrained=False, spatial_dims=a.dims, in_channels=a.in_channels, num_classes=a.classes
    )


def _check_positive(names: str, values: tuple[int, ...]) -> None:
    if min(values) < 1:
        raise ConfigError(f"{names} has a number below 1.", "Use whole numbers from 1 up.")


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout is {dropout}.", "Give a probability from 0 to below 1.")
