"""Volumes, ROIs and segments through a classifier whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import oblique_matrix
from unit.classify.classifier_phantoms import IMAGE, MASK, brightness_weights, card, write

from medai import classify
from medai.classify import ClassifyResult, load_model
from medai.classify import loading as loading_module
from medai.classify.decision import decide
from medai.config.classify import ClassifyConfig
from medai.config.model_card import Calibration
from medai.errors import Cancelled, InputError, ModelError
from medai.image import Image, Roi
from medai.labels import Label, LabelScheme


def image(value: float = 1.0, shape: tuple[int, int, int] = (12, 14, 16), name: str = "volume") -> Image:
    noise = np.random.default_rng(0).uniform(-0.01, 0.01, (1, *shape))
    return Image((value + noise).astype(np.float32), oblique_matrix((1.0, 1.2, 1.5)), name)


def run(
    model: classify.LoadedClassifier, *args: object, config: ClassifyConfig | None = None, **kw: object
) -> ClassifyResult:
    return classify.run(config or ClassifyConfig("cpu"), *([list(args)]), model, **kw)  # type: ignore[arg-type]


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_the_volume_s_brightness_is_its_logit(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, card()), "cpu")
    for value in (0.5, 2.0):
        (item,) = run(model, image(value)).items
        assert item.probabilities["bright"] == pytest.approx(sigmoid(value), abs=0.01)
        assert sum(item.probabilities.values()) == pytest.approx(1.0)
        assert (item.name, item.value, item.predicted) == ("volume", None, "bright")


def test_the_temperature_and_the_threshold_count(tmp_path: Path) -> None:
    calibrated = card(calibration=Calibration(2.0, {"dark": 0.3}))
    (item,) = run(load_model(write(tmp_path, calibrated), "cpu"), image(1.0)).items
    assert item.probabilities["bright"] == pytest.approx(sigmoid(0.5), abs=0.01)
    assert item.predicted == "dark"  # 0.38 is above its threshold
    assert decide(calibrated, {"dark": 0.29, "bright": 0.71}) == "bright"


def test_folds_vote_by_the_mean_of_their_logits(tmp_path: Path) -> None:
    model = card()
    package = write(tmp_path, model, [brightness_weights(model, 1.0), brightness_weights(model, 4.0)])
    loaded = load_model(package, "cpu")
    (both,) = run(loaded, image(1.0)).items
    assert both.probabilities["bright"] == pytest.approx(sigmoid(2.5), abs=0.01)
    (second,) = run(loaded, image(1.0), config=ClassifyConfig("cpu", folds=(1,))).items
    assert second.probabilities["bright"] == pytest.approx(sigmoid(4.0), abs=0.01)
    with pytest.raises(ModelError, match="no fold 7"):
        run(loaded, image(1.0), config=ClassifyConfig("cpu", folds=(7,)))


def test_each_roi_is_an_item(tmp_path: Path) -> None:
    array = np.zeros((1, 10, 12, 14), np.float32)
    array[..., 7:] = 2.0
    scene = Image(array, np.eye(4), "halves")
    rois = [Roi.from_bounds((0, 5, 2, 8, 2, 8)), Roi.from_bounds((8, 13, 2, 8, 2, 8))]
    result = run(load_model(write(tmp_path, card()), "cpu"), scene, rois=rois)
    assert [item.name for item in result.items] == ["ROI 1", "ROI 2"]
    assert [item.probabilities["bright"] for item in result.items] == pytest.approx([0.5, sigmoid(2)], abs=0.02)


def test_a_hundred_segments_with_one_model_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    original = loading_module.load_model
    monkeypatch.setattr(loading_module, "load_model", lambda *a: loads.append(1) or original(*a))
    labels = np.zeros((1, 25, 44, 44), np.uint8)
    array = np.zeros((1, 25, 44, 44), np.float32)
    values = iter(range(1, 101))
    for k in range(4):
        for j in range(5):
            for i in range(5):
                box = (0, slice(6 * k + 1, 6 * k + 5), slice(8 * j + 1, 8 * j + 6), slice(8 * i + 1, 8 * i + 6))
                value = next(values)
                labels[box], array[box] = value, value / 50
    matrix = oblique_matrix()
    model = loading_module.load_model(write(tmp_path, card(inputs=(IMAGE, MASK), network="structure_cnn")), "cpu")
    result = run(model, Image(array, matrix, "x"), label_map=Image(labels, matrix, "segments"))
    assert len(result.items) == 100
    assert loads == [1]
    assert [item.value for item in result.items] == list(range(1, 101))


def test_a_mask_model_takes_a_segment_or_the_mask_itself(tmp_path: Path) -> None:
    array = np.zeros((1, 20, 20, 20), np.uint8)
    array[0, 4:12, 5:13, 6:14] = 7
    matrix = oblique_matrix()
    model = load_model(write(tmp_path, card(inputs=(MASK,), method="spacing")), "cpu")
    scheme = LabelScheme((Label(7, "gland", (1, 0, 0)),))
    label_map = Image(array, matrix, "segments")
    (segment,) = run(model, label_map=label_map, labels=scheme).items
    (volume,) = run(model, label_map).items
    assert (segment.name, segment.value) == ("gland", 7)
    assert segment.probabilities == pytest.approx(volume.probabilities)


def test_segments_on_another_grid_than_the_image(tmp_path: Path) -> None:
    fine, coarse = np.eye(4), np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.5
    array = np.zeros((1, 24, 24, 24), np.float32)
    array[0, 8:16, 8:16, 8:16] = 3.0
    labels = np.zeros((1, 12, 12, 12), np.uint8)
    labels[0, 4:8, 4:8, 4:8] = 1
    model = load_model(write(tmp_path, card(inputs=(IMAGE, MASK), network="structure_cnn")), "cpu")
    same = np.repeat(np.repeat(np.repeat(labels, 2, 1), 2, 2), 2, 3)
    (other,) = run(model, Image(array, fine, "x"), label_map=Image(labels, coarse, "coarse")).items
    (own,) = run(model, Image(array, fine, "x"), label_map=Image(same, fine, "fine")).items
    assert other.probabilities == pytest.approx(own.probabilities, abs=0.02)


def test_an_unusual_image_is_flagged(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    usual = rng.normal(1.0, 0.2, (60, 1, 8, 8, 8))
    model = load_model(write(tmp_path, card(), usual=usual), "cpu")
    grid = np.eye(4)
    (normal,) = run(model, Image(rng.normal(1.0, 0.2, (1, 8, 8, 8)).astype(np.float32), grid, "as ever")).items
    result = run(model, Image(rng.normal(9.0, 3.0, (1, 8, 8, 8)).astype(np.float32), grid, "strange"))
    (strange,) = result.items
    assert normal.anomaly is not None
    assert strange.anomaly is not None
    assert not normal.anomaly.flag
    assert strange.anomaly.flag
    assert strange.anomaly.score > 3 * normal.anomaly.score
    assert "'strange' is unlike" in result.warnings[0]


def test_the_heat_map_lies_on_the_image_s_grid(tmp_path: Path) -> None:
    array = np.zeros((1, 16, 18, 20), np.float32)
    array[0, 2:8, 3:9, 11:18] = 4.0
    scene = Image(array, oblique_matrix(), "spot")
    model = load_model(write(tmp_path, card((16, 16, 16))), "cpu")
    result = run(model, scene, config=ClassifyConfig("cpu", explain="gradcam", explain_class="bright"))
    heat = result.heat_map
    assert heat is not None
    assert heat.same_grid(scene)
    assert heat.array.dtype == np.float32
    assert 0 <= heat.array.min() <= heat.array.max() <= 1
    inside = heat.array[0, 2:8, 3:9, 11:18].mean()
    assert inside > 3 * heat.array[0, 10:, 10:, :8].mean()


def test_shifted_copies_change_little_of_a_smooth_image(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, card()), "cpu")
    (plain,) = run(model, image(1.0)).items
    (averaged,) = run(model, image(1.0), config=ClassifyConfig("cpu", tta=True)).items
    assert averaged.probabilities == pytest.approx(plain.probabilities, abs=0.01)


def test_requests_that_cannot_be_fulfilled(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, card()), "cpu")
    labels = Image(np.zeros((1, 12, 14, 16), np.uint8), image().ijk_to_ras, "empty")
    scheme = LabelScheme((Label(1, "gland", (1, 0, 0)),))
    roi = Roi.from_bounds((0, 5, 0, 5, 0, 5))
    with pytest.raises(InputError, match="Both ROIs and segments"):
        run(model, image(), rois=[roi], label_map=labels)
    with pytest.raises(InputError, match=r"'gland' .* is empty"):
        run(model, image(), label_map=labels, labels=scheme)
    with pytest.raises(InputError, match="no segment"):
        run(model, image(), label_map=labels)
    with pytest.raises(InputError, match="no class 'blue'"):
        run(model, image(), config=ClassifyConfig("cpu", explain_class="blue"))
    with pytest.raises(InputError, match="no image"):
        run(model)
    with pytest.raises(InputError, match="3D"):
        run(model, Image(np.random.default_rng(0).random((1, 1, 20, 20)).astype(np.float32), np.eye(4), "picture"))
    with pytest.raises(Cancelled):
        run(model, image(), cancelled=lambda: True)


def test_a_model_of_structures_needs_segments(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, card(inputs=(IMAGE, MASK), network="structure_cnn")), "cpu")
    with pytest.raises(InputError, match="--segments"):
        run(model, image())


def test_weights_that_are_not_finite_are_said(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, card()), "cpu")
    with torch.no_grad():
        model.networks[0].fc.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        run(model, image())
