"""Every example of docs/command-line.md is run as it stands there, on phantoms with the files' names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import make_card, phantom

from medai.config.model_card import LabelSpec
from medai.imageio import write_image
from medai.models import write_package

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "command-line.md"
# Real training takes too long for these tests (test_train.py does it); its options are checked here.
NOT_RUN = ("medai train",)


def examples() -> list[str]:
    """The commands in the document's code blocks, in their order."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("medai ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitted_weights: dict[str, Any], model_path: Path) -> Path:
    """A working folder with the files that the document names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medai.models.library.user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr("medai.models.library.shipped_folder", lambda: tmp_path / "shipped")
    colors = ((0.9, 0.8, 0.2), (0.3, 0.7, 0.9))
    names = ("Anterior hippocampus", "Posterior hippocampus")
    labels = tuple(LabelSpec(n + 1, name, color) for n, (name, color) in enumerate(zip(names, colors, strict=True)))
    (tmp_path / "shipped").mkdir()
    write_package(
        tmp_path / "shipped" / "hippocampus-mr", make_card(id="hippocampus-mr", labels=labels), [fitted_weights]
    )
    (tmp_path / "balls.medai").write_bytes(model_path.read_bytes())

    image, truth = phantom()
    matrix = np.eye(4)
    matrix[:3, 3] = (-45, -35, -25)  # where the ROI of the example is
    write_image(tmp_path / "head.nii.gz", type(image)(image.array, matrix, "head", "MR"))
    write_image(tmp_path / "reference.nrrd", type(image)(truth[None], matrix))
    for name in ("labels", "predictions", "dataset/images", "dataset/labels"):
        (tmp_path / name).mkdir(parents=True)
        for case in ("a", "b"):
            other, labels_of_case = phantom(ord(case), (18, 26, 30))
            array = other.array if name.endswith("images") else labels_of_case[None]
            write_image(tmp_path / name / f"{case}.nii.gz", other.with_array(array))
    return tmp_path


def test_the_examples_of_the_document_work(medai: Any, folder: Path) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from medai.imageio import write_label_map
    from medai.imageio.reading import read_image
    from medai.labels import unnamed_scheme

    truth = read_image(folder / "reference.nrrd")
    write_label_map(folder / "reference.seg.nrrd", truth, unnamed_scheme((1, 2)))
    commands = examples()
    assert len(commands) >= 12
    for command in commands:
        if command.startswith(NOT_RUN):
            continue
        run = medai(*shlex.split(command)[1:])
        assert run.code == 0, f"{command}: {run.stderr}"
    assert (folder / "head.seg.nrrd").is_file()
    assert (folder / "left.mrb").is_file()
    assert (folder / "cache" / "dataset.json").is_file()


def test_the_training_examples_have_known_options(medai: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They get as far as the missing data set: exit code 1, not 2."""
    monkeypatch.chdir(tmp_path)
    commands = [command for command in examples() if command.startswith(NOT_RUN)]
    assert commands
    for command in commands:
        run = medai(*shlex.split(command)[1:])
        assert run.code == 1, run.stderr
        assert "There is no data set" in run.stderr
