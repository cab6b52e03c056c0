"""A classifier of shapes: measures of a binary mask beside a small CNN, where size and thickness tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from medai.errors import ConfigError
from medai.networks.blocks import CONVOLUTIONS
from medai.networks.classifiers import BATCH_NORMS, check_classes, check_input

_ERODED = 6
_OPENED = 4


@dataclass(frozen=True)
class ShapeNetArguments:
    """Arguments of `ShapeNet`.

    `widths` are the channels of the CNN's stages (empty: measures alone), of which the first sees the mask averaged
    over `shrink` voxels; `hidden` is the size of the layer that joins both.
    """

    classes: int
    dims: int = 3
    in_channels: int = 1
    widths: tuple[int, ...] = (8, 16, 32)
    shrink: int = 2
    hidden: int = 32
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the first argument that cannot be built."""
        check_input(self.dims, self.in_channels)
        check_classes(self.classes)
        if self.dims != 3 or self.in_channels != 1:
            raise ConfigError("shape_net takes one 3D mask.", "Use dims 3 and in_channels 1.")
        if any(width < 1 for width in self.widths) or self.shrink < 1 or self.hidden < 1:
            raise ConfigError("widths, shrink or hidden is below 1.", "Use 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}.", "Give a probability from 0 to below 1.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """Any size of at least this in each direction."""
        return (self.shrink * 2 ** max(len(self.widths), 1),) * 3


def shape_measures(mask: torch.Tensor) -> torch.Tensor:
    """Measures (b, m) of masks (b, 1, k, j, i) with values 0 to 1, in voxels; the same for any mirroring.

    Logarithms of volume, surface and their ratio; principal half-axes; how much is left after 1 to 6 erosions (how
    thick it is) and openings (how thick its parts are, Matheron's granulometry); radii; number of occupied lines along
    each axis (shadows), sorted.
    """
    # One by one, each in a box of its own: structures are much smaller than the inputs.
    return torch.cat([_measures(_cropped(one >= 0.5)) for one in mask.split(1)])


def _measures(inside: torch.Tensor) -> torch.Tensor:
    """Measures (1, m) of a boolean mask (1, 1, k, j, i)."""
    points = inside[0, 0].nonzero().float()  # (voxels, 3)
    volume = max(float(len(points)), 1.0)
    padded = F.pad(inside, (1,) * 6)
    sizes = padded.shape[2:]
    faces = [
        (padded.narrow(axis, 1, n - 1) ^ padded.narrow(axis, 0, n - 1)).sum() for axis, n in enumerate(sizes, start=2)
    ]
    surface = torch.stack(faces).sum().float().clamp_min(1.0)
    shadows = torch.stack([inside.any(axis).sum() for axis in (2, 3, 4)]).float().clamp_min(1.0).log().sort().values
    left, covered = _eroded(inside)[0], _opened(inside)[0]
    axes, radii = _axes_and_radii(points)
    log_volume = surface.new_tensor(volume).log()
    size = torch.stack([log_volume, surface.log(), volume / surface, surface.log() - 2 / 3 * log_volume])
    return torch.cat([size, axes, radii, left / volume, (left + 1.0).log(), covered / volume, shadows])[None]


def _axes_and_radii(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of points (n, 3): logarithms of the three principal half-axes; mean, root mean square and mean cubed radius."""
    if not len(points):
        points = points.new_zeros((1, 3))
    centred = points - points.mean(0)
    values = torch.linalg.eigvalsh((centred.T @ centred / len(points)).double()).float().clamp_min(1e-2)
    distance = centred.square().sum(1).clamp_min(1e-6).sqrt()
    radii = torch.stack([(distance**p).mean() ** (1 / p) for p in (1, 2, 3)])
    return values.sqrt().log(), (radii + 1e-3).log()


def _erode(x: torch.Tensor) -> torch.Tensor:
    """Boolean masks without the voxels at their surface (those with one of six neighbours outside)."""
    y = x
    for axis in (2, 3, 4):
        y = y & _moved(x, axis, 1) & _moved(x, axis, -1)
    return y


def _moved(x: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """Boolean masks shifted by `step` voxels along an axis, with False coming in."""
    result = torch.zeros_like(x)
    size = x.shape[axis] - abs(step)
    result.narrow(axis, max(step, 0), size).copy_(x.narrow(axis, max(-step, 0), size))
    return result


def _eroded(x: torch.Tensor) -> torch.Tensor:
    """Voxels (b, 6) that are left after 1, 2, ... 6 erosions."""
    counts = []
    for _ in range(_ERODED):
        x = _erode(x)
        counts.append(x.flatten(1).sum(1))
    return torch.stack(counts, dim=1).float()


def _opened(x: torch.Tensor) -> torch.Tensor:
    """Voxels (b, 4) that a cube of 2, 3, 4 and 5 voxels inside the mask can cover."""
    counts = []
    corners = x
    for side in range(2, 2 + _OPENED):
        for axis in (2, 3, 4):  # the last corners of all cubes of this side that fit in
            corners = corners & _moved(corners, axis, 1)
        covered = corners
        for _ in range(side - 1):
            for axis in (2, 3, 4):
                covered = covered | _moved(covered, axis, -1)
        counts.append(covered.flatten(1).sum(1))
    return torch.stack(counts, dim=1).float()


def _cropped(mask: torch.Tensor) -> torch.Tensor:
    """The part of the masks (b, 1, k, j, i) that holds all of them: the measures do not depend on where they lie."""
    for axis in (2, 3, 4):
        hit = torch.nonzero(mask.flatten(0, 1).movedim(axis - 1, 0).flatten(1).any(1)).flatten()
        if len(hit):
            first = int(hit[0])
            mask = mask.narrow(axis, first, int(hit[-1]) + 1 - first)
    return mask


MEASURES = 4 + 3 + 3 + _ERODED + _ERODED + _OPENED + 3


class ShapeNet(nn.Module):
    """Measures of a mask and a small CNN, joined: (b, 1, k, j, i) -> (b, classes).

    The CNN's features are pooled by mean and maximum, so that any size of input fits.
    """

    def __init__(self, arguments: ShapeNetArguments) -> None:
        super().__init__()
        a = arguments
        self.shrink = a.shrink
        self.normalize = nn.BatchNorm1d(MEASURES, affine=False, momentum=0.02)
        layers: list[nn.Module] = []
        channels = 1
        for width in a.widths:
            layers += [CONVOLUTIONS[3](channels, width, 3, padding=1, bias=False), BATCH_NORMS[3](width)]
            layers += [nn.ReLU(inplace=True), nn.MaxPool3d(2)]
            channels = width
        self.features = nn.Sequential(*layers)
        joined = MEASURES + (2 * channels if a.widths else 0)
        self.linear = nn.Linear(MEASURES, a.classes)
        self.head = nn.Sequential(
            nn.Dropout(a.dropout), nn.Linear(joined, a.hidden), nn.ReLU(inplace=True), nn.Linear(a.hidden, a.classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes)."""
        with torch.no_grad():
            measures = shape_measures(x)
        measures = self.normalize(measures).clamp(-5, 5)
        parts = [measures]
        if len(self.features):
            features = self.features(F.avg_pool3d(x, self.shrink) if self.shrink > 1 else x)
            parts += [features.flatten(2).mean(2), features.flatten(2).amax(2)]
        logits: torch.Tensor = self.linear(measures) + self.head(torch.cat(parts, dim=1))
        return logits
