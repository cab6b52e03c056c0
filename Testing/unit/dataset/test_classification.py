"""Labelled data sets in all their forms, and every way in which they are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medai.config.model_card import FramingSpec, InputSpec
from medai.dataset.classification import check_trainable, list_labelled
from medai.dataset.framed import frame_dataset
from medai.dataset.stratified import stratified_folds
from medai.errors import DatasetError
from medai.preprocessing.framing import Framing


def write_images(folder: Path, names: list[str], size: tuple[int, ...] = (5, 6, 7)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        array = np.random.default_rng(number).integers(0, 200, size).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name))


def write_table(folder: Path, text: str) -> Path:
    write_images(folder, ["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz"])
    table = folder / "labels.csv"
    table.write_text(text, encoding="utf-8")
    return table


GOOD = """path,label,patient,split
a.nii.gz,ill,p1,train
b.nii.gz,well,p2,train
c.nii.gz,ill,p3,val
d.nii.gz,well,p4,val
"""


def test_a_table(tmp_path: Path) -> None:
    found = list_labelled(write_table(tmp_path, GOOD))
    check_trainable(found)
    assert found.classes == ("ill", "well")
    assert [(item.name, item.label, item.patient, item.split) for item in found.items] == [
        ("a", 0, "p1", "train"), ("b", 1, "p2", "train"), ("c", 0, "p3", "val"), ("d", 1, "p4", "val"),
    ]  # fmt: skip


def test_a_table_with_semicolons_and_other_column_names(tmp_path: Path) -> None:
    found = list_labelled(write_table(tmp_path, "\ufeffVolume;Class\na.nii.gz;x\nb.nii.gz;y\n"))
    assert [item.split for item in found.items] == ["", ""]
    assert found.classes == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,ill\n", "no column 'path'"),
        ("path,patient\na.nii.gz,1\n", "no column 'label'"),
        ("path,label\n", "no rows"),
        ("path,label\na.nii.gz,ill\nb.nii.gz,\n", r"Row 3 .*labels.csv.*b\.nii\.gz.*no label"),
        ("path,label\na.nii.gz,ill\nz.nii.gz,well\n", r"Row 3 .*'z\.nii\.gz'.*not there"),
        ("path,label\na.nii.gz,ill\na.nii.gz,well\n", "Rows 2 and 3"),
        ("path,label\n,ill\n", "Row 2 .*names no file"),
        ("path,label,split\na.nii.gz,ill,holdout\n", "split 'holdout'"),
        ("path,label,segment\na.nii.gz,ill,liver\n", "segment 'liver'"),
        ("path,label,label\na.nii.gz,ill,x\n", "'label' twice"),
    ],
)
def test_wrong_tables_name_the_row_and_the_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        list_labelled(write_table(tmp_path, text))
    assert caught.value.remedy


def test_a_label_that_the_model_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Row 3 .*'well'.*no class of the model"):
        list_labelled(write_table(tmp_path, GOOD), ["ill", "healthy"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.nii.gz,ill\nb.nii.gz,ill\n", "one class, 'ill'"),
        ("path,label\na.nii.gz,ill\nb.nii.gz,ill\nc.nii.gz,well\n", "'well' has one case"),
        (GOOD.replace("d.nii.gz,well,p4,val", "d.nii.gz,well,p4,train"), "'well' has no validation case"),
        (GOOD.replace("b.nii.gz,well,p2,train", "b.nii.gz,ill,p2,train"), "'well' has no training case"),
    ],
)
def test_what_cannot_be_learned_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        check_trainable(list_labelled(write_table(tmp_path, text)))


def test_folders_per_class_and_per_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("ill", "well"):
            write_images(tmp_path / split / name, [f"{split}1.png", f"{split}2.png"], (8, 9))
    found = list_labelled(tmp_path)
    check_trainable(found)
    assert found.classes == ("ill", "well")
    assert len(found.part("train")) == len(found.part("val")) == 4
    plain = list_labelled(tmp_path / "train")
    assert [item.split for item in plain.items] == [""] * 4


def test_folders_that_are_wrong(tmp_path: Path) -> None:
    write_images(tmp_path / "ill", ["a.png"], (8, 9))
    (tmp_path / "well").mkdir()
    with pytest.raises(DatasetError, match=r"'well' .*no image"):
        list_labelled(tmp_path)
    write_images(tmp_path, ["loose.png"], (8, 9))
    with pytest.raises(DatasetError, match=r"loose\.png"):
        list_labelled(tmp_path)


def save_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def some(n: int, *size: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 255, (n, *size)).astype(np.uint8)


def test_an_archive_as_medmnist_s_without_test_split(tmp_path: Path) -> None:
    file = save_npz(
        tmp_path / "x.npz", train_images=some(6, 9, 8), train_labels=np.array([[0], [1]] * 3),
        val_images=some(4, 9, 8), val_labels=np.array([0, 1, 0, 1]),
    )  # fmt: skip
    found = list_labelled(file, ["ill", "well"])
    check_trainable(found)
    assert (len(found.part("train")), len(found.part("val")), len(found.part("test"))) == (6, 4, 0)
    assert [item.label for item in found.part("val")] == [0, 1, 0, 1]


def test_colour_pictures_become_grey(tmp_path: Path) -> None:
    images = some(4, 8, 9, 3)
    file = save_npz(tmp_path / "x.npz", train_images=images, train_labels=np.array([0, 1, 0, 1]))
    grey = list_labelled(file).arrays["train"]
    assert grey.shape == (4, 8, 9)
    np.testing.assert_allclose(grey[0], images[0] @ [0.299, 0.587, 0.114], rtol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_images": some(3, 8, 8)}, "without train_labels"),
        ({"images": some(3, 8, 8)}, "none of train_images"),
        ({"train_images": some(3, 8, 8), "train_labels": np.array([0, 1])}, "3 train_images and 2"),
        ({"train_images": some(3, 8, 8), "train_labels": np.array([0, np.nan, 1])}, "Row 1 of train_labels"),
        ({"train_images": some(3, 8, 8), "train_labels": np.array([0, -1, 1])}, "Row 1 of train_labels"),
        ({"train_images": some(3, 8, 8), "train_labels": np.zeros((3, 5), int)}, "5 labels per image"),
        ({"train_images": some(3, 8, 8), "train_labels": np.array([0, 5, 1])}, "label 5; there are 2 classes"),
        ({"train_images": some(3, 8), "train_labels": np.array([0, 1, 1])}, "wrong dimensions"),
    ],
)
def test_wrong_archives(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list_labelled(save_npz(tmp_path / "x.npz", **arrays), ["a", "b"])


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(DatasetError, match=r"x\.npz"):
        list_labelled(tmp_path / "x.npz")
    (tmp_path / "x.xlsx").write_bytes(b"x")
    with pytest.raises(DatasetError, match="no data set"):
        list_labelled(tmp_path / "x.xlsx")
    with pytest.raises(DatasetError, match="no data set"):
        list_labelled(tmp_path / "missing")


def framing(patch: tuple[int, int, int], method: str = "resize") -> Framing:
    return Framing((InputSpec("image"),), (1.0, 1.0, 1.0), patch, FramingSpec(method))  # type: ignore[arg-type]


def test_framing_a_data_set_is_kept_and_taken_again(tmp_path: Path) -> None:
    found = list_labelled(write_table(tmp_path, GOOD))
    first = frame_dataset(found, framing((4, 5, 6)), tmp_path / "cache")
    assert first.inputs.shape == (4, 1, 4, 5, 6)
    assert first.labels.tolist() == [0, 1, 0, 1]
    changed = (tmp_path / "cache" / "inputs.npy").stat().st_mtime_ns
    again = frame_dataset(found, framing((4, 5, 6)), tmp_path / "cache")
    np.testing.assert_array_equal(again.inputs, first.inputs)
    assert (tmp_path / "cache" / "inputs.npy").stat().st_mtime_ns == changed
    assert frame_dataset(found, framing((5, 5, 5)), tmp_path / "cache").inputs.shape == (4, 1, 5, 5, 5)


def test_pictures_for_a_network_of_volumes_and_the_other_way_round(tmp_path: Path) -> None:
    write_images(tmp_path / "ill", ["a.png"], (8, 9))
    write_images(tmp_path / "well", ["b.png"], (8, 9))
    with pytest.raises(DatasetError, match=r"'a' .*single slice"):
        frame_dataset(list_labelled(tmp_path), framing((8, 8, 8)), tmp_path / "cache")
    volumes = tmp_path / "volumes"
    write_table(volumes, GOOD)
    with pytest.raises(DatasetError, match="single images"):
        frame_dataset(list_labelled(volumes / "labels.csv"), framing((1, 8, 8)), tmp_path / "cache2")


def test_folds_keep_classes_and_patients_together() -> None:
    rng = np.random.default_rng(0)
    patients = [f"p{n}" for n in rng.integers(0, 40, 120)]
    labels = [int(patient[1:]) % 4 == 0 for patient in patients]
    folds = stratified_folds(labels, patients, 5, seed=3)
    assert sorted(n for fold in folds for n in fold) == list(range(120))
    owners = [{patients[n] for n in fold} for fold in folds]
    assert not any(a & b for i, a in enumerate(owners) for b in owners[i + 1 :])
    shares = [np.mean([labels[n] for n in fold]) for fold in folds]
    assert max(shares) - min(shares) < 0.15
    assert folds == stratified_folds(labels, patients, 5, seed=3)
    assert folds != stratified_folds(labels, patients, 5, seed=4)
