"""There and back: labels come home to the input grid exactly, images are scaled as the card says."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import scipy.ndimage
import torch
from conftest import oblique_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from medai.config.model_card import InputSpec, Normalization
from medai.errors import Cancelled, GeometryError, InputError
from medai.image import Image, crop
from medai.preprocessing import LabelWriter, Preprocessing, invert_labels, invert_logits

PLAIN = (InputSpec("image", "MR", Normalization("zscore")),)


@st.composite
def stored_label_maps(draw):
    """A label map of any storage order, handedness, obliqueness, anisotropy and odd shape."""
    shape = tuple(draw(st.integers(1, 12)) for _ in range(3))
    spacing = tuple(draw(st.sampled_from([0.4, 0.9, 1.0, 2.7, 6.5])) for _ in range(3))
    angles = tuple(draw(st.floats(-3.1, 3.1)) for _ in range(3))
    matrix = oblique_matrix(spacing, angles, left_handed=draw(st.booleans()))
    order = draw(st.sampled_from(list(permutations(range(3)))))
    matrix[:3, :3] = matrix[:3, list(order)]
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    return Image(generator.integers(0, 300, (1, *shape)).astype(np.uint16), matrix)


@settings(max_examples=150, deadline=None)
@given(stored_label_maps())
def test_without_resampling_the_way_back_is_byte_exact(label_map):
    oriented_spacing = Preprocessing(PLAIN, (1.0, 1.0, 1.0)).apply(label_map).record
    spacing = oriented_spacing.orientation.apply_shape(label_map.spacing_mm)
    prepared = Preprocessing(PLAIN, spacing).apply(label_map)
    assert not prepared.record.resampled
    labels = Preprocessing(PLAIN, spacing).apply_labels(label_map, prepared.record)
    back = invert_labels(labels, prepared.record)
    assert back.dtype == label_map.array.dtype
    assert np.array_equal(back, label_map.array[0])


@settings(max_examples=60, deadline=None)
@given(stored_label_maps(), st.tuples(*[st.sampled_from([0.5, 1.0, 1.7, 3.0])] * 3))
def test_with_resampling_shape_and_place_are_kept(label_map, spacing):
    preprocessing = Preprocessing(PLAIN, spacing)
    prepared = preprocessing.apply(label_map)
    labels = preprocessing.apply_labels(label_map, prepared.record)
    assert labels.shape == prepared.record.shape == prepared.array.shape[1:]
    assert invert_labels(labels, prepared.record).shape == label_map.shape
    # Outer faces of both grids are at the same places in the patient.
    record = prepared.record
    for corner in (-0.5, None):
        ijk_model = [n - 0.5 if corner is None else corner for n in record.shape[::-1]]
        oriented = record.orientation.apply_affine(label_map.ijk_to_ras, label_map.shape)
        ijk_oriented = [n - 0.5 if corner is None else corner for n in record.box_shape[::-1]]
        assert np.allclose(record.ijk_to_ras @ [*ijk_model, 1], oriented @ [*ijk_oriented, 1])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.2, 1.0), (0.7, 0.7, 0.7)])
def test_balls_survive_the_round_trip(sphere_label_map, spacing):
    preprocessing = Preprocessing(PLAIN, spacing)
    record = preprocessing.apply(sphere_label_map).record
    back = invert_labels(preprocessing.apply_labels(sphere_label_map, record), record)
    truth = sphere_label_map.array[0]
    for value in (1, 2):
        overlap = 2 * ((back == value) & (truth == value)).sum() / ((back == value).sum() + (truth == value).sum())
        assert overlap > 0.93
        assert (back == value).sum() == pytest.approx((truth == value).sum(), rel=0.06)


def test_the_network_grid_is_where_the_voxels_are():
    """A linear ramp in RAS, resampled, must have the value of the place that the record claims."""
    matrix = oblique_matrix((0.9, 1.3, 2.1), (0.3, 0.2, -2.5), left_handed=True)
    k, j, i = np.meshgrid(np.arange(15), np.arange(20), np.arange(25), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], -1) @ matrix.T
    ramp = (0.3 * ras[..., 0] - 0.7 * ras[..., 1] + 0.5 * ras[..., 2]).astype(np.float32)
    preprocessing = Preprocessing((InputSpec("r", "", Normalization("none")),), (1.4, 1.1, 1.2))
    prepared = preprocessing.apply(Image(ramp[None], matrix), region=(slice(2, 14), slice(3, 18), slice(1, 23)))
    shape = prepared.record.shape
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], -1) @ prepared.as_image().ijk_to_ras.T
    expected = 0.3 * ras[..., 0] - 0.7 * ras[..., 1] + 0.5 * ras[..., 2]
    inner = (slice(3, -3),) * 3  # the outer voxels are extrapolated flat
    assert np.abs(prepared.array[0][inner] - expected[inner]).max() < 0.05
    # Far axes point near superior, anterior, right.
    axes = prepared.record.ijk_to_ras[:3, :3]
    assert axes[0, 0] > 0
    assert axes[1, 1] > 0
    assert axes[2, 2] > 0


def test_a_region_is_scaled_as_the_whole_image(oblique_image):
    preprocessing = Preprocessing(PLAIN, oblique_image.spacing_mm)
    whole = preprocessing.apply(oblique_image)
    box = (slice(2, 9), slice(4, 15), slice(3, 20))
    part = preprocessing.apply(oblique_image, region=box)
    mask = np.zeros(oblique_image.shape, bool)
    mask[box] = True
    inside = whole.record.view(mask)
    assert np.allclose(np.sort(part.array.ravel()), np.sort(whole.array[0][inside]))
    labels = invert_labels(np.ones(part.record.shape, np.uint8), part.record)
    assert np.array_equal(labels.astype(bool), mask)


def test_nonzero_crop_and_statistics_of_the_crop():
    array = np.zeros((1, 10, 12, 14), np.int16)
    array[0, 2:8, 3:9, 4:10] = np.random.default_rng(0).integers(50, 150, (6, 6, 6))
    prepared = Preprocessing(PLAIN, (1, 1, 1), "nonzero").apply(Image(array, np.eye(4)))
    assert prepared.record.shape == (6, 6, 6)
    assert prepared.array.mean() == pytest.approx(0, abs=1e-5)
    assert prepared.array.std() == pytest.approx(1, abs=1e-4)
    assert prepared.record.ijk_to_ras[:3, 3].tolist() == [4, 3, 2]


def test_body_crop_finds_the_body_and_leaves_the_table_out():
    array = np.full((1, 40, 80, 90), -1000, np.int16)
    _, j, i = np.meshgrid(np.arange(40), np.arange(80), np.arange(90), indexing="ij")
    array[0][((j - 35) / 20) ** 2 + ((i - 45) / 30) ** 2 <= 1] = 40
    array[0, :, 72:74] = 200  # table
    prepared = Preprocessing(PLAIN, (1, 1, 1), "body").apply(Image(array, np.eye(4)))
    box = prepared.record.box
    assert box[0] == slice(0, 40)
    assert box[1].start <= 15
    assert 56 <= box[1].stop < 72
    assert box[2].start <= 15
    assert box[2].stop >= 76


def test_body_crop_keeps_both_legs_and_an_arm_and_leaves_air_and_a_curved_table_out():
    shape = (60, 120, 160)
    noise = np.random.default_rng(0).normal(0, 20, shape)
    array = (-1000 + noise).astype(np.int16)
    _, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    for middle, radius in ((50, 17), (92, 16), (126, 6)):  # two legs and a hand
        array[(j - 50) ** 2 + (i - middle) ** 2 <= radius**2] = 40
    array[np.abs(np.hypot(j - 0, i - 70) - 106) < 1.5] = 300  # the shell of a table
    array[30, 4, 4] = 500  # noise
    box = Preprocessing(PLAIN, (1, 1, 1), "body").apply(Image(array[None], np.diag([-1.0, -1, 1, 1]))).record.box
    # The grid points left and back: k, j, i are S, and reversed A and R.
    assert box[0] == slice(0, 60)
    assert 120 - 33 <= box[1].stop <= 120 - 25
    assert 120 - 100 < box[1].start <= 120 - 67
    assert 160 - 33 <= box[2].stop <= 160 - 25
    assert 160 - 142 <= box[2].start <= 160 - 132


def test_an_empty_image_is_not_cropped_away():
    image = Image(np.zeros((1, 4, 5, 6), np.int16), np.eye(4))
    for name in ("nonzero", "body"):
        prepared = Preprocessing(PLAIN, (1, 1, 1), name).apply(image)
        assert prepared.array.shape == (1, 4, 5, 6)
        assert np.isfinite(prepared.array).all()


def test_a_planar_model_leaves_the_slice_axis_alone():
    image = Image(np.random.default_rng(0).normal(size=(1, 7, 20, 30)), np.diag([0.5, 0.5, 6.0, 1.0]))
    prepared = Preprocessing(PLAIN, (1.0, 1.0, 1.0), planar=True).apply(image)
    assert prepared.record.shape == (7, 10, 15)


def test_wrong_channels_and_wrong_grid_are_refused(oblique_image):
    two = Image(np.repeat(oblique_image.array, 2, axis=0), oblique_image.ijk_to_ras, name="two.nii.gz")
    preprocessing = Preprocessing(PLAIN, (1, 1, 1))
    with pytest.raises(InputError, match=r"two.nii.gz.*2 channels.*takes 1 \(image\)"):
        preprocessing.apply(two)
    record = preprocessing.apply(oblique_image).record
    labels = oblique_image.with_array(np.zeros(oblique_image.array.shape, np.uint8))
    with pytest.raises(GeometryError, match="not on the grid"):
        preprocessing.apply_labels(crop(labels, (slice(1, 9), slice(0, 17), slice(0, 23))), record)
    with pytest.raises(InputError, match="float64"):
        preprocessing.apply_labels(labels.with_array(labels.array.astype(float)), record)


def smooth_logits(classes: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return torch.from_numpy(scipy.ndimage.gaussian_filter(noise, (0, 2, 2, 2)).astype(np.float32))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_streamed_logits_equal_interpolate_and_argmax(axis, chunk):
    """Every streaming axis and chunk gives what torch gives for the whole volume at once."""
    matrix = oblique_matrix((0.8, 1.1, 2.4), (0.1, 0.2, 0.1), left_handed=True)
    image = Image(np.random.default_rng(1).normal(size=(1, 17, 26, 33)), matrix)
    record = (
        Preprocessing(PLAIN, (1.5, 1.5, 1.5)).apply(image, region=(slice(1, 16), slice(0, 25), slice(3, 33))).record
    )
    values = (0, 7, 300, 2)
    logits = smooth_logits(4, record.shape)
    full = torch.nn.functional.interpolate(logits[None], record.box_shape, mode="trilinear", align_corners=False)[0]
    expected = np.zeros(image.shape, np.uint16)
    record.view(expected)[...] = np.array(values)[full.argmax(0).numpy()]

    order = (0, axis + 1, *(a + 1 for a in range(3) if a != axis))
    writer = LabelWriter(record, values, axis)
    streamed = logits.permute(order)
    for start in range(0, streamed.shape[1], chunk):
        assert not writer.complete
        writer.add(streamed[:, start : start + chunk])
    assert writer.complete
    assert writer.labels.dtype == np.uint16
    assert (writer.labels != expected).mean() < 1e-4


def test_logits_on_the_same_grid_are_a_plain_argmax(oblique_image):
    record = Preprocessing(PLAIN, oblique_image.spacing_mm).apply(oblique_image).record
    logits = smooth_logits(3, record.shape)
    labels = invert_logits(logits, record, (0, 1, 2))
    assert labels.dtype == np.uint8
    assert np.array_equal(record.view(labels), logits.argmax(0).numpy())


def test_cancel_is_obeyed_on_the_way_there_and_back(oblique_image):
    preprocessing = Preprocessing(PLAIN, (1.0, 1.0, 1.0))
    with pytest.raises(Cancelled):
        preprocessing.apply(oblique_image, cancelled=lambda: True)
    record = preprocessing.apply(oblique_image).record
    writer = LabelWriter(record, (0, 1, 2), cancelled=lambda: True)
    with pytest.raises(Cancelled):
        writer.add(smooth_logits(3, record.shape))
