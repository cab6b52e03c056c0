from __future__ import annotations

import json
from pathlib import Path

import pytest

from medai.dataset.layouts import Channel, list_dataset
from medai.errors import ConfigError, DatasetError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def reasons(path: Path) -> dict[str, str]:
    return {case.name: case.reason for case in list_dataset(path).excluded}


def test_images_and_labels_of_equal_names(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "images/b.nrrd", "images/c.mha", "images/._a.nii.gz", "images/notes.txt",
          "labels/a.nii.gz", "labels/b.seg.nrrd", "labels/d.nii")  # fmt: skip
    listing = list_dataset(tmp_path)
    assert [(case.name, case.images[0].name, case.labels.name) for case in listing.cases] == [
        ("a", "a.nii.gz", "a.nii.gz"),
        ("b", "b.nrrd", "b.seg.nrrd"),
    ]
    assert reasons(tmp_path) == {
        "c": "there is no label map of this name in labels/.",
        "d": "there is no image of this name in images/.",
    }
    assert listing.channels == (Channel("image"),)
    assert listing.name == tmp_path.name


def test_channels_by_four_digits(tmp_path: Path) -> None:
    touch(tmp_path, "images/a_0001.nii", "images/a_0000.nii", "images/b_0000.nii", "images/c_0000.nii",
          "images/c_0001.nii", "labels/a.nii", "labels/b.nii", "labels/c.nii")  # fmt: skip
    listing = list_dataset(tmp_path)
    assert [file.name for file in listing.cases[0].images] == ["a_0000.nii", "a_0001.nii"]
    assert [case.name for case in listing.cases] == ["a", "c"]
    assert reasons(tmp_path) == {"b": "it has 1 channel(s), the data set has 2."}


def test_a_case_may_be_named_like_a_channel(tmp_path: Path) -> None:
    touch(tmp_path, "images/scan_0007.nii", "images/scan_0008.nii", "labels/scan_0007.nii", "labels/scan_0008.nii")
    assert [case.name for case in list_dataset(tmp_path).cases] == ["scan_0007", "scan_0008"]


def test_decathlon(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/la_1.nii.gz", "labelsTr/la_1.nii.gz", "imagesTs/la_2.nii.gz")
    description = {
        "name": "Left atrium", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left atrium"},
        "licence": "CC-BY-SA 4.0", "reference": "King's College London",
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    listing = list_dataset(tmp_path)
    assert [case.name for case in listing.cases] == ["la_1"]
    assert listing.channels == (Channel("MRI", "MR"),)
    assert listing.labels == {1: "left atrium"}
    assert (listing.name, listing.licence) == ("Left atrium", "CC-BY-SA 4.0")


def test_nnunet_version_2(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/p_0000.nii.gz", "imagesTr/p_0001.nii.gz", "labelsTr/p.nii.gz")
    description = {
        "channel_names": {"1": "PET", "0": "CT"}, "labels": {"background": 0, "tumour": 2, "liver": 1, "ignore": 3},
        "patients": {"p": "patient one"},
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    listing = list_dataset(tmp_path)
    assert listing.channels == (Channel("CT", "CT"), Channel("PET", "PT"))
    assert dict(listing.labels) == {1: "liver", 2: "tumour"}
    assert listing.cases[0].patient == "patient one"


def test_overlapping_regions_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/p.nii", "labelsTr/p.nii")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"whole": [1, 2], "core": 2}}), encoding="utf-8")
    with pytest.raises(DatasetError, match="'whole'"):
        list_dataset(tmp_path)


def test_json_list(tmp_path: Path) -> None:
    touch(tmp_path, "x/t1.nii", "x/t2.nii", "x/l.nii", "y/t1.nii", "y/t2.nii", "y/l.nii")
    data = {
        "channels": ["T1", "T2"], "labels": {"tumour": 1},
        "cases": [
            {"name": "first", "images": ["x/t1.nii", "x/t2.nii"], "label": "x/l.nii", "patient": "P"},
            {"name": "second", "images": ["y/t1.nii", "y/t2.nii"], "label": "y/l.nii", "patient": "P"},
            {"name": "second", "images": ["y/t1.nii", "y/t2.nii"], "label": "y/l.nii"},
            {"name": "../third", "images": ["y/t1.nii", "y/t2.nii"], "label": "y/l.nii"},
            {"images": ["z/t1.nii", "z/t2.nii"], "label": "z/l.nii"},
            {"name": "fifth", "images": ["x/t1.nii", "x/t2.nii"]},
        ],
    }  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps(data), encoding="utf-8")
    listing = list_dataset(tmp_path / "list.json")
    assert [(case.name, case.patient) for case in listing.cases] == [("first", "P"), ("second", "P")]
    found = [(case.name, case.reason) for case in listing.excluded]
    assert [name for name, _ in found] == ["second", "../third", "t1", "fifth"]
    assert "earlier case" in found[0][1]
    assert "z" in found[2][1]
    assert "names no label" in found[3][1]


def test_csv_list(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "b.nii", "al.nii", "bl.nii")
    (tmp_path / "list.csv").write_text(
        "image,label,patient\na.nii, al.nii ,P1\nb.nii,bl.nii,P2\nc.nii,cl.nii,P3\n", encoding="utf-8-sig"
    )
    listing = list_dataset(tmp_path / "list.csv")
    assert [(case.name, case.patient, case.labels.name) for case in listing.cases] == [
        ("a", "P1", "al.nii"),
        ("b", "P2", "bl.nii"),
    ]
    assert listing.excluded[0].name == "c"


def test_csv_with_several_channels(tmp_path: Path) -> None:
    touch(tmp_path, "t1.nii", "t2.nii", "l.nii")
    (tmp_path / "list.csv").write_text("name,image_1,image_0,label\nx,t2.nii,t1.nii,l.nii\n", encoding="utf-8")
    assert [file.name for file in list_dataset(tmp_path / "list.csv").cases[0].images] == ["t1.nii", "t2.nii"]


@pytest.mark.parametrize("name", ["nowhere", "list.txt", "empty"])
def test_what_is_no_data_set(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "list.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=name):
        list_dataset(tmp_path / name)


def test_no_pair_at_all_says_why(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "labels/b.nii")
    with pytest.raises(DatasetError, match="a: there is no label map"):
        list_dataset(tmp_path)


def test_a_broken_description_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "labels/a.nii")
    (tmp_path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"dataset\.json"):
        list_dataset(tmp_path)
