"""A few labels by a quick look and a fine pass in their box: the labels of the whole run, or the whole run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import oblique_matrix

from medai.config.segment import SegmentConfig
from medai.errors import Cancelled
from medai.image import Image, Roi
from medai.metrics import dice
from medai.segment import coarse_search as search_module
from medai.segment import run

MEANS = (0.0, 6.0, -6.0)  # no edge of one organ looks like the other
SHAPE = (52, 70, 88)
SPACING_IJK = (1.1, 0.9, 1.3)
SPACING = SPACING_IJK[::-1]


def scene(balls, order=(0, 1, 2), shape=SHAPE) -> tuple[Image, np.ndarray]:
    """Balls (value, centre as parts of the shape, radius in voxels) on an oblique, left-handed grid: image, labels."""
    matrix = oblique_matrix(SPACING_IJK, (0.2, -0.1, 2.0), left_handed=True)
    matrix[:3, :3] = matrix[:3, list(order)]
    labels = np.zeros(shape, np.uint8)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    for value, center, radius in balls:
        at = [part * n for part, n in zip(center, shape, strict=True)]
        labels[(k - at[0]) ** 2 + (j - at[1]) ** 2 + (i - at[2]) ** 2 <= radius**2] = value
    noise = np.random.default_rng(0).normal(0, 0.6, shape)
    return Image((np.array(MEANS)[labels] + noise).astype(np.float32)[None], matrix, "balls", "MR"), labels


ONE_EACH = ((1, (0.3, 0.4, 0.3), 8), (2, (0.7, 0.6, 0.8), 9))


def voxels_seen(model) -> list[int]:
    """Voxels of every tile that the network will see."""
    seen: list[int] = []
    model.networks[0].layer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0][0, 0].numel()))
    return seen


def small_model(make_model, **changes):
    return make_model(**{"spacing_mm": SPACING, "means": MEANS, "patch": (16, 16, 16), **changes})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("label", [1, 2])
def test_the_labels_are_those_of_the_whole_run_for_a_part_of_the_work(make_model, order, label):
    image, truth = scene(ONE_EACH, order)
    model = small_model(make_model)
    seen = voxels_seen(model)
    exact = run(SegmentConfig(labels=(f"organ {label}",)), [image], model)
    whole = sum(seen)
    seen.clear()
    fast = run(SegmentConfig(labels=(f"organ {label}",), precision="fast"), [image], model)
    quick = sum(seen)
    seen.clear()
    run(SegmentConfig(precision="fast"), [image], model)
    assert quick < 0.6 * sum(seen) < whole
    assert dice(exact.label_map.array == label, fast.label_map.array == label) > 0.999
    assert dice(truth == label, fast.label_map.array[0] == label) > 0.95
    assert set(np.unique(fast.label_map.array)) == {0, label}
    assert np.array_equal(fast.label_map.ijk_to_ras, image.ijk_to_ras)


def test_a_trained_network_gives_the_same_labels(tmp_path):
    """A U-Net that was fitted in seconds, on a volume ten times as large as those of its fit."""
    from integration.cli.phantoms import fit, make_card, phantom

    from medai.models import write_package
    from medai.segment import load_model

    package = write_package(tmp_path / "balls.medai", make_card(), [fit()])
    model = load_model(package, "cpu")
    image, truth = phantom(7, (40, 80, 90), left_handed=True, radius_mm=7.0)
    tiles: list[int] = []
    first = next(m for m in model.networks[0].modules() if next(m.children(), None) is None)
    first.register_forward_pre_hook(lambda _module, _inputs: tiles.append(1))
    for value, name in ((1, "bright ball"), (2, "dim ball")):
        tiles.clear()
        whole = run(SegmentConfig(precision="fast"), [image], model).label_map.array[0] == value
        count = len(tiles)
        tiles.clear()
        part = run(SegmentConfig(precision="fast", labels=(name,)), [image], model).label_map.array[0] == value
        # In the part the tiles are those of the whole volume; what differs are single voxels far away from it.
        assert dice(whole, part) > 0.99
        assert dice(truth == value, part) > 0.85
        assert len(tiles) < 0.7 * count


def test_exact_runs_rois_maps_all_labels_and_flat_models_are_never_searched(make_model, monkeypatch):
    monkeypatch.setattr("medai.segment.segmentation.search", lambda *_: pytest.fail("searched"))
    image, _ = scene(ONE_EACH)
    one = ("organ 1",)
    center = tuple((image.ijk_to_ras @ [26, 28, 16, 1])[:3])
    for config in (
        SegmentConfig(labels=one),
        SegmentConfig(labels=("organ 1", "organ 2"), precision="fast"),
        SegmentConfig(precision="fast"),
        SegmentConfig(labels=one, precision="fast", outputs=("entropy",)),
        SegmentConfig(labels=one, precision="fast", roi=Roi(center, (20.0, 20.0, 20.0))),
    ):
        run(config, [image], small_model(make_model, patch=(32, 32, 32)))
    run(SegmentConfig(labels=one, precision="fast"), [image], small_model(make_model, patch=(1, 32, 32)))
    # A volume of a few tiles is not worth a quick look.
    run(SegmentConfig(labels=one, precision="fast"), [image], small_model(make_model, patch=(64, 96, 96)))


def full_and_quick(make_model, image, monkeypatch, label=1) -> tuple[np.ndarray, np.ndarray, list]:
    """Labels of a fast run that does not search, of one that does, and what the search found."""
    config = SegmentConfig(labels=(f"organ {label}",), precision="fast")
    found: list = []
    search = search_module.search
    monkeypatch.setattr("medai.segment.segmentation.search", lambda *args: (found.append(search(*args)), found[-1])[1])
    quick = run(config, [image], small_model(make_model)).label_map.array
    monkeypatch.setattr("medai.segment.segmentation.worthwhile", lambda *_: False)
    full = run(config, [image], small_model(make_model)).label_map.array
    assert len(found) == 1
    return full, quick, found


def test_what_is_not_found_falls_back_to_the_whole_run(make_model, monkeypatch):
    # A ball of one voxel is not there at half resolution.
    image, truth = scene((*ONE_EACH[1:], (1, (0.31, 0.41, 0.29), 0.9)))
    image.array[0][truth == 1] = 6.0
    full, quick, found = full_and_quick(make_model, image, monkeypatch)
    assert found == [None]
    assert np.array_equal(full, quick)
    assert (quick == 1).any()


def test_a_structure_that_reaches_the_border_of_the_box_falls_back(make_model, monkeypatch):
    image, _ = scene(ONE_EACH)
    aligned = search_module._aligned
    # A box that cuts the ball in two.
    monkeypatch.setattr(search_module, "_aligned", lambda *args: (lambda box: (slice(0, 20), *box[1:]))(aligned(*args)))
    full, quick, found = full_and_quick(make_model, image, monkeypatch)
    assert found[0] is not None
    assert np.array_equal(full, quick)


def test_a_structure_that_looks_otherwise_at_half_resolution_falls_back(make_model, monkeypatch):
    image, _ = scene(ONE_EACH)
    add = search_module._Sink.add

    def shifted(sink, planes) -> None:
        add(sink, torch.roll(planes, 7, dims=-1))

    monkeypatch.setattr(search_module._Sink, "add", shifted)
    full, quick, found = full_and_quick(make_model, image, monkeypatch)
    assert found[0] is not None
    assert np.array_equal(full, quick)


def test_two_parts_far_from_each_other_are_both_found(make_model, monkeypatch):
    image, truth = scene(((1, (0.2, 0.25, 0.2), 5), (1, (0.6, 0.5, 0.5), 6), (2, (0.8, 0.8, 0.85), 6)))
    full, quick, _ = full_and_quick(make_model, image, monkeypatch)
    assert dice(full, quick) > 0.99
    assert dice(truth == 1, quick[0] == 1) > 0.95


def test_too_little_memory_for_the_look_falls_back(make_model, monkeypatch):
    def fail(*_) -> None:
        raise MemoryError

    monkeypatch.setattr(search_module._Sink, "add", fail)
    image, _ = scene(ONE_EACH)
    full, quick, found = full_and_quick(make_model, image, monkeypatch)
    assert found == [None]
    assert np.array_equal(full, quick)


def test_progress_rises_and_the_look_can_be_cancelled(make_model):
    image, _ = scene(ONE_EACH)
    config = SegmentConfig(labels=("organ 1",), precision="fast")
    seen = []
    run(config, [image], small_model(make_model), progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert list(dict.fromkeys(p.stage for p in seen)) == [
        "Preparing", "Searching", "Segmenting", "Finishing",
    ]  # fmt: skip
    seen.clear()
    with pytest.raises(Cancelled):
        run(config, [image], small_model(make_model), seen.append, lambda: bool(seen) and seen[-1].fraction > 0.1)
    assert seen[-1].stage == "Searching"
