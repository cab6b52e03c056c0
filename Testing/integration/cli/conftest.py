"""A small model that was really fitted, an image that it can segment, and the command line in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.cli.phantoms import fit, make_card, phantom

from medai.cli.app import run


@dataclass(frozen=True)
class Run:
    """What a call of the command line gave: exit code, the JSON object of the last line of stdout, and stderr."""

    code: int
    data: dict[str, Any]
    stderr: str
    stdout: str


@pytest.fixture
def medai(capsys: pytest.CaptureFixture[str]) -> Any:
    """Call the command line in this process: ``medai("segment", path, "--json")``."""

    def call(*arguments: object) -> Run:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        data = json.loads(out.splitlines()[-1], parse_constant=_no_constant) if "--json" in arguments else {}
        return Run(code, data, err, out)

    return call


def _no_constant(text: str) -> None:
    raise AssertionError(f"{text} is not JSON")


@pytest.fixture(scope="session")
def fitted_weights() -> dict[str, Any]:
    """Weights of the small U-Net after its fit."""
    return fit()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory, fitted_weights: dict[str, Any]) -> Path:
    """The small model as a .medai file."""
    from medai.models import write_package

    path = tmp_path_factory.mktemp("model") / "balls.medai"
    write_package(path, make_card(), [fitted_weights])
    return path


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    """The phantom as a NIfTI file."""
    from medai.imageio import write_image

    path = tmp_path / "balls.nii.gz"
    write_image(path, phantom()[0])
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for outputs: what a failed run leaves in it is a defect."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
