"""medai evaluate: pairing of files and labels, means, and what happens to what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medai import evaluate
from medai.errors import Cancelled, DatasetError, FileFormatError, GeometryError, InputError
from medai.image import Image
from medai.imageio import write_label_map
from medai.labels import Label, LabelScheme, unnamed_scheme
from medai.metrics import compare


@pytest.fixture
def shifted(sphere_label_map) -> Image:
    return sphere_label_map.with_array(np.roll(sphere_label_map.array, 1, axis=3))


def test_two_files_give_one_case(tmp_path, sphere_label_map, shifted, two_labels):
    write_label_map(tmp_path / "truth.seg.nrrd", sphere_label_map, two_labels)
    write_label_map(tmp_path / "mine.nii.gz", shifted, two_labels)
    report = evaluate.run(tmp_path / "truth.seg.nrrd", tmp_path / "mine.nii.gz", 1.0)
    assert [case["case"] for case in report["cases"]] == ["truth"]
    labels = report["cases"][0]["labels"]
    assert list(labels) == ["liver", "spleen"]
    truth, mine = sphere_label_map.array[0], shifted.array[0]
    expected = compare(truth == 1, mine == 1, sphere_label_map.spacing_mm, 1.0)
    assert labels["liver"] == pytest.approx(expected.__dict__)
    assert 0.8 < labels["liver"]["dice"] < 1
    assert report["mean"]["liver"]["dice"] == labels["liver"]["dice"]
    both = (labels["liver"]["dice"] + labels["spleen"]["dice"]) / 2
    assert report["mean"]["overall"]["dice"] == pytest.approx(both)
    json.dumps(report, allow_nan=False)


def test_labels_are_paired_by_name_where_both_have_names(sphere_label_map, two_labels):
    swapped = sphere_label_map.with_array(np.array([0, 9, 4], np.uint8)[sphere_label_map.array])
    scheme = LabelScheme((Label(4, "Spleen", (0, 1, 0)), Label(9, "LIVER", (1, 0, 0))))
    rows = evaluate.compare_label_maps(sphere_label_map, swapped, two_labels, scheme)
    assert {name: row["dice"] for name, row in rows.items()} == {"liver": 1.0, "spleen": 1.0}


def test_labels_without_names_are_paired_by_value(sphere_label_map, shifted):
    rows = evaluate.compare_label_maps(sphere_label_map, shifted)
    assert list(rows) == ["1", "2"]


def test_a_missed_and_an_absent_label(sphere_label_map):
    scheme = unnamed_scheme([1, 2, 7])
    missed = sphere_label_map.with_array(np.where(sphere_label_map.array == 2, 0, sphere_label_map.array))
    rows = evaluate.compare_label_maps(sphere_label_map, missed, scheme)
    assert (rows["label_2"]["dice"], rows["label_2"]["nsd"], rows["label_2"]["hd95_mm"]) == (0.0, 0.0, None)
    assert rows["label_7"]["dice"] is None
    assert rows["label_7"]["reference_ml"] == 0.0
    mean = evaluate.mean_of([{"case": "a", "labels": rows}])
    assert mean["overall"]["dice"] == pytest.approx(0.5)  # 1 and 0; the absent one does not count
    assert mean["overall"]["hd95_mm"] == 0.0


def test_folders_are_paired_and_what_does_not_fit_is_listed(tmp_path, sphere_label_map, shifted, two_labels):
    truth, mine = tmp_path / "truth", tmp_path / "mine"
    truth.mkdir()
    mine.mkdir()
    small = Image(sphere_label_map.array[:, 1:], sphere_label_map.ijk_to_ras)
    for name in ("a", "b", "c"):
        write_label_map(truth / f"{name}.nii.gz", sphere_label_map, two_labels)
    write_label_map(mine / "a.nrrd", shifted, two_labels)
    write_label_map(mine / "b.nii.gz", small, two_labels)
    write_label_map(mine / "d.nii.gz", shifted, two_labels)
    (mine / "c.nii.gz").write_text("no image")
    (mine / "notes.txt").write_text("x")
    report = evaluate.run(truth, mine)
    assert [case["case"] for case in report["cases"]] == ["a"]
    text = "\n".join(report["warnings"])
    assert len(report["warnings"]) == 3
    assert "b was left out" in text
    assert "c was left out" in text
    assert "d.nii.gz' has no reference" in text


def test_errors_name_what_is_wrong(tmp_path, sphere_label_map, two_labels):
    write_label_map(tmp_path / "a.nii.gz", sphere_label_map, two_labels)
    moved = sphere_label_map.ijk_to_ras.copy()
    moved[0, 3] += 2.0
    write_label_map(tmp_path / "b.nii.gz", Image(sphere_label_map.array, moved), two_labels)
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        evaluate.run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    with pytest.raises(FileFormatError, match="nowhere"):
        evaluate.run(tmp_path / "nowhere.nii.gz", tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match="a file and a folder"):
        evaluate.run(tmp_path, tmp_path / "b.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="No case"):
        evaluate.run(tmp_path, tmp_path / "empty")
    with pytest.raises(Cancelled):
        evaluate.run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", cancelled=lambda: True)
