"""``python -m medai.demo``: what it refuses and, with the shipped model, what it finds in the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medai.demo.command import MODEL_ID, main
from medai.image import Image
from medai.imageio import read_label_map, write_image
from medai.models import shipped_folder


@pytest.fixture
def shipped_model() -> None:
    """Skips the test where the checkout has no trained model."""
    if not (shipped_folder() / MODEL_ID / "model.json").is_file():
        pytest.skip(f"the model {MODEL_ID} is not in this checkout")


def test_a_missing_head_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--input", str(tmp_path / "none.nii.gz"), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "none.nii.gz" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--output", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--speed", "9"])
    assert error.value.code == 2


@pytest.mark.usefixtures("shipped_model")
def test_what_is_no_head_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nilearn")
    voxels = np.random.default_rng(0).normal(100, 20, (1, 26, 28, 24)).astype(np.float32)
    write_image(tmp_path / "static.nrrd", Image(voxels, np.diag([6.0, 6.0, 6.0, 1.0])))
    assert main(["--input", str(tmp_path / "static.nrrd"), "--output", str(tmp_path / "out")]) == 1
    assert "could not be located" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("shipped_model")
def test_both_hippocampi_of_the_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nilearn")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    monkeypatch.setattr("medai.demo.command._REAL_HEAD", tmp_path / "none")
    assert main(["--output", str(tmp_path), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "152 people" in " ".join(printed.split())
    assert "Left hippocampus, whole" in printed

    label_map, scheme = read_label_map(tmp_path / "hippocampus.seg.nrrd")
    assert scheme is not None
    assert (tmp_path / "hippocampus.mrb").stat().st_size > 100_000
    volumes = {}
    for label in scheme:
        inside = np.argwhere(label_map.channel(0) == label.value)[:, ::-1]
        center = (label_map.ijk_to_ras @ np.array([*inside.mean(axis=0), 1.0]))[:3]
        assert center[0] * (-1 if label.name.startswith("Left") else 1) > 15, "left is at negative R"
        assert np.linalg.norm(center - (np.sign(center[0]) * 25.5, -22, -11)) < 20
        volumes[label.name] = len(inside) * label_map.voxel_volume_ml
    left = sum(ml for name, ml in volumes.items() if name.startswith("Left"))
    right = sum(ml for name, ml in volumes.items() if name.startswith("Right"))
    assert 3.0 < left < 6.0
    assert right == pytest.approx(left, rel=0.1)  # this template is symmetric
