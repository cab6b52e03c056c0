"""Classifiers of this project: the seed article's CNN, the same for any input, and one that looks at a structure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from medai.errors import ConfigError
from medai.networks.blocks import CONVOLUTIONS, DROPOUTS

BATCH_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MAX_POOLS: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_ADAPTIVE_POOLS: dict[int, type[nn.Module]] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
SEED_SIZE = 24


@dataclass(frozen=True)
class SeedCNNArguments:
    """Arguments of `SeedCNN`: there is nothing to choose but the number of classes."""

    classes: int = 2
    dims: int = 2
    in_channels: int = 1

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        if self.dims != 2 or self.in_channels != 1:
            raise ConfigError(
                f"seed_cnn takes 2D images of one channel, not {self.dims}D of {self.in_channels}.", "Use seed_cnn_any."
            )
        check_classes(self.classes)

    @property
    def divisor(self) -> tuple[int, ...]:
        """The input has one size only."""
        return (SEED_SIZE, SEED_SIZE)


@dataclass(frozen=True)
class SeedCNNAnyArguments:
    """Arguments of `SeedCNNAny`; `widths` are the channels of the two stages, `grid` the positions that are kept."""

    classes: int
    dims: int = 2
    in_channels: int = 1
    widths: tuple[int, ...] = (64, 128)
    grid: int = 6
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        if not self.widths or min(self.widths) < 1 or self.grid < 1:
            raise ConfigError(f"widths {list(self.widths)} or grid {self.grid} is below 1.", "Use 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}.", "Give a probability from 0 to below 1.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (2 ** len(self.widths),) * self.dims


@dataclass(frozen=True)
class StructureCNNArguments:
    """Arguments of `StructureCNN`; the last input channel is the mask of the structure."""

    classes: int
    dims: int = 3
    in_channels: int = 2
    widths: tuple[int, ...] = (16, 32, 64)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        if self.in_channels < 2:
            raise ConfigError("structure_cnn needs an image and a mask.", "Use in_channels of 2 or more.")
        if not self.widths or min(self.widths) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"widths {list(self.widths)} or dropout {self.dropout} is out of range.", "Correct it.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (2 ** (len(self.widths) - 1),) * self.dims


def check_input(dims: int, in_channels: int) -> None:
    """ConfigError for another number of dimensions than 2 or 3, or no channel."""
    if dims not in (2, 3):
        raise ConfigError(f"dims is {dims}.", "Use 2 or 3.")
    if in_channels < 1:
        raise ConfigError(f"in_channels is {in_channels}.", "Use 1 or more.")


def check_classes(classes: int) -> None:
    """ConfigError for fewer than two classes."""
    if classes < 2:
        raise ConfigError(f"classes is {classes}.", "A classifier tells two or more classes apart.")


def _convolution(dims: int, inputs: int, outputs: int) -> list[nn.Module]:
    """Convolution 3 with padding 1 and bias, batch normalisation, ReLU: the article's unit."""
    return [CONVOLUTIONS[dims](inputs, outputs, 3, padding=1), BATCH_NORMS[dims](outputs), nn.ReLU(inplace=True)]


class SeedCNN(nn.Module):
    """The CNN of the article that this project grew from, as it is listed there: (b, 1, 24, 24) -> (b, classes).

    Convolutions 1-64, 64-64, max-pool, 64-128, 128-128, max-pool, each followed by batch normalisation and ReLU; one
    fully connected layer from 128 * 6 * 6.
    """

    def __init__(self, arguments: SeedCNNArguments) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(2, 1, 64),
            *_convolution(2, 64, 64),
            nn.MaxPool2d(2),
            *_convolution(2, 64, 128),
            *_convolution(2, 128, 128),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Linear(128 * 6 * 6, arguments.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes); ConfigError for another input than 24 x 24."""
        if tuple(x.shape[1:]) != (1, SEED_SIZE, SEED_SIZE):
            raise ConfigError(
                f"seed_cnn was given inputs of {tuple(x.shape[1:])}, it takes (1, 24, 24).",
                "Use a patch of 1, 24, 24, or the network seed_cnn_any.",
            )
        logits: torch.Tensor = self.fc(self.features(x).flatten(1))
        return logits


class SeedCNNAny(nn.Module):
    """The seed CNN for any size, channels and 2D or 3D: (b, c, [k,] j, i) -> (b, classes).

    Adaptive average pooling brings what the convolutions leave to `grid` positions along each axis; with the defaults
    and an input of 24 x 24 it computes what `SeedCNN` does.
    """

    def __init__(self, arguments: SeedCNNAnyArguments) -> None:
        super().__init__()
        a = arguments
        layers: list[nn.Module] = []
        channels = a.in_channels
        for width in a.widths:
            layers += [*_convolution(a.dims, channels, width), *_convolution(a.dims, width, width)]
            layers.append(_MAX_POOLS[a.dims](2))
            channels = width
        self.features = nn.Sequential(*layers)
        self.pool = _ADAPTIVE_POOLS[a.dims](a.grid)
        self.dropout = nn.Dropout(a.dropout)
        self.fc = nn.Linear(channels * a.grid**a.dims, a.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes)."""
        logits: torch.Tensor = self.fc(self.dropout(self.pool(self.features(x)).flatten(1)))
        return logits


class StructureCNN(nn.Module):
    """Looks at a structure and at its surroundings: (b, images + mask, [k,] j, i) -> (b, classes).

    What the convolutions find is averaged twice, inside the mask (the last channel) and over everything; the decision
    is made from both.
    """

    def __init__(self, arguments: StructureCNNArguments) -> None:
        super().__init__()
        a = arguments
        layers: list[nn.Module] = []
        channels = a.in_channels
        for number, width in enumerate(a.widths):
            if number:
                layers.append(_MAX_POOLS[a.dims](2))
            layers += [*_convolution(a.dims, channels, width), *_convolution(a.dims, width, width)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.dropout = DROPOUTS[a.dims](a.dropout)
        self.fc = nn.Linear(2 * channels, a.classes)
        self._pool = nn.functional.adaptive_avg_pool2d if a.dims == 2 else nn.functional.adaptive_avg_pool3d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes)."""
        features = self.dropout(self.features(x))
        inside = self._pool(x[:, -1:].clamp(0, 1), features.shape[2:])  # part of each position that the mask covers
        weight = inside.flatten(2).sum(2).clamp_min(1e-6)
        structure = (features * inside).flatten(2).sum(2) / weight
        logits: torch.Tensor = self.fc(torch.cat([structure, features.flatten(2).mean(2)], dim=1))
        return logits
