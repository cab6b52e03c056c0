from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from training_phantoms import MATRIX, ball, write_dataset

from medai.config.model_card import LabelSpec
from medai.dataset.cache import is_cache, open_cache
from medai.dataset.prepare import prepare
from medai.errors import Cancelled, DatasetError, OutputError
from medai.image import Image
from medai.imageio import write_image


def add(root: Path, name: str, image: np.ndarray, labels: np.ndarray, labels_matrix: np.ndarray = MATRIX) -> None:
    write_image(root / "images" / f"{name}.nii.gz", Image(image[None], MATRIX))
    write_image(root / "labels" / f"{name}.nii.gz", Image(labels[None], labels_matrix))


def test_the_cache_holds_what_training_needs(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 3)
    prepare(data, tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    assert [case.name for case in cache.card.cases] == ["case0", "case1", "case2"]
    assert cache.card.spacing_mm == (1.1, 1.0, 1.2)
    assert [(spec.value, spec.name) for spec in cache.card.labels] == [(1, "label 1"), (2, "label 2")]
    arrays = cache.load(cache.card.cases[0])
    image, labels = ball(0)
    assert np.array_equal(arrays.labels, labels)
    assert abs(float(np.mean(arrays.image, dtype=np.float64))) < 1e-3
    assert abs(float(np.std(arrays.image.astype(np.float64))) - 1) < 1e-3
    assert np.corrcoef(arrays.image[0].ravel(), image.ravel())[0, 1] > 0.999
    assert {tuple(v) for v in arrays.foreground[2]} == {tuple(v) for v in np.argwhere(labels == 2)}
    assert cache.card.fingerprint.label_voxels[0] == sum(int((ball(n)[1] == 1).sum()) for n in range(3))


def test_files_that_do_not_belong_together_are_listed(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 2)
    image, labels = ball(7)
    moved = MATRIX.copy()
    moved[:3, 3] = 5
    add(data, "moved", image, labels, moved)
    add(data, "shape", image, labels[1:])
    add(data, "value", image, np.where(labels == 2, 9, labels).astype(np.uint8))
    hole = np.where(image > 110, np.nan, image).astype(np.float32)
    write_image(data / "images" / "nan.nrrd", Image(hole[None], MATRIX))
    write_image(data / "labels" / "nan.nrrd", Image(labels[None], MATRIX))
    add(data, "float", image, (labels * 0.5).astype(np.float32))
    (data / "images" / "text.nii.gz").write_text("not an image", encoding="utf-8")
    write_image(data / "labels" / "text.nii.gz", Image(labels[None], MATRIX))
    write_image(data / "images" / "alone.nii.gz", Image(image[None], MATRIX))
    (data / "dataset.json").write_text(json.dumps({"labels": {"lower": 1, "upper": 2}}), encoding="utf-8")
    card = prepare(data, tmp_path / "cache").card
    assert [case.name for case in card.cases] == ["case0", "case1"]
    reasons = {case.name: case.reason for case in card.excluded}
    assert set(reasons) == {"moved", "shape", "value", "nan", "float", "text", "alone"}
    assert "geometry" in reasons["moved"]
    assert "geometry" in reasons["shape"]
    assert "[9]" in reasons["value"]
    assert "not finite" in reasons["nan"]
    assert "not whole" in reasons["float"]
    assert "no label map" in reasons["alone"]
    assert [spec.name for spec in card.labels] == ["lower", "upper"]


def test_no_usable_case_stops_the_run(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 2)
    (data / "dataset.json").write_text(json.dumps({"labels": {"other": 5}}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"case0: .*\[1, 2\]"):
        prepare(data, tmp_path / "cache")
    assert not is_cache(tmp_path / "cache")


def test_label_values_become_indices(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 1)
    image, labels = ball(0)
    add(data, "case0", image, np.where(labels == 1, 205, np.where(labels == 2, 17, 0)).astype(np.int16))
    specs = (LabelSpec(205, "lower", (1, 0, 0)), LabelSpec(17, "upper", (0, 1, 0)))
    cache = prepare(data, tmp_path / "cache", labels=specs)
    assert np.array_equal(cache.load(cache.card.cases[0]).labels, labels)  # in the order of the description
    assert cache.card.labels == specs


def test_other_orientations_are_turned_to_ras(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 1)
    image, labels = ball(5)
    turned = np.array([[0, 0, -1.1, 19], [1.2, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])  # i: A, j: S, k: L
    write_image(data / "images" / "turned.nii.gz", Image(image[None], turned))
    write_image(data / "labels" / "turned.nii.gz", Image(labels[None], turned))
    cache = prepare(data, tmp_path / "cache")
    arrays = cache.load(cache.card.cases[1])
    expected = labels.transpose(1, 2, 0)[:, :, ::-1]  # (S, A, R) from (L, S, A)
    # The spacing of the data set is the other case's or between: compare the proportions of the halves.
    assert arrays.labels.shape != labels.shape
    for value in (1, 2):
        k, j, i = np.array(np.nonzero(arrays.labels == value)).mean(axis=1) / arrays.labels.shape
        assert np.allclose([k, j, i], np.array(np.nonzero(expected == value)).mean(axis=1) / expected.shape, atol=0.03)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 1)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="something else"):
        prepare(data, tmp_path / "cache")
    prepare(data, tmp_path / "other")
    with pytest.raises(OutputError, match="finished cache"):
        prepare(data, tmp_path / "other")


def test_an_unfinished_cache_is_made_again(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls", 2)
    calls = iter(range(100))
    with pytest.raises(Cancelled):
        prepare(data, tmp_path / "cache", cancelled=lambda: next(calls) >= 3)
    assert not is_cache(tmp_path / "cache")
    assert len(prepare(data, tmp_path / "cache").card.cases) == 2


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    cache = prepare(write_dataset(tmp_path / "balls", 1), tmp_path / "cache")
    (tmp_path / "cache" / "cases" / "case0.labels.npy").write_bytes(b"x")
    with pytest.raises(DatasetError, match="case0"):
        cache.load(cache.card.cases[0])


def test_real_anisotropic_pet_and_mr(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "sts_mr_pet"
    cases = [
        {"name": folder.name, "image": str(folder / "MR_T1_image.nii.gz"), "label": str(folder / "MR_T1_mask.nii.gz")}
        for folder in sorted(source.iterdir())[:2]
    ]
    (tmp_path / "list.json").write_text(json.dumps({"cases": cases, "labels": {"tumour": 1}}), encoding="utf-8")
    card = prepare(tmp_path / "list.json", tmp_path / "cache").card
    assert not card.excluded
    assert card.spacing_mm[0] > 2 * card.spacing_mm[1]  # slices stay apart
    assert card.fingerprint.label_voxels[0] > 0
