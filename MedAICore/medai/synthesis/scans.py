"""Paint a part of a label map as any scanner might show it (domain randomisation, Billot et al. 2023: SynthSeg).

Bend, turn and scale the map; draw a contrast; paint at half the network's voxel size; average to slices or voxels of
any thickness; bias field, noise, gamma, cut field of view; normalise. Labels come from the bent map at the centres of
the network's voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from medai.synthesis.contrasts import draw_intensities
from medai.synthesis.draws import blur, chance, log_uniform, uniform, whole
from medai.synthesis.label_volumes import LabelTable, LabelVolume

_NODES = 17  # of the grid on which positions are bent and then interpolated


@dataclass(frozen=True)
class ScanSettings:
    """Ranges of what is drawn; lengths in mm, angles in degrees, parts from 0 to 1.

    `unstructured`: part of the images of no known contrast whose structures have nothing in common with their tissue.
    """

    rotation_degrees: float = 20.0
    largest_rotation_degrees: float = 45.0
    scaling: float = 0.15
    stretch: float = 0.07
    bend_mm: float = 4.0
    slack_mm: float = 38.0
    beyond: float = 0.12
    thickest_mm: float = 8.0
    coarsest_mm: float = 4.0
    bias: float = 0.5
    noise: float = 0.1
    gamma: float = 0.35
    strip: float = 0.25
    cut: float = 0.25
    unstructured: float = 0.4


@dataclass(frozen=True)
class ScanFrame:
    """The network's patch (k, j, i) and its voxel size in mm."""

    patch: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


def paint_scan(
    volume: LabelVolume, table: LabelTable, frame: ScanFrame, settings: ScanSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A normalised image float32 (k, j, i) in 0..1 and its classes int64 (k, j, i), both of `frame.patch`."""
    swap = table.sided and chance(0.5, generator)
    nodes = _node_positions(volume, frame, settings, generator, mirrored=swap)
    fine = [2 * n for n in frame.patch]
    positions = functional.interpolate(nodes, size=fine, mode="trilinear", align_corners=True)
    painted = _take(volume, positions)
    centers = _take(volume, functional.avg_pool3d(positions, 2))
    means, spreads = draw_intensities(table, generator, settings.unstructured)
    classes = table.classes.clone()
    if chance(settings.strip, generator):
        _strip(table, classes, means, spreads, generator)
    if swap:
        means, spreads, classes = means[table.mirror], spreads[table.mirror], classes[table.mirror]
    image = torch.randn(fine, generator=generator).mul_(_looked_up(spreads, painted)).add_(_looked_up(means, painted))
    image = _scanned(image, frame, settings, generator)
    image = _disturbed(image, settings, generator)
    labels = _looked_up(classes, centers)
    inside = _field_of_view(frame, settings, generator)
    image = _normalized(image, inside, settings, generator)
    labels[~inside] = 0
    return image, labels


def _node_positions(
    volume: LabelVolume, frame: ScanFrame, s: ScanSettings, generator: torch.Generator, *, mirrored: bool
) -> torch.Tensor:
    """Positions (1, 3, n, n, n), in voxels (k, j, i) of the volume, of nodes that span the patch's fine voxels."""
    size_mm = np.array(frame.patch) * np.array(frame.spacing_mm)
    reach = (size_mm - 0.5 * np.array(frame.spacing_mm)) / 2  # of the fine voxels' centres
    axes = [torch.linspace(-r, r, _NODES, dtype=torch.float32) for r in reach]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (3, n, n, n) mm from the patch's centre
    bend = torch.randn(1, 3, 5, 5, 5, generator=generator) * (s.bend_mm * uniform(0, 1, generator))
    bend = functional.interpolate(bend, size=(_NODES,) * 3, mode="trilinear", align_corners=True)[0]
    turn = torch.from_numpy(_matrix(s, generator)).float()
    if mirrored:
        turn = turn @ torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    moved = torch.einsum("ab,bkji->akji", turn, grid) + bend
    slack = np.maximum(volume.extent_mm / 2 - s.slack_mm, 5.0)
    if chance(s.beyond, generator):
        slack = slack + 60.0
    offset = slack * np.array([uniform(-1, 1, generator) for _ in range(3)])
    center = torch.from_numpy(volume.center_mm + offset).float()
    spacing = torch.tensor(volume.spacing_mm, dtype=torch.float32)
    return ((moved + center[:, None, None, None]) / spacing[:, None, None, None])[None]


def _matrix(s: ScanSettings, generator: torch.Generator) -> np.ndarray:
    """Rotation times scaling (3, 3), for axes (k, j, i)."""
    largest = s.rotation_degrees if chance(0.85, generator) else s.largest_rotation_degrees
    matrix = np.eye(3)
    for a, b in ((1, 2), (0, 2), (0, 1)):
        angle = np.deg2rad(uniform(-largest, largest, generator))
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    common = 1.0 + uniform(-s.scaling, s.scaling, generator)
    return matrix @ np.diag([common + uniform(-s.stretch, s.stretch, generator) for _ in range(3)])


def _take(volume: LabelVolume, positions: torch.Tensor) -> torch.Tensor:
    """Indices int32 at positions (1, 3, k, j, i), nearest voxel; background outside of the volume."""
    rows, columns, depth = volume.indices.shape
    # The map has background on all sides, so that clamping to its border gives background.
    k, j, i = (
        positions[0, axis].round().clamp_(0, size - 1).to(torch.int32)
        for axis, size in enumerate((rows, columns, depth))
    )
    place = k.mul_(columns).add_(j).mul_(depth).add_(i)
    return volume.indices.reshape(-1).index_select(0, place.reshape(-1)).to(torch.int32).reshape(place.shape)


def _looked_up(table: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """`table[indices]` for int32 indices of any shape, in half the time."""
    return table.index_select(0, indices.reshape(-1)).reshape(indices.shape)


def _strip(
    table: LabelTable, classes: torch.Tensor, means: torch.Tensor, spreads: torch.Tensor, generator: torch.Generator
) -> None:
    """Make removable structures background; in half of the cases those alone that are not segmented. In place."""
    gone = table.removable.clone()
    if chance(0.5, generator):
        gone &= table.classes == 0
    means[gone], spreads[gone] = means[0].clone(), spreads[0].clone()
    classes[gone] = 0


def _scanned(image: torch.Tensor, frame: ScanFrame, s: ScanSettings, generator: torch.Generator) -> torch.Tensor:
    """The fine image averaged to voxels of the network: sharp, in thick slices, or of low resolution."""
    patch = list(frame.patch)
    kind = uniform(0, 1, generator)
    if kind < 0.35:
        axis = whole(0, 2, generator)
        thickness = log_uniform(1.0, s.thickest_mm / frame.spacing_mm[axis], generator) * frame.spacing_mm[axis]
        return _thick(image, patch, axis, thickness / frame.spacing_mm[axis], generator)
    if kind < 0.55:
        coarsest = max(s.coarsest_mm / min(frame.spacing_mm), 1.0)
        factors = log_uniform(1.0, coarsest, generator)
        size = [max(4, round(n / (factors * uniform(0.8, 1.2, generator)))) for n in patch]
        size = [min(a, n) for a, n in zip(size, patch, strict=True)]
        small = functional.interpolate(image[None, None], size=size, mode="area")
        return functional.interpolate(small, size=patch, mode="trilinear")[0, 0]
    pooled = functional.avg_pool3d(image[None, None], 2)[0, 0]
    if kind < 0.8:
        return pooled
    if kind < 0.9:
        return blur(pooled, [uniform(0.2, 0.7, generator)] * 3)
    # As sharp as linear interpolation of a fine image without a filter leaves it.
    return (image[::2, ::2, ::2] + image[1::2, 1::2, 1::2]) / 2


def _thick(image: torch.Tensor, patch: list[int], axis: int, factor: float, generator: torch.Generator) -> torch.Tensor:
    """Slices `factor` voxels of the network thick along an axis; through the plane blocks or ramps, as resampled."""
    size = list(patch)
    size[axis] = max(4, round(patch[axis] / factor))
    small = functional.interpolate(image[None, None], size=size, mode="area")
    if factor >= 1.3 and chance(0.6, generator):
        return functional.interpolate(small, size=patch, mode="nearest-exact")[0, 0]
    return functional.interpolate(small, size=patch, mode="trilinear")[0, 0]


def _disturbed(image: torch.Tensor, s: ScanSettings, generator: torch.Generator) -> torch.Tensor:
    """The image with a bias field and noise."""
    shape = image.shape
    if chance(0.8, generator):
        cells = whole(2, 5, generator)
        field = torch.randn(1, 1, cells, cells, cells, generator=generator) * uniform(0, s.bias, generator)
        image = image * functional.interpolate(field, size=shape, mode="trilinear", align_corners=True)[0, 0].exp()
    if chance(0.8, generator):
        strength = s.noise * uniform(0, 1, generator) ** 1.5
        noise = strength * torch.randn(shape, generator=generator)
        # Rician where the background is black: magnitude images have no negative values.
        image = (image + noise).abs() if chance(0.5, generator) else image + noise
    return image


def _field_of_view(frame: ScanFrame, s: ScanSettings, generator: torch.Generator) -> torch.Tensor:
    """Where the scan has data, bool (k, j, i): everywhere, or less on up to two sides."""
    inside = torch.ones(frame.patch, dtype=torch.bool)
    if not chance(s.cut, generator):
        return inside
    for _ in range(whole(1, 2, generator)):
        axis, size = whole(0, 2, generator), frame.patch
        cut = whole(1, size[axis] // 2, generator)
        start = 0 if chance(0.5, generator) else size[axis] - cut
        inside.narrow(axis, start, cut).fill_(False)
    return inside


def _normalized(image: torch.Tensor, inside: torch.Tensor, s: ScanSettings, generator: torch.Generator) -> torch.Tensor:
    """Scaled as by the percentiles of a whole scan, of which the patch is a part; 0 outside of the field of view."""
    values = image[inside][::5]
    low, high = (float(v) for v in torch.quantile(values, torch.tensor([0.005, 0.995])))
    image = ((image - low) / max(high - low, 1e-6)).clamp(0, 1)
    if chance(0.5, generator):
        image = image ** float(np.exp(s.gamma * float(torch.randn((), generator=generator))))
    if chance(0.4, generator):
        # Beyond the patch the scan has brighter or darker parts.
        dark = uniform(0, 0.15, generator) if chance(0.3, generator) else 0.0
        image = dark + image * uniform(0.45, 1.1 - dark, generator)
    return torch.where(inside, image.clamp(0, 1), torch.zeros(()))
