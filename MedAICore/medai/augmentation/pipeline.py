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
    x = intensity.add_noise(x, settings, generator)
    x = intensity.blur(x, settings, generator)
    x = intensity.scale_brightness(x, settings, generator)
    x = intensity.scale_contrast(x, settings, generator)
    x = intensity.lower_resolution(x, settings, generator)
    x = intensity.add_bias_field(x, settings, generator)
    x = intensity.change_gamma(x, settings, generator, inverted=True)
    x = intensity.change_gamma(x, settings, generator, inverted=False)
    return x, y
