"""Paint a label map as a scanner might show it: any contrast and polarity, texture, bias, blur, noise, thick slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from medai.synthesis.draws import blur, chance, choose, log_uniform, smooth_field, uniform, whole


@dataclass(frozen=True)
class PaintSettings:
    """Ranges of what is drawn; intensities of labels lie in 0..1 before noise and bias."""

    texture: float = 0.12
    bias: float = 0.35
    noise: float = 0.14
    blur_voxels: float = 1.2
    thick_slices: float = 0.35
    same_tissue: float = 0.35


def paint(labels: torch.Tensor, settings: PaintSettings, generator: torch.Generator) -> torch.Tensor:
    """A float32 image (n, n, n) of an int64 label map (n, n, n)."""
    size = len(labels)
    count = int(labels.max()) + 1
    image = _intensities(count, settings, generator)[labels]
    spread = settings.texture * torch.rand(count, generator=generator) ** 2
    grain = smooth_field(size, whole(size // 6, size // 2, generator), generator)[0]
    if chance(0.4, generator):
        grain = 0.7 * grain + 0.7 * smooth_field(size, whole(3, 8, generator), generator)[0]
    image = image + spread[labels] * grain
    width = uniform(0.3, settings.blur_voxels, generator)
    image = blur(image, [width * uniform(0.7, 1.3, generator) for _ in range(3)])
    if chance(0.6, generator):
        field = smooth_field(size, whole(1, 3, generator), generator)[0]
        image = image * torch.exp(uniform(0, settings.bias, generator) * field)
    if chance(settings.thick_slices, generator):
        image = thick_slices(image, whole(0, 2, generator), log_uniform(1.5, 8.0, generator))
    return add_noise(image, settings.noise, generator)


def thick_slices(image: torch.Tensor, axis: int, thickness: float) -> torch.Tensor:
    """The image (n, n, n) averaged over `thickness` voxels along an axis and interpolated back."""
    size = list(image.shape)
    coarse = list(size)
    coarse[axis] = max(2, round(size[axis] / thickness))
    small = functional.interpolate(image[None, None], size=coarse, mode="area")
    return functional.interpolate(small, size=size, mode="trilinear")[0, 0]


def add_noise(image: torch.Tensor, strongest: float, generator: torch.Generator) -> torch.Tensor:
    """Noise of a random strength relative to the image's range: white, sometimes smooth, sometimes Rician."""
    strength = strongest * uniform(0, 1, generator) ** 1.5 * float(image.max() - image.min())
    kind = choose((0.6, 0.2, 0.2), generator)
    noise = strength * torch.randn(image.shape, generator=generator)
    if kind == 1:
        noise = 2.0 * blur(noise, (0.7, 0.7, 0.7))
    if kind == 2:
        other = strength * torch.randn(image.shape, generator=generator)
        return torch.hypot(image + noise, other)
    return image + noise


def _intensities(count: int, settings: PaintSettings, generator: torch.Generator) -> torch.Tensor:
    """Mean intensity of every label; sometimes several labels are of one tissue."""
    means = torch.rand(count, generator=generator)
    if chance(settings.same_tissue, generator):
        tissues = torch.rand(whole(2, 4, generator), generator=generator)
        means = tissues[torch.randint(len(tissues), (count,), generator=generator)]
        means = means + 0.04 * torch.randn(count, generator=generator)
    if chance(0.3, generator):
        # Air, or a background without signal.
        means[0] = uniform(0, 0.1, generator)
    return means
