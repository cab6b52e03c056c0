"""Changes of brightness, contrast, sharpness and noise of normalised patches (b, c, k, j, i).

Each function changes only the samples that it drew, and returns a new tensor or the input itself. Channels of one patch
are changed independently, as scanners' channels are.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812

from medai.augmentation.random import chosen, log_uniform, uniform
from medai.augmentation.settings import AugmentationSettings


def add_noise(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise."""
    rows = _rows(x, settings.noise, generator)
    if len(rows) == 0:
        return x
    std = uniform((len(rows), x.shape[1], 1, 1, 1), *settings.noise_std, generator)
    noise = torch.randn((len(rows), *x.shape[1:]), generator=generator, device=x.device)
    return x.index_add(0, rows, noise * std)


def blur(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Gaussian blur in every direction that has more than one voxel."""
    rows = _rows(x, settings.blur, generator)
    if len(rows) == 0:
        return x
    channels = x.shape[1]
    sigma = log_uniform((len(rows) * channels,), settings.blur_sigma, generator)
    radius = math.ceil(3 * settings.blur_sigma[1])
    positions = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (positions[None] / sigma[:, None]) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)  # (rows * c, 2 radius + 1)
    y = x[rows].flatten(0, 1)[None]  # (1, rows * c, k, j, i): one group per image
    for axis in range(3):
        if y.shape[2 + axis] > 1:
            shape, padding = [1, 1, 1], [0] * 6
            shape[axis] = kernels.shape[1]
            padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
            padded = F.pad(y, padding, mode="replicate")
            y = F.conv3d(padded, kernels.view(-1, 1, *shape), groups=len(kernels))
    return x.index_copy(0, rows, y[0].view(len(rows), *x.shape[1:]))


def scale_brightness(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Multiply the normalised intensities."""
    rows = _rows(x, settings.brightness, generator)
    if len(rows) == 0:
        return x
    factor = log_uniform((len(rows), x.shape[1], 1, 1, 1), settings.brightness_range, generator)
    return x.index_copy(0, rows, x[rows] * factor)


def scale_contrast(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Stretch about the patch's mean and keep its range, so that the extremes saturate as a display window does."""
    rows = _rows(x, settings.contrast, generator)
    if len(rows) == 0:
        return x
    y = x[rows]
    factor = log_uniform((len(rows), x.shape[1], 1, 1, 1), settings.contrast_range, generator)
    mean = y.mean(dim=(2, 3, 4), keepdim=True)
    low, high = y.amin(dim=(2, 3, 4), keepdim=True), y.amax(dim=(2, 3, 4), keepdim=True)
    return x.index_copy(0, rows, torch.clamp((y - mean) * factor + mean, low, high))


def lower_resolution(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Sample at a lower resolution and interpolate back, as a coarser scan would look."""
    rows = _rows(x, settings.low_resolution, generator)
    if len(rows) == 0:
        return x
    zooms = log_uniform((len(rows),), settings.low_resolution_zoom, generator).tolist()
    size = x.shape[2:]
    y = []
    for row, zoom in zip(rows.tolist(), zooms, strict=True):
        small = [max(1, round(n * zoom)) for n in size]
        coarse = F.interpolate(x[row : row + 1], size=small, mode="nearest-exact")
        y.append(F.interpolate(coarse, size=size, mode="trilinear", align_corners=False))
    return x.index_copy(0, rows, torch.cat(y))


def change_gamma(
    x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator, inverted: bool
) -> torch.Tensor:
    """Raise the intensities, scaled to 0..1, to a power; mean and standard deviation stay.

    `inverted` does it on the negative, which treats dark and bright the other way round.
    """
    rows = _rows(x, settings.gamma_inverted if inverted else settings.gamma, generator)
    if len(rows) == 0:
        return x
    y = -x[rows] if inverted else x[rows]
    axes = (2, 3, 4)
    power = log_uniform((len(rows), x.shape[1], 1, 1, 1), settings.gamma_range, generator)
    mean, std = y.mean(dim=axes, keepdim=True), y.std(dim=axes, keepdim=True)
    low, high = y.amin(dim=axes, keepdim=True), y.amax(dim=axes, keepdim=True)
    z = ((y - low) / (high - low).clamp_min(1e-6)).pow(power)
    z = (z - z.mean(dim=axes, keepdim=True)) / z.std(dim=axes, keepdim=True).clamp_min(1e-6) * std + mean
    return x.index_copy(0, rows, -z if inverted else z)


def add_bias_field(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """A smooth multiplicative field over the intensities above the patch's minimum, as MR receive coils leave."""
    rows = _rows(x, settings.bias_field, generator)
    if len(rows) == 0:
        return x
    y = x[rows]
    strength = settings.bias_field_strength
    coarse = uniform((len(rows), 1, *(min(3, n) for n in x.shape[2:])), -strength, strength, generator)
    field = F.interpolate(coarse, size=x.shape[2:], mode="trilinear", align_corners=True).exp()
    low = y.amin(dim=(2, 3, 4), keepdim=True)
    return x.index_copy(0, rows, (y - low) * field + low)


def _rows(x: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Indices of the samples that drew this augmentation."""
    return torch.nonzero(chosen(x.shape[0], probability, generator)).flatten().to(x.device)
