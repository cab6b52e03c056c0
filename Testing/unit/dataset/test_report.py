from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from training_phantoms import MATRIX, ball, write_dataset

from medai.dataset.cache import open_cache
from medai.dataset.checks import read_case
from medai.dataset.layouts import list_dataset
from medai.dataset.prepare import prepare
from medai.dataset.report import check_dataset
from medai.errors import DatasetError
from medai.image import Image
from medai.imageio import write_image


def add(root: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    write_image(root / "images" / f"{name}.nii.gz", Image(image[None], MATRIX))
    write_image(root / "labels" / f"{name}.nii.gz", Image(labels[None], MATRIX))


def describe(root: Path, **fields) -> None:
    (root / "dataset.json").write_text(json.dumps(fields), encoding="utf-8")


def codes(report) -> set[tuple[str, str, str]]:
    return {(f.case, f.severity, f.code) for f in report.findings}


def test_sound_data_has_nothing_to_report(tmp_path: Path) -> None:
    assert check_dataset(write_dataset(tmp_path / "data", 3)).findings == ()


def test_a_person_learns_what_is_wrong_with_each_file(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3)
    image, labels = ball(7)
    add(data, "empty", *(ball(8)[0], np.zeros_like(labels)))
    few = np.zeros_like(labels)
    few[9, 10, 8:12] = 1
    add(data, "few", ball(9)[0], few)
    add(data, "copy", *ball(0))
    add(data, "flat", np.full_like(image, 3.0), labels)
    add(data, "shape", image, labels[1:])
    report = check_dataset(data)
    assert codes(report) >= {
        ("empty", "warning", "empty-segmentation"), ("few", "warning", "tiny-label"), ("flat", "error", "constant"),
        ("shape", "error", "unreadable"),
    }  # fmt: skip
    duplicate = next(f for f in report.findings if f.code == "duplicate")
    assert {duplicate.case, "case0" if duplicate.case == "copy" else "copy"} == {"copy", "case0"}
    assert report.findings[0].severity == "error"
    card = prepare(data, tmp_path / "cache").card
    assert {case.name for case in card.excluded} == report.bad_cases
    assert any(warning.startswith("few: ") for warning in card.warnings)


def test_leaks_of_folds_are_in_the_report(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3)
    describe(data, patients={"case0": "A", "case1": "A", "case2": "B"})
    (data / "splits.json").write_text(json.dumps([{"train": ["case0"], "val": ["case1"]}]), encoding="utf-8")
    assert ("case1", "error", "fold-leak") in codes(check_dataset(data))


def test_labels_that_nobody_looked_for_are_kept_from_the_description_to_the_cache(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3)
    _, labels = ball(1)
    write_image(data / "labels" / "case1.nii.gz", Image((labels == 1).astype(np.uint8)[None], MATRIX))
    describe(data, labels={"lower": 1, "upper": 2}, unknown={"case1": ["upper"]})
    report = check_dataset(data)
    assert codes(report) == {("case1", "note", "unknown")}
    prepare(data, tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    assert [case.unknown_labels for case in cache.card.cases] == [(), (2,), ()]
    assert [cache.load(case).unknown for case in cache.card.cases] == [(), (2,), ()]
    assert not np.any(cache.load(cache.card.cases[1]).labels == 2)


def test_an_unknown_label_must_be_one_of_the_data_set(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 2)
    describe(data, labels={"lower": 1, "upper": 2}, unknown={"case1": ["middle"]})
    with pytest.raises(DatasetError, match="'middle'"):
        list_dataset(data)


def test_colours_codes_and_modalities_of_the_description_reach_the_cache(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 2)
    code = {"scheme": "SCT", "value": "1", "meaning": "one"}
    details = [
        {"value": 1, "name": "lower", "color": [0.1, 0.2, 0.3], "terminology": {"category": code, "type": code}},
        {"value": 2, "name": "upper", "color": [0.4, 0.5, 0.6]},
    ]
    describe(data, labels={"background": 0, "lower": 1, "upper": 2}, label_details=details,
             channel_names={"0": "image"}, modalities=["CT"])  # fmt: skip
    card = prepare(data, tmp_path / "cache").card
    assert card.labels[0].terminology is not None
    assert [spec.color for spec in card.labels] == [(0.1, 0.2, 0.3), (0.4, 0.5, 0.6)]
    assert card.inputs[0].modality == "CT"
    assert card.inputs[0].normalization.name == "ct_window"
    describe(data, labels={"lower": 1}, label_details=details)
    with pytest.raises(DatasetError, match="other labels"):
        list_dataset(data)


def function_of_place(matrix: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Voxels whose value is a linear function of the place in the world: interpolation must give it exactly."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ matrix.T
    return (ras[..., :3] @ np.array([1.0, -2.0, 3.0]) + 200).astype(np.float32)


def test_channels_on_other_grids_come_to_the_first_by_their_place(tmp_path: Path) -> None:
    angle = 0.3
    turned = np.array([
        [2 * np.cos(angle), -3 * np.sin(angle), 0, -8], [2 * np.sin(angle), 3 * np.cos(angle), 0, -12],
        [0, 0, 1.7, -6], [0, 0, 0, 1],
    ])  # fmt: skip
    for number in range(2):
        image, labels = ball(number)
        for folder in ("images", "labels"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "data" / "images" / f"c{number}_0000.nrrd", Image(image[None], MATRIX))
        second = Image(function_of_place(turned, (20, 30, 26))[None], turned)
        write_image(tmp_path / "data" / "images" / f"c{number}_0001.nrrd", second)
        write_image(tmp_path / "data" / "labels" / f"c{number}.nrrd", Image(labels[None], MATRIX))
    listing = list_dataset(tmp_path / "data")
    read = read_case(listing.cases[0], 2, ())
    expected = function_of_place(MATRIX, ball(0)[1].shape)
    inside = np.abs(read.image.channel(1) - expected) < 1e-2
    assert inside.mean() > 0.5
    assert abs(inside.mean() - read.covers[1]) < 0.1
    assert np.all(read.image.channel(1)[~inside] <= second.array.min() + 60)
    assert np.array_equal(read.image.channel(0), ball(0)[0])
    far = turned.copy()
    far[:3, 3] = 900
    write_image(tmp_path / "data" / "images" / "c1_0001.nrrd", Image(second.array, far))
    report = check_dataset(tmp_path / "data")
    assert ("c1", "error", "unreadable") in codes(report)
    assert "share no place" in next(f.message for f in report.errors if f.case == "c1")
