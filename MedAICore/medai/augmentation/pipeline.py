"""The whole augmentation of one batch, on the device that the batch lies on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medai.augmentation import intensity, spatial
from medai.augmentation.settings import AugmentationSettings


def augment(
    images: torch.Tensor,
    labels: torch.Tensor,
    size: Sequence[int],
    spacing_mm: Sequence[float],
    label_count: int,
    settings: AugmentationSettings,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (b, c, k, j, i) of `size` and their labels (b, 1, k, j, i) out of larger sources, randomly changed.

    `images` and `labels` are sources of at least `size`, centred where the patches shall be; all draws come from
    `generator`, which lives on the same device.
    """
    count = images.shape[0]
    matrices = spatial.random_matrices(count, spacing_mm, settings, generator)
    offsets = spatial.elastic_offsets(count, size, spacing_mm, settings, generator)
    x, y = spatial.resample(images, labels, size, matrices, offsets, label_count)
    return change_intensities(x, settings, generator), y


def augment_inputs(
    images: torch.Tensor,
    spacing_mm: Sequence[float],
    masks: Sequence[bool],
    settings: AugmentationSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """A classifier's inputs (b, c, k, j, i), randomly moved and changed; channels that are `masks` are only moved."""
    count, size = images.shape[0], images.shape[2:]
    if max(settings.rotation, settings.scaling, settings.elastic, settings.shift) <= 0:
        x = spatial.random_flips(images, settings, generator)
        return _with_intensities(x, masks, settings, generator)
    matrices = spatial.random_matrices(count, spacing_mm, settings, generator)
    offsets = spatial.elastic_offsets(count, size, spacing_mm, settings, generator)
    shifts = spatial.random_shifts(count, size, settings, generator)
    if shifts is not None:
        offsets = shifts if offsets is None else offsets + shifts
    x = spatial.resample_images(images, matrices, offsets, masks)
    return _with_intensities(x, masks, settings, generator)


def _with_intensities(
    x: torch.Tensor, masks: Sequence[bool], settings: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    if all(masks):
        return x
    visible = [n for n, mask in enumerate(masks) if not mask]
    changed = change_intensities(x[:, visible], settings, generator)
    return changed if len(visible) == x.shape[1] else x.index_copy(1, torch.tensor(visible, device=x.device), changed)


def change_intensities(x: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    """Images (b, c, k, j, i) with noise, blur, and other brightness, contrast, resolution, bias field and gamma."""
    x = intensity.add_noise(x, settings, generator)
    x = intensity.blur(x, settings, generator)
    x = intensity.scale_brightness(x, settings, generator)
    x = intensity.scale_contrast(x, settings, generator)
    x = intensity.lower_resolution(x, settings, generator)
    x = intensity.add_bias_field(x, settings, generator)
    x = intensity.change_gamma(x, settings, generator, inverted=True)
    return intensity.change_gamma(x, settings, generator, inverted=False)
