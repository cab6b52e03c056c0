"""``medai plan``: the plan of a data set that was not prepared, as JSON and as a table; wrong options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration.cli.phantoms import phantom

from medai.imageio import write_image


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "phantoms"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        image, labels = phantom(number, (18, 26, 30))
        write_image(folder / "images" / f"case{number}.nii.gz", image)
        write_image(folder / "labels" / f"case{number}.nii.gz", image.with_array(labels))
    return folder


def test_the_plan_of_a_data_set(medai: Any, dataset: Path) -> None:
    options = ("--preset", "quick", "--device", "cpu", "--width", "8", "--spacing", "2,2,2", "--crop", "none",
               "--normalization", "percentile", "--blocks", "multiscale_attention", "--loss", "focal")  # fmt: skip
    run = medai("plan", dataset, *options, "--json")
    assert run.code == 0, run.stderr
    assert run.data["spacing_mm"] == [2.0, 2.0, 2.0]
    assert run.data["normalization"] == ["percentile"]
    assert run.data["blocks"] == "multiscale_attention"
    assert run.data["loss"] == "focal"
    assert run.data["cases"] == 3
    assert run.data["expected_memory_mb"] > 0
    assert run.data["expected_minutes"] > 0
    assert not list(dataset.parent.glob("**/dataset.json")), "nothing is written"
    shown = medai("plan", dataset, *options)
    assert shown.code == 0
    assert "multiscale_attention" in shown.stdout


def test_wrong_options(medai: Any, dataset: Path) -> None:
    for options, named in (
        (("--patch", "32,48"), "three numbers"),
        (("--spacing", "1,0,1"), "three numbers"),
        (("--augmentation", "noise"), "NAME=VALUE"),
        (("--blocks", "magic"), "magic"),
        (("--max-minutes", "0"), "not a time"),
    ):
        run = medai("plan", dataset, *options, "--json")
        assert run.code == 2, options
        assert named in run.stderr
    assert medai("plan", dataset, "--freeze-encoder", "--json").data["error"]["code"] == "config"
    assert medai("plan", dataset / "none", "--json").data["error"]["code"] == "dataset"
