"""A small model that was really fitted, an image that it can segment, and the command line in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import ARGUMENTS, make_card, phantom

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
    """Weights of a small U-Net after a short fit on seeded phantoms; it finds the balls, a random one does not."""
    import torch

    from medai.networks import build_network

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads gain nothing on arrays this small
    network = build_network("unet", ARGUMENTS)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    cases = [phantom(seed, (16, 20, 28), radius_mm=5.0) for seed in range(3)]
    weight = torch.tensor([1.0, 3.0, 3.0])
    for step in range(40):
        image, labels = cases[step % len(cases)]
        x = torch.from_numpy((image.array.clip(0, 500) - 200) / 100)[None]  # as the card's ct_window
        y = torch.from_numpy(labels.astype(np.int64))[None]
        loss = torch.nn.functional.cross_entropy(network(x), y, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    torch.set_num_threads(threads)
    return dict(network.state_dict())


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
