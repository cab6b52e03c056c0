"""Orientation is a permutation with flips: exact, and every voxel keeps its place in the patient."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from conftest import oblique_matrix

from medai.image import Image
from medai.preprocessing.orientation import closest_to_ras


def turned(image: Image, order: tuple[int, ...], flips: tuple[bool, ...]) -> Image:
    """The same image stored with other axes, by index arithmetic on each voxel (independent of the code under test)."""
    array = image.array.transpose(0, *(a + 1 for a in order))
    matrix = image.ijk_to_ras.copy()
    for axis in range(3):
        matrix[:3, 2 - axis] = image.ijk_to_ras[:3, 2 - order[axis]]
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis + 1)
            matrix[:3, 3] += matrix[:3, 2 - axis] * (array.shape[axis + 1] - 1)
            matrix[:3, 2 - axis] *= -1
    return Image(array, matrix)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((False, True), repeat=3)))
def test_every_storage_order_comes_back_to_the_same_oriented_image(order, flips):
    generator = np.random.default_rng(3)
    # Near RAS: rotated a little, anisotropic.
    matrix = oblique_matrix((0.7, 1.1, 2.3), (0.2, -0.1, 0.15))
    image = Image(generator.integers(0, 1000, (2, 5, 7, 9)), matrix)
    other = turned(image, order, flips)

    orientation = closest_to_ras(other.ijk_to_ras)

    assert np.array_equal(orientation.apply(other.array), image.array)
    assert np.allclose(orientation.apply_affine(other.ijk_to_ras, other.shape), matrix)
    assert orientation.apply_shape(other.shape) == image.shape


def test_a_box_follows_the_axes():
    image = Image(np.arange(5 * 7 * 9).reshape(1, 5, 7, 9), np.diag([-1.0, 1.0, -2.0, 1.0]))
    orientation = closest_to_ras(image.ijk_to_ras)
    box = (slice(1, 3), slice(2, 6), slice(0, 4))
    oriented_box = orientation.apply_box(box, image.shape)
    inside = orientation.apply(image.array)[(0, *oriented_box)]
    assert np.array_equal(np.sort(inside.ravel()), np.sort(image.array[(0, *box)].ravel()))


def test_strongly_oblique_axes_stay_one_to_one():
    # 45 degrees: two axes are equally near to the same direction.
    matrix = oblique_matrix((1.0, 1.0, 1.0), (np.pi / 4, np.pi / 4, 0.0))
    assert sorted(closest_to_ras(matrix).order) == [0, 1, 2]


def test_planar_keeps_the_slice_axis_first():
    sagittal = np.eye(4)
    sagittal[:3, :3] = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=float)  # i: P, j: I, k: R
    orientation = closest_to_ras(sagittal, first_axis=0)
    assert orientation.order == (0, 1, 2)
    assert orientation.flips == (False, True, True)
