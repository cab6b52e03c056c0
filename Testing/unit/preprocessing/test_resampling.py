"""Resampling against SciPy's own n-dimensional interpolation, and labels against known volumes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from medai.preprocessing.resampling import (
    nearest_indices,
    resample,
    resample_labels,
    spline_orders,
    target_shape,
    thick_axis,
)


@pytest.mark.parametrize("order", [1, 3])
def test_separable_matrices_equal_scipys_zoom(order):
    array = np.random.default_rng(1).normal(0, 1, (2, 9, 13, 17)).astype(np.float32)
    shape = (14, 8, 17)
    zoom = [1, 14 / 9, 8 / 13, 1]
    expected = scipy.ndimage.zoom(array.astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    for channel in range(2):
        expected[channel] = expected[channel].clip(array[channel].min(), array[channel].max())
    assert np.allclose(resample(array, shape, (order,) * 3), expected, atol=2e-5)


def test_order_zero_takes_the_nearest_slice():
    assert nearest_indices(3, 7).tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert nearest_indices(7, 3).tolist() == [1, 3, 5]
    array = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1).repeat(4, 2).repeat(5, 3)
    assert np.array_equal(resample(array, (7, 4, 5), (0, 3, 3))[0, :, 0, 0], [0, 0, 1, 1, 1, 2, 2])


def test_cubic_overshoot_is_clipped_per_channel():
    array = np.zeros((2, 8, 8, 8), np.float32)
    array[0, 4:] = 1.0
    array[1, :, 4:] = 50.0
    result = resample(array, (13, 13, 13), (3, 3, 3))
    assert (result[0].min(), result[0].max()) == (0.0, 1.0)
    assert (result[1].min(), result[1].max()) == (0.0, 50.0)


def test_anisotropy_decides_the_orders():
    assert thick_axis((5.0, 0.8, 0.8)) == 0
    assert thick_axis((2.0, 0.8, 0.8)) is None
    assert thick_axis((5.0, 5.0, 0.8)) is None
    assert spline_orders((5.0, 0.8, 0.8), (1, 1, 1), 3) == (0, 3, 3)
    assert spline_orders((1, 1, 1), (0.8, 0.8, 5.0), 3) == (3, 3, 0)
    assert spline_orders((1, 1, 1), (2, 1.5, 1), 3) == (3, 3, 3)


def test_equal_spacing_keeps_the_count():
    assert target_shape((301, 40, 50), (1.0, 1.0, 1.0), (1.004, 0.5, 2.0)) == (301, 80, 25)
    assert target_shape((1, 4, 5), (1.0, 1.0, 1.0), (9.0, 9.0, 9.0)) == (1, 1, 1)


def test_labels_keep_values_dtype_and_volume():
    k, j, i = np.meshgrid(np.arange(30), np.arange(40), np.arange(50), indexing="ij")
    labels = np.zeros((30, 40, 50), np.uint16)
    labels[(k - 15) ** 2 + (j - 20) ** 2 + (i - 15) ** 2 <= 100] = 3
    labels[(k - 15) ** 2 + (j - 20) ** 2 + (i - 33) ** 2 <= 64] = 14175
    result = resample_labels(labels, (45, 60, 75), (1, 1, 1))
    assert result.dtype == np.uint16
    assert sorted(np.unique(result)) == [0, 3, 14175]
    for value in (3, 14175):
        volume = (result == value).sum() / 1.5**3
        assert volume == pytest.approx((labels == value).sum(), rel=0.02)


def test_neighbouring_labels_leave_no_gap():
    labels = np.ones((6, 6, 6), np.uint8)
    labels[:, :, 3:] = 2
    assert (resample_labels(labels, (9, 11, 13), (1, 1, 1)) > 0).all()


def test_labels_equal_the_one_hot_argmax():
    labels = np.random.default_rng(5).integers(0, 4, (6, 7, 8)).astype(np.uint8)
    shape = (9, 5, 13)
    shares = [resample((labels == v)[None].astype(np.float32), shape, (1, 1, 1))[0] for v in range(4)]
    # Labels win ties against the background, so it comes last here.
    expected = np.array([1, 2, 3, 0])[np.argmax([*shares[1:], shares[0]], axis=0)]
    assert (resample_labels(labels, shape, (1, 1, 1)) == expected).mean() > 0.999
