"""``python -m medai.demo``: what it refuses and, with the shipped models, what it finds in the template."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medai import segment
from medai.config.label_rules import PlausibilitySpec, TotalSpec
from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec
from medai.config.segment import SegmentConfig
from medai.demo.brain import BRAIN_MODEL_ID, brain_picture, installed_brain_model
from medai.demo.command import MODEL_ID, main
from medai.demo.template import load_template
from medai.errors import InputError
from medai.image import Image
from medai.imageio import read_label_map, write_image
from medai.models import UNWRITTEN_WEIGHTS, shipped_folder, write_package
from medai.networks import build_network
from medai.render.opengl import has_opengl


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


def brain_package(folder: Path, **changes: Any) -> Path:
    """A package named brain-any whose network knows nothing."""
    arguments = {
        "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]],
        "kernel_sizes": [[3, 3, 3]] * 2, "blocks_per_stage": [1, 1],
    }  # fmt: skip
    torch.manual_seed(0)
    card = ModelCard(
        1, "brain-any", "1", "Brain", "segment", NetworkSpec("unet", arguments), UNWRITTEN_WEIGHTS, (InputSpec("MR"),),
        "Apache-2.0", (6.0, 6.0, 6.0), (16, 16, 16),
        labels=(LabelSpec(10, "Left-Thalamus", (0, 0.5, 0)), LabelSpec(49, "Right-Thalamus", (0, 0.5, 0.1))),
        totals=(TotalSpec("Thalami"),), **changes,
    )  # fmt: skip
    write_package(folder / "brain-any", card, [build_network("unet", arguments).state_dict()])
    return folder / "brain-any"


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A volume in which nothing can be located."""
    voxels = np.random.default_rng(0).normal(100, 20, (1, 26, 28, 24)).astype(np.float32)
    write_image(tmp_path / "static.nrrd", Image(voxels, np.diag([6.0, 6.0, 6.0, 1.0])))
    return tmp_path / "static.nrrd"


def test_the_brain_is_segmented_where_its_model_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medai.models.library.user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr("medai.models.library.shipped_folder", lambda: tmp_path / "shipped")
    assert installed_brain_model() is None
    (tmp_path / "shipped").mkdir()
    brain_package(tmp_path / "shipped")
    found = installed_brain_model()
    assert found is not None
    assert found.card.id == "brain-any"


@pytest.mark.usefixtures("shipped_model")
def test_the_brain_is_kept_where_the_hippocampi_are_not_located(
    tmp_path: Path, noise: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nilearn")
    pytest.importorskip("slicer", reason="slicer-core is not installed")

    def lost(*_: Any) -> None:
        raise InputError("The hippocampi could not be located.")

    monkeypatch.setattr("medai.demo.command.match_template", lost)  # takes long; the next test does it
    out = tmp_path / "out"
    model = brain_package(tmp_path)
    assert main(["--input", str(noise), "--output", str(out), "--brain-model", str(model), "--device", "cpu"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "could not be located" in printed
    assert "Left-Thalamus" in printed
    label_map, scheme = read_label_map(out / "brain.seg.nrrd")
    assert scheme is not None
    assert label_map.shape == (26, 28, 24)
    with (out / "brain-volumes.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["structure"]: int(row["voxels"]) for row in csv.DictReader(stream)}
    assert rows["Left-Thalamus"] == int((label_map.channel(0) == scheme.by_name("Left-Thalamus").value).sum())
    assert rows["Thalami"] == int((label_map.channel(0) != 0).sum())
    assert not (out / "hippocampus.seg.nrrd").exists()


@pytest.mark.usefixtures("shipped_model")
def test_what_neither_model_knows_is_refused(tmp_path: Path, noise: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nilearn")
    model = brain_package(tmp_path, plausibility=PlausibilitySpec({"Thalami": (0.001, 0.002)}))
    out = tmp_path / "out"
    assert main(["--input", str(noise), "--output", str(out), "--brain-model", str(model), "--device", "cpu"]) == 1
    assert "could not be located" in capsys.readouterr().err
    assert not out.exists()


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


@pytest.mark.slow
def test_the_brain_of_the_template(tmp_path: Path) -> None:
    """With the shipped brain model: all structures, on their sides, alike on both, and no warning but the demo's."""
    pytest.importorskip("nilearn")
    if not (shipped_folder() / BRAIN_MODEL_ID / "model.json").is_file():
        pytest.skip(f"the model {BRAIN_MODEL_ID} is not in this checkout")
    template = load_template()
    package = installed_brain_model()
    assert package is not None
    result = segment.run(SegmentConfig("cpu"), [template], segment.load_model(package, "cpu"))
    assert not result.unlike
    volumes = {row.name: row for row in result.volumes}
    assert 1400 < volumes["Intracranial volume"].volume_ml < 2300  # the template is larger than most heads
    assert not [row.name for row in result.volumes if row.voxels == 0]
    for name in ("Thalamus", "Putamen", "Hippocampus", "Cerebral-White-Matter", "Cerebellum-Cortex"):
        left, right = volumes[f"Left-{name}"], volumes[f"Right-{name}"]
        assert right.volume_ml == pytest.approx(left.volume_ml, rel=0.1)
        for row, sign in ((left, -1), (right, 1)):
            assert row.value is not None
            box = result.extents[row.value].box
            middle = [(side.start + side.stop - 1) / 2 for side in box[::-1]]
            assert sign * (result.label_map.ijk_to_ras @ np.array([*middle, 1.0]))[0] > 5, "left is at negative R"
    picture = tmp_path / "brain.png"
    if has_opengl()[0]:
        brain_picture(template, result, picture)
        assert picture.stat().st_size > 50_000
