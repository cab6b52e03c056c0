"""``medai models``, ``medai info`` and ``medai evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import phantom

from medai.imageio import write_image, write_label_map
from medai.labels import LabelScheme


@pytest.fixture
def user_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the user's models."""
    folder = tmp_path / "user" / "models"
    monkeypatch.setattr("medai.models.library.user_folder", lambda: folder)
    return folder


def listed(medai: Any) -> dict[str, str]:
    run = medai("models", "list", "--json")
    assert run.code == 0
    return {model["id"]: model["source"] for model in run.data["models"]}


def test_install_list_show_verify_use_remove(
    medai: Any, user_models: Path, model_path: Path, image_path: Path, out: Path
) -> None:
    assert "balls" not in listed(medai)
    run = medai("models", "install", model_path, "--json")
    assert run.code == 0, run.stderr
    assert (run.data["id"], run.data["version"], run.data["source"]) == ("balls", "1.0.0", "user")
    assert listed(medai)["balls"] == "user"

    run = medai("models", "show", "balls", "--json")
    assert run.data["card"]["labels"][0]["name"] == "bright ball"
    assert run.data["licence"] == "Apache-2.0"
    assert "dim ball" in medai("models", "show", "balls").stdout

    run = medai("models", "verify", "balls", "--json")
    assert run.code == 0
    assert run.data["verified"] == ["weights-0.safetensors"]
    assert medai("segment", image_path, "--model", "balls", "--output", out / "o.nrrd", "--json").code == 0

    assert medai("models", "remove", "balls", "--json").code == 0
    assert "balls" not in listed(medai)
    assert not [path for path in user_models.iterdir() if path.name.startswith("balls")]
    run = medai("models", "remove", "balls", "--json")
    assert run.code == 1
    assert run.data["error"]["code"] == "model"


def test_install_of_something_else_is_refused(medai: Any, user_models: Path, image_path: Path) -> None:
    for path in (image_path, image_path.parent / "none.medai"):
        run = medai("models", "install", path, "--json")
        assert run.code == 1
        assert run.data["error"]["code"] == "model"
        assert path.name in run.data["error"]["message"]
    assert not user_models.exists() or not list(user_models.iterdir())


def test_info_of_an_image_a_segmentation_and_a_model(
    medai: Any, image_path: Path, model_path: Path, tmp_path: Path, two_labels: LabelScheme
) -> None:
    run = medai("info", image_path, "--json")
    assert run.code == 0, run.stderr
    assert run.stdout.count("\n") == 1
    assert "40" in str(run.data)  # voxels along i
    assert medai("info", image_path).code == 0

    image, labels = phantom()
    write_label_map(tmp_path / "two.seg.nrrd", image.with_array(labels), two_labels)
    run = medai("info", tmp_path / "two.seg.nrrd", "--json")
    assert run.code == 0, run.stderr
    assert "spleen" in str(run.data)

    run = medai("info", model_path, "--json")
    assert run.data["id"] == "balls"


def test_info_of_a_file_that_is_none(medai: Any, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("text")
    for path in (tmp_path / "a.nii.gz", tmp_path / "missing.nrrd", tmp_path / "missing.medai"):
        run = medai("info", path, "--json")
        assert run.code == 1
        assert path.name in run.data["error"]["message"]


def test_evaluate_two_files(medai: Any, tmp_path: Path, two_labels: LabelScheme) -> None:
    image, labels = phantom()
    shifted = np.roll(labels, 1, axis=2)
    write_label_map(tmp_path / "r.seg.nrrd", image.with_array(labels), two_labels)
    write_label_map(tmp_path / "p.seg.nrrd", image.with_array(shifted), two_labels)
    run = medai("evaluate", "--reference", tmp_path / "r.seg.nrrd", "--prediction", tmp_path / "p.seg.nrrd", "--json")
    assert run.code == 0, run.stderr
    (case,) = run.data["cases"]
    assert set(case) == {"case", "labels"}
    assert set(case["labels"]) == {"liver", "spleen"}
    liver = case["labels"]["liver"]
    assert set(liver) == {"dice", "hd95_mm", "assd_mm", "nsd", "reference_ml", "prediction_ml"}
    both = ((labels == 1) & (shifted == 1)).sum()
    assert liver["dice"] == pytest.approx(2 * both / ((labels == 1).sum() + (shifted == 1).sum()))
    assert liver["hd95_mm"] == pytest.approx(1.0, abs=0.05)  # one voxel of 1 mm along i
    assert liver["reference_ml"] == pytest.approx((labels == 1).sum() * image.voxel_volume_ml)
    assert "mean" in run.data
    text = medai("evaluate", "--reference", tmp_path / "r.seg.nrrd", "--prediction", tmp_path / "p.seg.nrrd").stdout
    assert "liver" in text


def test_evaluate_folders_and_empty_labels(medai: Any, tmp_path: Path) -> None:
    image, labels = phantom()
    for folder, arrays in {"r": (labels, labels), "p": (labels, np.where(labels == 2, 0, labels))}.items():
        (tmp_path / folder).mkdir()
        for name, array in zip(("a", "b"), arrays, strict=True):
            write_image(tmp_path / folder / f"{name}.nii.gz", image.with_array(array.astype(np.uint8)))
    arguments = ("--reference", tmp_path / "r", "--prediction", tmp_path / "p", "--tolerance-mm", "2")
    run = medai("evaluate", *arguments, "--json")
    assert run.code == 0, run.stderr
    by_case = {case["case"]: case["labels"] for case in run.data["cases"]}
    assert by_case["a"]["1"]["dice"] == 1.0
    assert by_case["b"]["2"]["dice"] == 0.0
    assert by_case["b"]["2"]["hd95_mm"] is None  # infinity is not JSON
    assert medai("evaluate", *arguments).code == 0


def test_evaluate_other_grids_is_refused(medai: Any, tmp_path: Path) -> None:
    image, labels = phantom()
    write_image(tmp_path / "r.nrrd", image.with_array(labels))
    write_image(tmp_path / "p.nrrd", phantom(shape=(20, 34, 40))[0].with_array(labels[:20]))
    run = medai("evaluate", "--reference", tmp_path / "r.nrrd", "--prediction", tmp_path / "p.nrrd", "--json")
    assert run.code == 1
    assert run.data["error"]["code"] == "geometry"
