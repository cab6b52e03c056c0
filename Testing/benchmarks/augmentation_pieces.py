"""Augmentation of one patch with the same kinds of changes, probabilities and ranges: MedAI, MONAI, TorchIO.

Each gets sources as large as its way of rotating needs: MedAI and MONAI crop the patch out of a larger source, TorchIO
(which pads) is given the patch itself. The time is the mean over many patches, as most changes are drawn rarely.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

_WARM = 5


def _arrays(shape: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    labels = ((k**2 + j**2 + i**2) < 0.4).astype(np.int16) + ((k**2 + j**2 + i**2) < 0.1)
    return (rng.standard_normal(shape).astype(np.float32) + labels)[None], labels[None].astype(np.int16)


def _timed(one: Any, count: int, batch: int = 1) -> dict[str, Any]:
    for number in range(_WARM):
        one(number)
    started, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        one(_WARM + number)
    per_patch = 1000 / (count * batch)
    return {
        "ms_per_patch": (time.perf_counter() - started) * per_patch,
        "cpu_ms_per_patch": (time.process_time() - cpu) * per_patch,
    }


def by_medai(patch: list[int], count: int, batch: int, threads: int) -> dict[str, Any]:
    """Whole batches in torch."""
    import torch

    from medai.augmentation import AugmentationSettings, augment

    torch.set_num_threads(threads)
    settings = AugmentationSettings()
    source = [int(np.ceil(n * settings.source_factor / 2)) * 2 for n in patch]
    pairs = [_arrays(source, seed) for seed in range(batch)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs]))
    labels = torch.from_numpy(np.stack([found for _, found in pairs]))

    def one(number: int) -> Any:
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            return augment(images, labels, patch, (1.0, 1.0, 1.0), 2, settings, generator)

    return _timed(one, count, batch)


def by_monai(patch: list[int], count: int, threads: int) -> dict[str, Any]:
    """MONAI's dictionary transforms, case by case as its data loaders call them."""
    import torch
    from monai import transforms as t

    torch.set_num_threads(threads)
    keys, angle = ("image", "label"), float(np.deg2rad(20))
    both = {"keys": keys, "mode": ("bilinear", "nearest"), "padding_mode": "border"}
    transform = t.Compose(
        [
            t.RandAffined(
                prob=0.51, rotate_range=(angle,) * 3, scale_range=((-0.2, 0.25),) * 3, spatial_size=patch, **both
            ),
            t.Rand3DElasticd(prob=0.2, sigma_range=(5, 7), magnitude_range=(50, 100), spatial_size=patch, **both),
            t.CenterSpatialCropd(keys, patch),
            *(t.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
            t.RandGaussianNoised("image", prob=0.15, std=0.25),
            t.RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.4, 1.0), sigma_y=(0.4, 1.0), sigma_z=(0.4, 1.0)),
            t.RandScaleIntensityd("image", prob=0.2, factors=0.3),
            t.RandAdjustContrastd("image", prob=0.2, gamma=(0.65, 1.5)),
            t.RandSimulateLowResolutiond("image", prob=0.15, zoom_range=(0.5, 0.95)),
            t.RandBiasFieldd("image", prob=0.2, coeff_range=(0.0, 0.4)),
            t.RandAdjustContrastd("image", prob=0.15, gamma=(0.7, 1.5), invert_image=True),
            t.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
        ]
    )
    transform.set_random_state(0)
    image, label = _arrays([int(np.ceil(n * 1.25 / 2)) * 2 for n in patch], 0)

    def one(number: int) -> Any:
        return transform({"image": torch.from_numpy(image), "label": torch.from_numpy(label)})

    return _timed(one, count)


def by_torchio(patch: list[int], count: int, threads: int) -> dict[str, Any]:
    """TorchIO's transforms, subject by subject."""
    import torch
    import torchio as tio

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    transform = tio.Compose(
        [
            tio.RandomAffine(scales=(0.8, 1.25), degrees=20, p=0.51),
            tio.RandomElasticDeformation(num_control_points=7, max_displacement=4, p=0.2),
            tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5),
            tio.RandomNoise(std=(0.02, 0.25), p=0.15),
            tio.RandomBlur(std=(0.4, 1.0), p=0.15),
            tio.RandomGamma(log_gamma=(-0.36, 0.4), p=0.5),
            tio.RandomAnisotropy(downsampling=(1.05, 2.0), p=0.15),
            tio.RandomBiasField(coefficients=0.4, p=0.2),
        ]
    )
    image, label = _arrays(patch, 0)
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=torch.from_numpy(image)), label=tio.LabelMap(tensor=torch.from_numpy(label))
    )
    return _timed(lambda number: transform(subject), count)
