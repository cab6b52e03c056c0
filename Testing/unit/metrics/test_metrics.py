"""Metrics against MONAI on random shapes, against known answers, and for empty masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from medai.metrics import assd_mm, compare, dice, hd95_mm, nsd, volume_ml


def blob(generator: np.random.Generator, shape: tuple[int, int, int], threshold: float) -> np.ndarray:
    noise = scipy.ndimage.gaussian_filter(generator.normal(size=shape), 2.0)
    return noise > threshold * noise.std()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.9), (0.4, 2.3, 1.1)])
def test_random_shapes_as_monai(seed, spacing):
    generator = np.random.default_rng(seed)
    shape = (17, 23, 31)
    reference, prediction = blob(generator, shape, 0.8), blob(generator, shape, 0.6)
    if seed % 2:  # partly the same surface
        prediction = reference ^ (blob(generator, shape, 1.8))
    one_hot = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (prediction, reference)]
    result = compare(reference, prediction, spacing, tolerance_mm=1.5)

    assert result.dice == pytest.approx(compute_dice(*one_hot).item(), abs=1e-6)
    expected = compute_hausdorff_distance(*one_hot, include_background=True, percentile=95, spacing=spacing)
    assert result.hd95_mm == pytest.approx(expected.item(), abs=1e-4)
    expected = compute_average_surface_distance(*one_hot, include_background=True, symmetric=True, spacing=spacing)
    assert result.assd_mm == pytest.approx(expected.item(), abs=1e-4)
    expected = compute_surface_dice(*one_hot, class_thresholds=[1.5], include_background=True, spacing=spacing)
    assert result.nsd == pytest.approx(expected.item(), abs=1e-6)


def test_shifted_cubes_have_known_answers():
    reference = np.zeros((20, 20, 20), bool)
    reference[5:15, 5:15, 5:15] = True
    prediction = np.roll(reference, 2, axis=0)
    spacing = (1.5, 1.0, 1.0)
    result = compare(reference, prediction, spacing, tolerance_mm=1.0)
    assert result.dice == pytest.approx(0.8)
    assert result.hd95_mm == pytest.approx(3.0)
    assert result.reference_ml == result.prediction_ml == pytest.approx(1000 * 1.5 / 1000)
    # Only what is common to both mantles (8 rings of 36 voxels of each surface) lies within 1 mm; the ends (100 and the
    # two outer rings) are farther, and each end face lies inside the other cube, 1.5 mm from the mantle at its rim.
    assert 0.5 < result.nsd < 0.75
    assert 0 < result.assd_mm < 3.0


def test_equal_masks():
    mask = blob(np.random.default_rng(3), (9, 11, 13), 0.5)
    result = compare(mask, mask, (3.0, 1.0, 0.5))
    assert (result.dice, result.hd95_mm, result.assd_mm, result.nsd) == (1.0, 0.0, 0.0, 1.0)


def test_one_empty_mask_is_a_miss():
    empty, mask = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    mask[2, 3, 4] = True
    for pair in ((mask, empty), (empty, mask)):
        result = compare(*pair, (1, 1, 1))
        assert (result.dice, result.nsd) == (0.0, 0.0)
        assert result.hd95_mm == result.assd_mm == math.inf


def test_two_empty_masks_have_nothing_to_measure():
    empty = np.zeros((5, 6, 7), bool)
    result = compare(empty, empty, (1, 1, 1))
    assert all(math.isnan(v) for v in (result.dice, result.hd95_mm, result.assd_mm, result.nsd))
    assert result.reference_ml == result.prediction_ml == 0.0


def test_a_mask_at_the_image_border_has_a_surface_there():
    mask = np.ones((4, 5, 6), np.uint8)
    smaller = mask.copy()
    smaller[0] = 0
    assert hd95_mm(mask, smaller, (2.0, 1.0, 1.0)) == pytest.approx(2.0)


def test_single_functions_agree_with_compare_and_take_integers():
    generator = np.random.default_rng(11)
    a, b = (blob(generator, (11, 13, 15), 0.7).astype(np.uint8) for _ in range(2))
    spacing = (2.0, 0.5, 0.8)
    result = compare(a, b, spacing, 0.9)
    assert dice(a, b) == result.dice
    assert hd95_mm(a, b, spacing) == result.hd95_mm
    assert assd_mm(a, b, spacing) == result.assd_mm
    assert nsd(a, b, spacing, 0.9) == result.nsd
    assert volume_ml(a, spacing) == result.reference_ml


def test_masks_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        compare(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)), (1, 1, 1))
