"""Random label maps and painted images: always usable, always repeatable, and cut from volumes at the right place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medai.synthesis import SHAPES, PaintSettings, RandomFrame, paint, random_labels, sample_linear, sample_nearest
from medai.synthesis.draws import blur, smooth_field
from medai.synthesis.painting import thick_slices


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_makes_label_maps(kind):
    labels = SHAPES[kind](24, seeded())
    assert labels.shape == (24, 24, 24)
    assert labels.dtype == torch.int64
    assert labels.min() >= 0
    assert len(torch.unique(labels)) >= 2
    assert torch.equal(labels, SHAPES[kind](24, seeded()))
    assert not torch.equal(labels, SHAPES[kind](24, seeded(6)))


def test_labels_are_seen_in_the_painted_image():
    """Between the means of two large labels lies more than within them, in most draws."""
    visible = 0
    for seed in range(12):
        labels = torch.zeros((24, 24, 24), dtype=torch.int64)
        labels[:, :12] = 1
        image = paint(labels, PaintSettings(same_tissue=0.0), seeded(seed))
        assert torch.isfinite(image).all()
        a, b = image[:, :9], image[:, 15:]
        visible += abs(float(a.mean() - b.mean())) > 0.5 * float((a.std() + b.std()) / 2)
    assert visible >= 6


def test_equal_seeds_paint_equal_images():
    labels = random_labels(24, seeded())
    assert torch.equal(paint(labels, PaintSettings(), seeded(1)), paint(labels, PaintSettings(), seeded(1)))


def test_smooth_fields_vary_as_slowly_as_asked():
    slow, quick = (smooth_field(32, cells, seeded())[0] for cells in (2, 12))
    assert slow.std() == pytest.approx(1, abs=0.3)
    assert slow.diff(dim=0).abs().mean() < 0.5 * quick.diff(dim=0).abs().mean()


def test_blur_and_thick_slices_keep_the_mean():
    image = torch.zeros((21, 21, 21))
    image[10, 10, 10] = 1.0
    blurred = blur(image, (0.0, 1.0, 2.0))
    assert blurred.sum() == pytest.approx(1.0, abs=1e-4)
    assert blurred[9].sum() == 0
    assert blurred[10, 8, 10] < blurred[10, 10, 8]
    thick = thick_slices(torch.rand((24, 24, 24), generator=seeded()), 0, 4.0)
    assert thick.diff(dim=0).std() < 0.6 * thick.diff(dim=1).std()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.7)])
def test_a_cube_is_cut_in_mm(spacing):
    """A linear ramp in mm comes back as that ramp along the cube's axes."""
    shape = (16, 50, 60)
    spacing = np.array(spacing)
    k, j, i = (np.arange(n) * s for n, s in zip(shape, spacing, strict=True))
    ramp = (2 * k[:, None, None] - j[None, :, None] + 0.5 * i[None, None, :]).astype(np.float32)
    axes = RandomFrame.random_axes(0.3, seeded(3))
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    frame = RandomFrame(np.array([7.0, 24.0, 30.0]), 0.6, 9, axes)
    positions = frame.positions(spacing)
    found = sample_linear(ramp, positions, np.ones(3)).numpy()
    expected = (positions * spacing) @ np.array([2, -1, 0.5])
    assert np.allclose(found, expected, atol=1e-2)
    steps = np.linalg.norm(np.diff(positions, axis=2) * spacing, axis=-1)
    assert np.allclose(steps, 0.6, atol=1e-4)
    assert frame.inside(shape, positions).all()


def test_labels_and_their_parts():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:, :, 10:] = 3
    frame = RandomFrame(np.array([9.5, 9.5, 9.5]), 1.0, 8, np.eye(3))
    positions = frame.positions(np.ones(3))
    assert set(np.unique(sample_nearest(labels, positions))) == {0, 3}
    part = sample_linear(labels, positions, np.ones(3), label=3)
    assert torch.equal(part > 0.5, torch.from_numpy(sample_nearest(labels, positions) == 3))
    coarse = RandomFrame(np.array([9.5, 9.5, 9.5]), 4.0, 8, np.eye(3))
    far = coarse.positions(np.ones(3))
    assert not coarse.inside(labels.shape, far).all()
    assert sample_linear(labels, far, coarse.steps(np.ones(3)), label=3).mean() == pytest.approx(0.5, abs=0.02)
