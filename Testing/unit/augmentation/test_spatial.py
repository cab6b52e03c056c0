from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from medai.augmentation import AugmentationSettings, augment
from medai.augmentation.spatial import elastic_offsets, random_matrices, resample

NOTHING = AugmentationSettings(
    rotation=0, scaling=0, elastic=0, mirror=(False, False, False), noise=0, blur=0, brightness=0, contrast=0,
    low_resolution=0, gamma=0, gamma_inverted=0, bias_field=0,
)  # fmt: skip
SOURCE, PATCH = (12, 16, 20), (8, 12, 14)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sources(count: int = 2, labels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn((count, 2, *SOURCE), generator=generator(1))
    return images, torch.randint(0, labels + 1, (count, 1, *SOURCE), generator=generator(2), dtype=torch.int16)


def run(settings: AugmentationSettings, seed: int = 0, labels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return augment(*sources(labels=labels), PATCH, (1.0, 2.0, 3.0), labels, settings, generator(seed))


def center(source: torch.Tensor) -> torch.Tensor:
    return source[:, :, 2:10, 2:14, 3:17]


@pytest.mark.parametrize("labels", [2, 20])
def test_without_augmentation_the_patch_is_the_center(labels: int) -> None:
    images, maps = sources(labels=labels)
    x, y = run(NOTHING, labels=labels)
    assert torch.allclose(x, center(images), atol=1e-5)
    assert torch.equal(y, center(maps))
    assert y.dtype == torch.int16


def test_mirroring_flips_image_and_labels_alike() -> None:
    images, maps = sources()
    flipped = 0
    for seed in range(8):
        x, y = run(replace(NOTHING, mirror=(False, False, True)), seed)
        for n in range(2):
            same, mirror = center(images)[n], center(images)[n].flip(-1)
            is_mirror = torch.allclose(x[n], mirror, atol=1e-5)
            assert is_mirror or torch.allclose(x[n], same, atol=1e-5)
            assert torch.equal(y[n], center(maps)[n].flip(-1) if is_mirror else center(maps)[n])
            flipped += is_mirror
    assert 0 < flipped < 16


def test_a_quarter_turn_about_k_is_a_turn_in_mm() -> None:
    # j has 1 mm, i has 2 mm: a quarter turn takes 2 voxels along j to 1 voxel along i.
    angle = torch.tensor([[math.pi / 2, 0.0, 0.0]])
    from medai.augmentation.spatial import _rotations

    spacing = torch.tensor([3.0, 1.0, 2.0])
    matrix = _rotations(angle)[0] * spacing[None, :] / spacing[:, None]
    moved = matrix @ torch.tensor([0.0, 2.0, 0.0])
    assert torch.allclose(moved.abs(), torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)


def test_rotation_keeps_lengths_in_mm_and_scaling_changes_them() -> None:
    spacing = (3.0, 1.0, 2.0)
    rotating = replace(NOTHING, rotation=1.0, rotation_degrees=(30.0, 20.0, 10.0))
    mm = torch.tensor(spacing)
    for matrix in random_matrices(5, spacing, rotating, generator()):
        in_mm = matrix * mm[:, None] / mm[None, :]
        assert torch.allclose(in_mm @ in_mm.T, torch.eye(3), atol=1e-5)
        assert torch.det(in_mm) > 0
    scaled = random_matrices(5, spacing, replace(NOTHING, scaling=1.0, scale_range=(1.5, 2.0)), generator())
    assert (torch.det(scaled) > 1.5**3 - 1e-4).all()
    assert (torch.det(scaled) < 2.0**3 + 1e-4).all()


def test_labels_follow_the_image() -> None:
    # A bright block moves with the rotation; its label must lie on it.
    image = torch.zeros(1, 1, 24, 24, 24)
    image[..., 8:16, 6:14, 10:20] = 1.0
    settings = replace(NOTHING, rotation=1.0, scaling=1.0, elastic=1.0, mirror=(True, True, True))
    for seed in range(5):
        x, y = augment(image, (image > 0).to(torch.int16), (20, 20, 20), (1.0, 1.0, 1.0), 1, settings, generator(seed))
        overlap = 2 * ((x > 0.5) & (y > 0)).sum() / ((x > 0.5).sum() + (y > 0).sum())
        assert overlap > 0.97


def test_elastic_deformation_leaves_single_slices_in_their_plane() -> None:
    offsets = elastic_offsets(2, (1, 12, 14), (1.0, 1.0, 1.0), replace(NOTHING, elastic=1.0), generator())
    assert offsets is not None
    assert torch.equal(offsets[..., 0], torch.zeros(2, 1, 12, 14))
    assert offsets[..., 1:].abs().max() > 0.5
    assert elastic_offsets(2, (1, 12, 14), (1.0, 1.0, 1.0), NOTHING, generator()) is None


def test_linear_and_nearest_labels_agree_on_a_large_structure() -> None:
    labels = torch.zeros(1, 1, 20, 20, 20, dtype=torch.int16)
    labels[..., 5:15, 5:15, 5:15] = 2
    matrices = random_matrices(1, (1, 1, 1), replace(NOTHING, rotation=1.0), generator(3))
    image = torch.zeros(1, 1, 20, 20, 20)
    linear = resample(image, labels, (16, 16, 16), matrices, None, 2)[1]
    nearest = resample(image, labels, (16, 16, 16), matrices, None, 20)[1]
    assert set(linear.unique().tolist()) <= {0, 2}
    assert (linear != nearest).float().mean() < 0.03


def test_equal_seeds_give_equal_patches() -> None:
    settings = AugmentationSettings()
    assert torch.equal(run(settings, 5)[0], run(settings, 5)[0])
    assert not torch.equal(run(settings, 5)[0], run(settings, 6)[0])


def test_two_dimensional_patches() -> None:
    images = torch.randn((2, 1, 1, 20, 20), generator=generator())
    settings = replace(AugmentationSettings(), rotation_degrees=(180.0, 0.0, 0.0), mirror=(False, True, True))
    labels = (images > 0).to(torch.int16)
    x, y = augment(images, labels, (1, 16, 16), (1.0, 1.0, 1.0), 1, settings, generator())
    assert x.shape == y.shape == (2, 1, 1, 16, 16)
    assert torch.isfinite(x).all()
