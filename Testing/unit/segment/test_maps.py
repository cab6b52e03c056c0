"""Probability and entropy maps: right numbers, right place, in files, and gone when the run fails."""

from __future__ import annotations

import os
from itertools import count

import numpy as np
import pytest
import torch
from conftest import oblique_matrix

from medai.config.model_card import Calibration
from medai.config.segment import SegmentConfig
from medai.errors import Cancelled, OutputError
from medai.image import Image, Roi
from medai.segment import MapPlace, run
from medai.segment import map_files as map_files_module

BOTH = ("probabilities", "entropy")
MEANS = (0.0, 0.5, 1.0)


def noisy(label_map: Image, seed: int = 3) -> Image:
    """Intensities around those of the labels: some voxels are nearly certain, others not."""
    generator = np.random.default_rng(seed)
    array = np.array(MEANS, np.float32)[label_map.array] + generator.normal(0, 0.4, label_map.array.shape)
    return Image(array.astype(np.float32), label_map.ijk_to_ras, "balls.nii.gz", "MR")


def expected(image: Image, temperature: float = 1.0, means=MEANS) -> tuple[np.ndarray, np.ndarray]:
    """Softmax (n, k, j, i) and scaled entropy (k, j, i) of the network `nearest` on its own grid, by their formulas."""
    x = image.array[0].astype(np.float64)
    logits = np.stack([2 * m * x - m * m for m in means]) / temperature
    powers = np.exp(logits - logits.max(0))
    shares = powers / powers.sum(0)
    return shares, -(shares * np.log(shares)).sum(0) / np.log(len(means))


def before_each_tile(model, look) -> list[tuple[int, ...]]:
    """Call ``look(tile)`` before the network sees one; returns the list of the tiles' shapes that will come."""
    tiles: list[tuple[int, ...]] = []

    def hook(_module, inputs) -> None:
        tiles.append(tuple(inputs[0].shape[2:]))
        look(inputs[0])

    model.networks[0].layer.register_forward_pre_hook(hook)
    return tiles


def maps_of(result) -> tuple[dict[int, np.ndarray], np.ndarray]:
    return {value: image.array[0] for value, image in result.probabilities}, result.entropy.array[0]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_maps_are_the_softmax_and_its_entropy_where_the_voxels_are(make_model, sphere_label_map, order, temperature):
    matrix = oblique_matrix((0.9, 1.3, 2.1), (2.0, 0.4, -1.0), left_handed=True)
    matrix[:3, :3] = matrix[:3, list(order)]
    image = noisy(Image(sphere_label_map.array, matrix))
    spacing = make_model().preprocessing.apply(image).record.orientation.apply_shape(image.spacing_mm)
    model = make_model(spacing, values=(3, 300), calibration=Calibration(temperature))

    result = run(SegmentConfig(outputs=BOTH), [image], model)

    shares, entropy = expected(image, temperature)
    found, doubt = maps_of(result)
    assert set(found) == {3, 300}
    assert np.abs(found[3] - shares[1]).max() < 1e-5
    assert np.abs(found[300] - shares[2]).max() < 1e-5
    assert np.abs(doubt - entropy).max() < 1e-5
    assert found[3].dtype == doubt.dtype == np.float32
    for _, probability in result.probabilities:
        assert np.array_equal(probability.ijk_to_ras, matrix)
    assert np.array_equal(result.entropy.ijk_to_ras, matrix)


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (3.0, 0.7, 1.1)])
def test_the_largest_probability_is_the_labels_after_resampling(make_model, sphere_label_map, spacing):
    result = run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model(spacing))
    plain = run(SegmentConfig(), [noisy(sphere_label_map)], make_model(spacing))
    assert np.array_equal(result.label_map.array, plain.label_map.array)
    found, doubt = maps_of(result)
    shares = np.stack([1 - found[1] - found[2], found[1], found[2]])
    own = np.take_along_axis(shares, result.label_map.array.astype(np.int64), 0)[0]
    assert (own >= shares.max(0) - 1e-6).all()
    # Where one class leads by more than rounding, argmax is the label, without exception.
    clear = np.partition(shares, -2, axis=0)[-1] - np.partition(shares, -2, axis=0)[-2] > 1e-6
    assert clear.mean() > 0.99
    assert np.array_equal(shares.argmax(0)[clear], result.label_map.array[0][clear])
    assert doubt.min() >= 0
    assert doubt.max() <= 1


def test_several_blocks_give_the_same_maps(make_model, sphere_label_map, monkeypatch):
    whole = maps_of(run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model((1.5, 1.5, 1.5))))
    monkeypatch.setattr("medai.preprocessing.logit_blocks._TILE", 7)
    parts = maps_of(run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model((1.5, 1.5, 1.5))))
    assert np.array_equal(whole[1], parts[1])
    assert all(np.array_equal(whole[0][value], parts[0][value]) for value in (1, 2))


def test_only_the_kept_labels_and_only_what_was_asked_for(make_model, sphere_label_map):
    image = noisy(sphere_label_map)
    every = run(SegmentConfig(outputs=BOTH), [image], make_model())
    one = run(SegmentConfig(outputs=("probabilities",), labels=("organ 2",)), [image], make_model())
    assert [value for value, _ in one.probabilities] == [2]
    assert one.entropy is None
    assert np.array_equal(one.probabilities[0][1].array, every.probabilities[1][1].array)
    doubt = run(SegmentConfig(outputs=("entropy",), labels=("organ 2",)), [image], make_model())
    assert doubt.probabilities == ()
    assert np.array_equal(doubt.entropy.array, every.entropy.array)
    plain = run(SegmentConfig(), [image], make_model())
    assert plain.probabilities == ()
    assert plain.entropy is None


def test_roi_tta_folds_and_flat_models(make_model, sphere_label_map):
    image = noisy(sphere_label_map)
    center = (sphere_label_map.ijk_to_ras @ [16, 15, 10, 1])[:3]
    roi = Roi(tuple(center), (14.0, 11.0, 9.0))
    spacing = image.spacing_mm
    whole, _ = maps_of(run(SegmentConfig(outputs=BOTH), [image], make_model(spacing)))
    found, doubt = maps_of(run(SegmentConfig(outputs=BOTH, roi=roi), [image], make_model(spacing)))
    inside = found[1] != 0
    assert 0 < inside.mean() < 0.2
    assert np.array_equal(doubt != 0, inside)
    assert np.allclose(found[1][inside], whole[1][inside], atol=1e-6)

    # The mean of the folds' logits is that of a network whose means give the mean line.
    folds = make_model(spacing, fold_means=((0.0, 0.4, 0.9), (0.0, 0.6, 1.1)))
    found, _ = maps_of(run(SegmentConfig(outputs=BOTH, tta=True), [image], folds))
    x = image.array[0].astype(np.float64)
    logits = np.stack(
        [np.mean([2 * m[n] * x - m[n] ** 2 for m in ((0, 0.4, 0.9), (0, 0.6, 1.1))], 0) for n in range(3)]
    )
    shares = np.exp(logits) / np.exp(logits).sum(0)
    assert np.abs(found[2] - shares[2]).max() < 1e-5

    straight = Image(image.array, np.diag([0.9, 1.3, 2.1, 1.0]), image.name, "MR")
    flat = make_model((1.0, 1.3, 0.9), patch=(1, 16, 16))
    found, doubt = maps_of(run(SegmentConfig(outputs=BOTH), [straight], flat))
    shares, entropy = expected(straight)
    assert np.abs(found[1] - shares[1]).max() < 1e-5
    assert np.abs(doubt - entropy).max() < 1e-5


def test_after_an_attempt_that_ran_out_of_memory_halfway_the_maps_are_whole(make_model, sphere_label_map):
    spacing = (1.0, 1.0, 1.0)
    right = maps_of(run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model(spacing, patch=(8, 8, 8))))
    model = make_model(spacing, patch=(16, 16, 16))
    calls = count()

    def fail_late(tile) -> None:
        if tile[0, 0].numel() == 16**3 and next(calls) > 15:
            raise MemoryError

    tiles = before_each_tile(model, fail_late)
    result = run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], model)
    assert (16, 16, 16) in tiles
    assert (8, 8, 8) in tiles
    found = maps_of(result)
    assert np.allclose(found[1], right[1], atol=1e-6)
    assert all(np.allclose(found[0][v], right[0][v], atol=1e-6) for v in (1, 2))


def named(folder) -> MapPlace:
    numbers = count(1)
    return MapPlace(folder, lambda: folder / f"r1-{next(numbers)}.raw")


def test_named_files_hold_the_voxels(make_model, sphere_label_map, tmp_path):
    result = run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model(), map_place=named(tmp_path))
    images = [image for _, image in result.probabilities] + [result.entropy]
    assert len(list(tmp_path.iterdir())) == 3
    for image in images:
        stored = np.fromfile(map_files_module.map_path(image), "<f4").reshape(image.array.shape)
        assert np.array_equal(stored, image.array)
        assert isinstance(image.array, np.memmap)


def test_unnamed_files_leave_nothing_behind(make_model, sphere_label_map, tmp_path):
    result = run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model(), map_place=MapPlace(tmp_path))
    assert result.entropy.array.max() > 0
    assert os.name != "posix" or list(tmp_path.iterdir()) == []


def test_a_cancelled_or_failed_run_removes_its_files(make_model, sphere_label_map, tmp_path):
    model = make_model()
    calls = count()
    with pytest.raises(Cancelled):
        run(
            SegmentConfig(outputs=BOTH),
            [noisy(sphere_label_map)],
            model,
            cancelled=lambda: next(calls) > 20,
            map_place=named(tmp_path),
        )
    assert next(calls) > 20
    assert list(tmp_path.iterdir()) == []

    def fail(_tile) -> None:
        raise RuntimeError("shape mismatch")

    before_each_tile(model, fail)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], model, map_place=named(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_said_before_anything_is_computed(make_model, sphere_label_map, tmp_path, monkeypatch):
    model = make_model()
    tiles = before_each_tile(model, lambda tile: None)
    usage = type(map_files_module.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(map_files_module.shutil, "disk_usage", lambda _: usage(10, 10, 2**20 // 10))
    with pytest.raises(OutputError, match=r"need 0 MiB in .*0 MiB are free.*fewer labels"):
        run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], model, map_place=named(tmp_path))
    assert tiles == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_leaves_no_file(make_model, sphere_label_map, tmp_path, monkeypatch):
    calls = count(1)
    allocate = map_files_module._allocate

    def full_at_the_second(stream, nbytes) -> None:
        if next(calls) == 2:
            raise OSError(28, "No space left on device")
        allocate(stream, nbytes)

    monkeypatch.setattr(map_files_module, "_allocate", full_at_the_second)
    with pytest.raises(OutputError, match=r"A map of .* cannot be written .*No space left on device"):
        run(SegmentConfig(outputs=BOTH), [noisy(sphere_label_map)], make_model(), map_place=named(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_logits_of_any_size_overflow_nothing(make_model, sphere_label_map):
    image = noisy(sphere_label_map)
    huge = Image(image.array * 1e4, image.ijk_to_ras, "huge", "MR")
    found, doubt = maps_of(run(SegmentConfig(outputs=BOTH), [huge], make_model(means=(0.0, 5e3, 1e4))))
    assert np.isfinite(doubt).all()
    assert all(np.isfinite(share).all() for share in found.values())
    assert torch.tensor(found[2]).max() == 1
