from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_phantoms import write_cache, write_dataset

from medai.dataset.prepare import prepare
from medai.dataset.split import SPLITS_NAME, Split, read_splits, split_by_patient, split_for, write_splits
from medai.errors import DatasetError


def put_splits(folder: Path, data) -> None:
    (folder / SPLITS_NAME).write_text(json.dumps(data), encoding="utf-8")


def test_a_cache_has_folds_by_patient_that_every_training_uses(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 6)
    (data / "dataset.json").write_text(json.dumps({"patients": {"case0": "A", "case1": "A"}}), encoding="utf-8")
    cache = prepare(data, tmp_path / "cache", folds=3, split_seed=4)
    stored = read_splits(cache.root)
    assert stored is not None
    assert (stored.source, stored.seed, len(stored.folds)) == ("drawn", 4, 3)
    assert sorted(name for split in stored.folds for name in split.validation) == [f"case{n}" for n in range(6)]
    assert all(("case0" in split.training) == ("case1" in split.training) for split in stored.folds)
    for seed in (0, 1):  # the seed of a training starts its weights, it does not change what is held back
        assert [split_for(cache, 3, n, 0.2, seed) for n in range(3)] == list(stored.folds)
        assert split_for(cache, 1, 0, 0.2, seed) == stored.folds[0]
    # Another number of folds, or another part, is drawn with the training's seed.
    assert split_for(cache, 2, 1, 0.2, 7) == split_by_patient(cache.card.cases, 2, 1, 0.2, 7)
    assert split_for(cache, 1, 0, 0.5, 7) == split_by_patient(cache.card.cases, 1, 0, 0.5, 7)


def test_fewer_patients_give_fewer_folds_and_one_gives_none(tmp_path: Path) -> None:
    few = prepare(write_dataset(tmp_path / "few", 3), tmp_path / "few cache")
    assert len(read_splits(few.root).folds) == 3  # type: ignore[union-attr]
    one = prepare(write_dataset(tmp_path / "one", 1), tmp_path / "one cache")
    assert read_splits(one.root) is None
    assert any("one case only" in warning for warning in one.card.warnings)
    with pytest.raises(DatasetError, match="1 patients"):
        split_for(one, 1, 0, 0.2, 0)


def test_a_persons_folds_are_kept_without_the_cases_that_were_left_out(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 4)
    (data / "images" / "case3.nii.gz").write_text("broken", encoding="utf-8")
    folds = [{"train": ["case0", "case1", "case3"], "val": ["case2"]}, {"train": ["case2"], "val": ["case0", "case3"]}]
    put_splits(data, folds)
    cache = prepare(data, tmp_path / "cache")
    assert split_for(cache, 2, 0, 0.2, 0) == Split(("case0", "case1"), ("case2",))
    assert split_for(cache, 1, 0, 0.5, 0) == Split(("case0", "case1"), ("case2",))
    assert split_for(cache, 2, 1, 0.2, 0) == Split(("case2",), ("case0",))
    with pytest.raises(DatasetError, match="2 folds of its own"):
        split_for(cache, 5, 0, 0.2, 0)


def test_folds_that_share_a_patient_are_refused_before_the_work(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3)
    (data / "dataset.json").write_text(json.dumps({"patients": {"case0": "A", "case2": "A"}}), encoding="utf-8")
    put_splits(data, [{"train": ["case0"], "val": ["case1", "case2"]}])
    with pytest.raises(DatasetError, match="trains and validates on the patient 'A'"):
        prepare(data, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"train": ["case0"], "val": ["case9"]}], "case9"),
        ([{"train": ["case0"], "val": []}], "validates on no case"),
        ([{"train": ["case0"]}], "not a list of folds"),
        ([{"train": "case0", "val": ["case1"]}], "not a list of folds"),
        ({"folds": None}, "not a list of folds"),
        ([], "no fold"),
    ],
)
def test_an_edited_cache_is_checked_each_time(tmp_path: Path, data, message) -> None:
    cache = write_cache(tmp_path, 4)
    put_splits(cache.root, data)
    with pytest.raises(DatasetError, match=message):
        split_for(cache, 1, 0, 0.2, 0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cache = write_cache(tmp_path, 4)
    assert split_for(cache, 1, 0, 0.2, 3) == split_by_patient(cache.card.cases, 1, 0, 0.2, 3)  # nothing is stored
    put_splits(cache.root, [{"train": ["case0", "case1"], "val": ["case3"]}])
    stored = read_splits(cache.root)
    assert stored is not None
    write_splits(cache.root, stored)
    assert read_splits(cache.root) == stored
