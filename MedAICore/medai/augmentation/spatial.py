"""Rotation, scaling, mirroring and elastic deformation of a whole batch in one resampling, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812

from medai.augmentation.random import chosen, log_uniform, uniform
from medai.augmentation.settings import AugmentationSettings

_LINEAR_LABELS = 8  # beyond this number of labels one interpolation per label costs more than the smoother border gives


def random_matrices(
    count: int, spacing_mm: Sequence[float], settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """Matrices (count, 3, 3), axes (k, j, i), from a voxel offset in the patch to the voxel offset in its source.

    The rotation is one in mm: voxel offsets are scaled by the spacing before it and back after it.
    """
    device = generator.device
    spacing = torch.tensor(tuple(spacing_mm), dtype=torch.float32, device=device)
    limits = torch.tensor(settings.rotation_degrees, device=device) * (math.pi / 180)
    angles = uniform((count, 3), -1.0, 1.0, generator) * limits * chosen(count, settings.rotation, generator)[:, None]
    zoom = log_uniform((count,), settings.scale_range, generator)
    zoom = torch.where(chosen(count, settings.scaling, generator), zoom, torch.ones_like(zoom))
    allowed = torch.tensor(settings.mirror, device=device)
    flips = torch.where(allowed & (uniform((count, 3), 0.0, 1.0, generator) < 0.5), -1.0, 1.0)
    in_mm = _rotations(angles) * zoom[:, None, None] * flips[:, None, :]
    return in_mm * spacing[None, None, :] / spacing[None, :, None]


def _rotations(angles: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (b, 3, 3) of angles (b, 3) in radians about the axes k, j, i, in this order."""
    result = torch.eye(3, device=angles.device).expand(len(angles), 3, 3)
    for axis, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
        cos, sin = angles[:, axis].cos(), angles[:, axis].sin()
        turn = torch.eye(3, device=angles.device).repeat(len(angles), 1, 1)
        turn[:, first, first], turn[:, second, second] = cos, cos
        turn[:, first, second], turn[:, second, first] = -sin, sin
        result = result @ turn
    return result


def elastic_offsets(
    count: int,
    size: Sequence[int],
    spacing_mm: Sequence[float],
    settings: AugmentationSettings,
    generator: torch.Generator,
) -> torch.Tensor | None:
    """Smooth random displacements (b, k, j, i, 3) in voxels, or None where no patch drew one.

    A coarse grid of normally distributed displacements (standard deviation `elastic_mm`) is interpolated; an axis of
    one voxel is never displaced.
    """
    use = chosen(count, settings.elastic, generator)
    points = [min(settings.elastic_control_points, max(n, 1)) for n in size]
    coarse = torch.randn((count, 3, *points), generator=generator, device=generator.device) * settings.elastic_mm
    if not bool(use.any()):
        return None
    fine = F.interpolate(coarse, size=tuple(size), mode="trilinear", align_corners=True)
    per_axis = torch.tensor([0.0 if n == 1 else 1.0 / s for n, s in zip(size, spacing_mm, strict=True)])
    fine = fine * per_axis.to(fine.device)[None, :, None, None, None] * use[:, None, None, None, None]
    return fine.permute(0, 2, 3, 4, 1)  # (b, 3, k, j, i) -> (b, k, j, i, 3)


def resample(
    images: torch.Tensor,
    labels: torch.Tensor,
    size: Sequence[int],
    matrices: torch.Tensor,
    offsets: torch.Tensor | None,
    label_count: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of `size` (k, j, i) around the centre of their sources, deformed.

    `images` (b, c, K, J, I) float and `labels` (b, 1, K, J, I) integer are the sources. Images are interpolated
    linearly; of few labels the one with the largest interpolated weight wins, of many the nearest.
    """
    grid = _source_grid(size, images.shape[2:], matrices, offsets, images.device)
    patches = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return patches, _resample_labels(labels, grid, label_count)


def resample_images(
    images: torch.Tensor, matrices: torch.Tensor, offsets: torch.Tensor | None, masks: Sequence[bool]
) -> torch.Tensor:
    """Images (b, c, k, j, i) deformed about their centres; channels that are `masks` stay binary, with 0 outside."""
    grid = _source_grid(images.shape[2:], images.shape[2:], matrices, offsets, images.device)
    result = images
    if not all(masks):
        result = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    for channel in (n for n, mask in enumerate(masks) if mask):
        part = F.grid_sample(images[:, channel : channel + 1], grid, mode="bilinear", align_corners=False)
        binary = (part >= 0.5).to(images.dtype)
        result = (
            binary
            if images.shape[1] == 1
            else torch.cat([result[:, :channel], binary, result[:, channel + 1 :]], dim=1)
        )
    return result


def random_flips(images: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Images (b, c, k, j, i), each reversed along some of the axes that may be mirrored; nothing is interpolated."""
    flips = uniform((images.shape[0], 3), 0.0, 1.0, generator) < 0.5
    allowed = torch.tensor(settings.mirror, device=generator.device)
    result = images.clone()
    for row, axes in enumerate((flips & allowed).tolist()):
        reversed_axes = [axis + 1 for axis, use in enumerate(axes) if use]
        if reversed_axes:
            result[row] = torch.flip(images[row], reversed_axes)
    return result


def random_shifts(
    count: int, size: Sequence[int], settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor | None:
    """Shifts (b, 1, 1, 1, 3) in voxels of whole images of `size` (k, j, i), or None where none is asked for."""
    if settings.shift <= 0:
        return None
    limits = torch.tensor([0.0 if n == 1 else n * settings.shift_range for n in size], device=generator.device)
    shifts = uniform((count, 3), -1.0, 1.0, generator) * limits * chosen(count, settings.shift, generator)[:, None]
    return shifts[:, None, None, None, :]


def _source_grid(
    size: Sequence[int],
    source: Sequence[int],
    matrices: torch.Tensor,
    offsets: torch.Tensor | None,
    device: torch.device,
) -> torch.Tensor:
    """Where the voxels of `size` lie in a source, (b, k, j, i, 3), as `grid_sample` wants it."""
    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in size]
    base = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (k, j, i, 3)
    moved = torch.einsum("kjid,bed->bkjie", base, matrices.to(device))  # (b, k, j, i, 3)
    if offsets is not None:
        moved = moved + offsets.to(device)
    # grid_sample wants (x, y, z) = (i, j, k) in -1..1 over the source's outer borders.
    scale = torch.tensor([2.0 / n for n in source], device=device)
    return (moved * scale).flip(-1)


def _resample_labels(labels: torch.Tensor, grid: torch.Tensor, label_count: int) -> torch.Tensor:
    if label_count > _LINEAR_LABELS:
        nearest = F.grid_sample(labels.float(), grid, mode="nearest", padding_mode="border", align_corners=False)
        return nearest.round().to(labels.dtype)
    values = range(label_count + 1)
    best = torch.full((labels.shape[0], 1, *grid.shape[1:4]), -1.0, device=labels.device)
    result = torch.zeros(best.shape, dtype=labels.dtype, device=labels.device)
    for value in values:
        weight = F.grid_sample(
            (labels == value).float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        better = weight > best
        result = torch.where(better, torch.full_like(result, value), result)
        best = torch.maximum(best, weight)
    return result
