"""``medai prepare`` and ``medai train`` on a data set of phantoms, to a package that ``medai segment`` can use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import phantom

from medai.imageio import read_label_map, write_image
from medai.metrics import dice


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six phantoms in images/ and labels/, one image without labels."""
    folder = tmp_path / "phantoms"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(6):
        image, labels = phantom(number, (18, 26, 30))
        write_image(folder / "images" / f"case{number}.nii.gz", image)
        write_image(folder / "labels" / f"case{number}.nii.gz", image.with_array(labels))
    write_image(folder / "images" / "lonely.nii.gz", phantom(9, (18, 26, 30))[0])
    return folder


def test_prepare(medai: Any, dataset: Path, out: Path) -> None:
    run = medai("prepare", dataset, "--output", out / "cache", "--json")
    assert run.code == 0, run.stderr
    assert run.data["cases"] == 6
    assert [case["name"] for case in run.data["excluded"]] == ["lonely"]
    assert run.data["excluded"][0]["reason"]
    assert any("lonely" in warning for warning in run.data["warnings"])
    assert (out / "cache" / "dataset.json").is_file()
    run = medai("prepare", dataset, "--output", out / "cache", "--json")  # not twice into one folder
    assert run.code == 1
    assert run.data["error"]["code"] == "output"


def test_prepare_of_nothing(medai: Any, out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "none"):
        run = medai("prepare", path, "--output", out / "cache", "--json")
        assert run.code == 1
        assert run.data["error"]["code"] == "dataset"
        assert path.name in run.data["error"]["message"]
    assert not list(out.iterdir())


def test_train_refuses_early(medai: Any, dataset: Path, out: Path) -> None:
    arguments = ("--task", "segmentation", "--json")
    assert medai("train", dataset, *arguments, "--output", out / "m.pt").data["error"]["code"] == "output"
    assert medai("train", dataset, *arguments, "--output", "/proc/m.medai").data["error"]["code"] == "output"
    assert medai("train", out / "none", *arguments, "--output", out / "m.medai").data["error"]["code"] == "dataset"
    assert not list(out.iterdir())


@pytest.mark.slow
def test_train_and_use(medai: Any, dataset: Path, out: Path) -> None:
    model = out / "phantom-balls.medai"
    options = ("--preset", "quick", "--device", "cpu", "--max-minutes", "1", "--seed", "3")
    run = medai("train", dataset, "--task", "segmentation", "--output", model, *options, "--json")
    assert run.code == 0, run.stderr
    assert run.data["output"] == str(model)
    assert set(run.data["metrics"]) == {"label_1", "label_2"}
    assert 0 <= run.data["mean_dice"] <= 1
    assert run.data["steps"] > 0
    assert medai("models", "verify", model, "--json").code == 0

    image, labels = phantom(20, (18, 26, 30))
    write_image(out / "new.nii.gz", image)
    assert medai("segment", out / "new.nii.gz", "--model", model, "--output", out / "new.seg.nrrd", "--json").code == 0
    found, _ = read_label_map(out / "new.seg.nrrd")
    assert np.mean([dice(found.channel(0) == value, labels == value) for value in (1, 2)]) > 0.5
