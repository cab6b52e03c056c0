"""``medai click``, ``click-benchmark`` and ``train-click`` on phantoms, without a model: grow-cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.click.phantoms import dice, phantom, point

from medai.click import ClickSession
from medai.image import Image
from medai.imageio import read_label_map, write_image


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with image.nrrd and labels.nrrd."""
    folder = tmp_path_factory.mktemp("click")
    image, first, second = phantom()
    labels = np.zeros(image.shape, np.uint8)
    labels[first], labels[second] = 1, 4
    write_image(folder / "image.nrrd", image)
    write_image(folder / "labels.nrrd", Image(labels[None], image.ijk_to_ras))
    return folder


def place(kji: tuple[int, int, int]) -> str:
    return ",".join(f"{c:.3f}" for c in point(phantom()[0], kji).points_ras[0])


def test_click(medai: Any, scene: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.seg.nrrd"
    run = medai(
        "click", scene / "image.nrrd", "--point", place((13, 30, 28)), "--negative", place((13, 30, 46)),
        "--model", "grow-cut", "--output", output, "--json",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    image, first, _ = phantom()
    found, scheme = read_label_map(output)
    assert dice(found.channel(0), first) > 0.8
    assert scheme is not None
    assert run.data["engine"] == "grow-cut"
    assert run.data["voxels"] == np.count_nonzero(found.array)
    assert run.data["volume_ml"] == pytest.approx(run.data["voxels"] * image.voxel_volume_ml, rel=1e-3)
    assert run.data["seconds_open"] > 0
    assert run.data["seconds_click"] > 0


def test_prompts_act_in_the_order_in_which_they_are_given(medai: Any, scene: Path, tmp_path: Path) -> None:
    """The same prompts in a session give the same voxels."""
    places = [((13, 30, 28), True), ((13, 30, 46), False), ((13, 40, 58), True)]
    options = [o for kji, positive in places for o in ("--point" if positive else "--negative", place(kji))]
    output = tmp_path / "o.nii.gz"
    run = medai("click", scene / "image.nrrd", *options, "--model", "grow-cut", "--output", output, "--json")
    assert run.code == 0, run.stderr
    image = phantom()[0]
    session = ClickSession.open(image)
    for kji, positive in places:
        session.prompt(point(image, kji, positive))
    found = read_label_map(output)[0].channel(0)
    assert dice(found, session.mask) > 0.99  # the text of a place has three decimals


def test_going_on_from_a_segment(medai: Any, scene: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.nrrd"
    run = medai(
        "click", scene / "image.nrrd", "--point", place((13, 40, 58)), "--previous", scene / "labels.nrrd",
        "--model", "grow-cut", "--output", output, "--json",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    assert read_label_map(output)[0].array[0, 13, 40, 58] == 1


def test_benchmark(medai: Any, scene: Path) -> None:
    run = medai(
        "click-benchmark", scene / "image.nrrd", scene / "labels.nrrd", "--clicks", "3", "--model", "grow-cut", "--json"
    )
    assert run.code == 0, run.stderr
    assert [entry["label"] for entry in run.data["objects"]] == [1, 4]
    assert set(run.data["mean"]) == {"dice", "nsd2mm", "dice_auc5", "clicks_to", "seconds_median", "seconds_p95"}
    assert run.data["mean"]["dice"]["3"] > 0.8


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 2, "Give at least one --point or --box"),
        (["--point", "1,2"], 2, "not three numbers"),
        (["--point", "1,nan,2"], 2, "not three numbers"),
        (["--point", "900,900,900"], 1, "outside of image"),
        (["--point", "@", "--negative", "@"], 1, "lies on a positive one"),
    ],
)
def test_bad_prompts(medai: Any, scene: Path, tmp_path: Path, options: list[str], code: int, text: str) -> None:
    options = [place((13, 30, 28)) if option == "@" else option for option in options]
    output = tmp_path / "o.nrrd"
    run = medai("click", scene / "image.nrrd", *options, "--model", "grow-cut", "--output", output, "--json")
    assert run.code == code
    assert text in run.stderr
    assert not output.exists()
