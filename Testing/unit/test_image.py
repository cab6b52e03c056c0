"""Images, ROIs and crops: geometry on oblique, anisotropic and left-handed grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medai.errors import GeometryError, InputError
from medai.image import Image, Roi, corners_ras, crop


def ras(image: Image, i: float, j: float, k: float) -> np.ndarray:
    return (image.ijk_to_ras @ [i, j, k, 1.0])[:3]


def test_sizes_and_spacing(oblique_image):
    assert oblique_image.shape == (13, 17, 23)
    assert oblique_image.channels == 1
    assert oblique_image.spacing_mm == pytest.approx((2.3, 1.1, 0.7))
    assert oblique_image.voxel_volume_ml == pytest.approx(2.3 * 1.1 * 0.7 / 1000)
    assert np.shares_memory(oblique_image.channel(0), oblique_image.array)


def test_the_volume_of_a_sheared_voxel(oblique_image):
    matrix = oblique_image.ijk_to_ras.copy()
    matrix[:3, 2] += 3 * matrix[:3, 0]
    assert replace(oblique_image, ijk_to_ras=matrix).voxel_volume_ml == pytest.approx(oblique_image.voxel_volume_ml)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 3, 4, 5)])
def test_arrays_need_four_axes(shape):
    with pytest.raises(InputError, match=f"{len(shape)} axes"):
        Image(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((4, 4)),
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.diag([1.0, np.nan, 1.0, 1.0]),
        np.array([[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.eye(3),
    ],
)
def test_impossible_matrices_are_refused(matrix):
    with pytest.raises(GeometryError):
        Image(np.zeros((1, 2, 3, 4)), matrix)


def test_very_small_voxels_are_possible():
    assert Image(np.zeros((1, 2, 3, 4)), np.diag([1e-4, 1e-4, 1e-4, 1.0])).spacing_mm == pytest.approx((1e-4,) * 3)


def test_grids_are_compared_at_their_corners(oblique_image):
    matrix = oblique_image.ijk_to_ras.copy()
    matrix[0, 0] += 2e-4  # 22 voxels further on this is 4 thousandths of a millimetre: 6 thousandths of a voxel
    other = replace(oblique_image, ijk_to_ras=matrix)
    assert oblique_image.same_grid(oblique_image)
    assert not oblique_image.same_grid(other)
    assert oblique_image.same_grid(other, tolerance_voxels=0.01)
    assert not oblique_image.same_grid(crop(oblique_image, (slice(0, 12), slice(0, 17), slice(0, 23))))


def test_other_voxels_on_the_same_grid(oblique_image):
    labels = np.zeros((13, 17, 23), np.uint8)
    assert oblique_image.with_array(labels).array.shape == (1, 13, 17, 23)
    assert oblique_image.with_array(np.zeros((4, 13, 17, 23))).channels == 4
    with pytest.raises(GeometryError, match="do not fit"):
        oblique_image.with_array(labels[:12])


def test_crop_keeps_every_voxel_where_it_was(oblique_image):
    part = crop(oblique_image, (slice(2, 9), slice(3, 5), slice(7, 20)))
    assert part.shape == (7, 2, 13)
    assert ras(part, 1, 1, 4) == pytest.approx(ras(oblique_image, 8, 4, 6))
    assert part.array[0, 4, 1, 1] == oblique_image.array[0, 6, 4, 8]
    assert ras(oblique_image, 0, 0, 0) == pytest.approx(oblique_image.ijk_to_ras[:3, 3]), "the whole image is not moved"


def test_corners(oblique_image):
    corners = corners_ras(oblique_image)
    assert len(np.unique(corners.round(6), axis=0)) == 8
    assert corners[7] == pytest.approx(ras(oblique_image, 22, 16, 12))


def test_roi_from_bounds_in_any_order():
    roi = Roi.from_bounds([10, -10, 0, 4, -3, -1])
    assert roi.center_ras == (0, 2, -2)
    assert roi.size_mm == (20, 4, 2)
    with pytest.raises(InputError, match="six numbers"):
        Roi.from_bounds([1, 2, 3])
    with pytest.raises(InputError, match="no length"):
        Roi.from_bounds([1, 1, 0, 4, 0, 4])


@pytest.mark.parametrize("center", [(np.nan, 0, 0), (0, 0)])
def test_impossible_rois(center):
    with pytest.raises(InputError, match="finite numbers"):
        Roi(center, (1, 1, 1))


@pytest.mark.parametrize("flip", [1, -1])
def test_a_roi_along_the_grid_covers_exactly_its_voxels(oblique_image, flip):
    matrix = oblique_image.ijk_to_ras.copy()
    matrix[:3, 0] *= flip
    image = replace(oblique_image, ijk_to_ras=matrix)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    center = ras(image, (4 + 9) / 2, (3 + 5) / 2, (2 + 8) / 2)  # voxels 4..9, 3..5, 2..8, with their outer faces
    roi = Roi(tuple(center), (6 * 0.7, 3 * 1.1, 7 * 2.3), tuple(axes.ravel()))
    assert roi.index_box(image) == (slice(2, 9), slice(3, 6), slice(4, 10))


def test_a_rotated_roi_is_covered(oblique_image):
    roi = Roi(tuple(ras(oblique_image, 11, 8, 6)), (6.0, 5.0, 9.0))
    box = roi.index_box(oblique_image)
    ijk = (np.linalg.inv(oblique_image.ijk_to_ras) @ np.c_[roi.corners_ras(), np.ones(8)].T)[:3].T
    for axis, part in zip((2, 1, 0), box, strict=True):
        assert part.start - 0.5 <= max(ijk[:, axis].min(), -0.5) + 1e-5
        assert part.stop - 0.5 >= min(ijk[:, axis].max(), oblique_image.shape[2 - axis] - 0.5) - 1e-5


def test_rois_at_the_border_are_cut_and_outside_refused(oblique_image):
    whole = Roi(tuple(ras(oblique_image, 11, 8, 6)), (1000.0, 1000.0, 1000.0))
    assert whole.index_box(oblique_image) == (slice(0, 13), slice(0, 17), slice(0, 23))
    corner = Roi(tuple(ras(oblique_image, 0, 0, 0)), (0.01, 0.01, 0.01))
    assert corner.index_box(oblique_image) == (slice(0, 1), slice(0, 1), slice(0, 1))
    with pytest.raises(InputError, match="outside image 'oblique'"):
        Roi((500.0, 0.0, 0.0), (1.0, 1.0, 1.0)).index_box(oblique_image)
