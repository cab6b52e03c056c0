"""Affine registration on a phantom head: a known pose is found again, and what is no head is told."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import oblique_matrix

from medai.image import Image
from medai.progress import Progress

MARKS = ((-24.0, -20.0, -12.0), (24.0, -20.0, -12.0))


def head_at(ras: np.ndarray, skull: bool) -> np.ndarray:
    """Intensity of an asymmetric phantom head at points (3, ...), with skull and scalp if asked."""

    def ball(center: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        parts = [((ras[a] - center[a]) / radii[a]) ** 2 for a in range(3)]
        return np.asarray(sum(parts) <= 1.0)

    value = np.zeros(ras.shape[1:], dtype=np.float32)
    if skull:
        value[ball((0, -5, 0), (84, 100, 86))] = 0.9  # scalp
        value[ball((0, -5, 0), (78, 94, 80))] = 0.1  # skull and fluid
    brain = ball((0, -5, 5), (68, 84, 62)) | ball((0, -50, -35), (48, 34, 26))
    value[brain] = 0.6
    value[ball((0, -5, 8), (50, 66, 44))] = 0.9  # white matter
    value[ball((-14, 0, 10), (9, 28, 9)) | ball((14, -8, 12), (8, 24, 8))] = 0.15  # ventricles
    for number, mark in enumerate(MARKS):
        value[ball(mark, (9, 20, 8 + number))] = 0.45
    value[ball((30, 40, 20), (14, 12, 10))] = 0.35
    return value


def grid(image: Image) -> np.ndarray:
    k, j, i = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
    points = np.tensordot(image.ijk_to_ras[:3, :3], np.stack([i, j, k]), axes=1)
    return np.asarray(points + image.ijk_to_ras[:3, 3].reshape(3, 1, 1, 1))


@pytest.fixture(scope="module")
def template() -> Image:
    """The phantom brain without its skull, 3 mm voxels."""
    matrix = np.diag([3.0, 3.0, 3.0, 1.0])
    matrix[:3, 3] = (-78, -102, -72)
    empty = Image(np.zeros((1, 50, 64, 53), np.float32), matrix)
    points = grid(empty)
    bare, full = head_at(points, skull=False), head_at(points, skull=True)
    return empty.with_array(np.where(bare > 0, full, 0.0).astype(np.float32))


def scan(pose: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int]) -> Image:
    """The head with skull, moved by `pose` (4x4), as a noisy scan on this grid."""
    empty = Image(np.zeros((1, *shape), np.float32), matrix)
    points = grid(empty)
    inverse = np.linalg.inv(pose)
    back = np.tensordot(inverse[:3, :3], points, axes=1) + inverse[:3, 3].reshape(3, 1, 1, 1)
    noise = np.random.default_rng(3).normal(0, 0.03, shape).astype(np.float32)
    return empty.with_array((1000 * (head_at(back, skull=True) + noise))[None])


def test_a_rotated_smaller_head_in_an_oblique_anisotropic_scan_is_found(template: Image) -> None:
    from medai.registration import register_affine

    pose = oblique_matrix((0.9, 0.88, 0.92), (0.25, -0.15, 0.2), (12.0, -25.0, 18.0))
    matrix = oblique_matrix((1.8, 1.8, 5.0), (-0.2, 0.1, -0.15), (0.0, 0.0, 0.0))
    shape = (40, 118, 106)
    center = pose[:3, 3] - matrix[:3, :3] @ (np.array(shape[::-1]) / 2)
    matrix[:3, 3] = center + np.array([4.0, -6.0, 3.0])
    stages: list[Progress] = []
    match = register_affine(template, scan(pose, matrix, shape), MARKS, stages.append)
    for mark in MARKS:
        assert np.linalg.norm(match.map_point(mark) - (pose @ np.array([*mark, 1.0]))[:3]) < 4.0
    assert match.correlation > 0.6
    assert match.covered > 0.95
    assert np.linalg.det(match.rotation) == pytest.approx(1.0)
    assert stages[-1].fraction == pytest.approx(1.0)
    fractions = [stage.fraction for stage in stages]
    assert fractions == sorted(fractions)


def test_noise_is_no_head(template: Image) -> None:
    from medai.demo.locate import match_template
    from medai.errors import InputError

    matrix = np.diag([5.0, 5.0, 5.0, 1.0])
    noise = np.random.default_rng(0).normal(100, 20, (1, 36, 40, 38)).astype(np.float32)
    with pytest.raises(InputError, match=r"could not be located in 'static'.*T1"):
        match_template(template, Image(noise, matrix, name="static"))


def test_cancelling_ends_it(template: Image) -> None:
    from medai.errors import Cancelled
    from medai.registration import register_affine

    calls = iter(range(1000))
    with pytest.raises(Cancelled):
        register_affine(template, template, cancelled=lambda: next(calls) > 3)
