"""`medai train`, `evaluate` and `classify` for classification, from a data set to an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from medai.models import open_model


def squares(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 20 x 20 of noise, of class 1 with a bright square in the middle."""
    rng = np.random.default_rng(seed)
    images = rng.normal(80, 15, (n, 20, 20))
    labels = (np.arange(n) % 3 == 0).astype(int)
    images[labels == 1, 6:14, 6:14] += 70
    return images.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "squares.npz"
    parts = {"train": squares(90, 0), "val": squares(45, 1)}
    np.savez(path, **{f"{s}_{w}": a for s, part in parts.items() for w, a in zip(("images", "labels"), part)})  # noqa: B905
    return path


@pytest.fixture(scope="module")
def model(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from medai.cli.app import run

    output = tmp_path_factory.mktemp("model") / "squares.medai"
    code = run(
        ["train", str(archive), "--task", "classification", "--output", str(output), "--network", "seed_cnn_any",
         "--epochs", "6", "--batch-size", "15", "--folds", "2", "--device", "cpu", "--json"]
    )  # fmt: skip
    assert code == 0
    return output


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    images, _ = squares(2, 5)
    grey = sitk.GetImageFromArray(images[0])
    sitk.WriteImage(grey, str(folder / "square.png"))
    sitk.WriteImage(sitk.JoinSeries(grey), str(folder / "square.nii.gz"))
    sitk.WriteImage(sitk.Compose(grey, grey, grey), str(folder / "colour.png"))
    sitk.WriteImage(sitk.GetImageFromArray(np.kron(images[0], np.ones((7, 7), np.uint8))), str(folder / "large.png"))
    return folder


def test_the_package_holds_all_that_is_needed(model: Path) -> None:
    card = open_model(model).card
    assert card.task == "classify"
    assert [spec.name for spec in card.classes] == ["class 0", "class 1"]
    assert len(card.weights) == 2
    assert card.anomaly is not None
    assert card.calibration is not None
    assert 0 < card.calibration.thresholds["class 1"] < 1
    assert card.training.metrics["validation"]["auc"] > 0.95


def test_evaluate_gives_the_agreed_keys_on_the_validation_split(medai: Any, model: Path, archive: Path) -> None:
    done = medai("evaluate", "--task", "classification", "--model", model, archive, "--json")
    assert done.code == 0
    wanted = {"n", "auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1", "brier", "ece",
              "confusion"}  # fmt: skip
    assert wanted <= set(done.data)
    assert done.data["n"] == 45
    assert done.data["split"] == "val"
    assert done.data["auc"]["value"] > 0.95
    low, high = done.data["accuracy"]["ci95"]
    assert low <= done.data["accuracy"]["value"] <= high
    assert np.sum(done.data["confusion"]) == 45


def test_the_test_split_goes_first(medai: Any, model: Path, tmp_path: Path) -> None:
    images, labels = squares(9, 7)
    np.savez(tmp_path / "t.npz", test_images=images, test_labels=labels, val_images=images[:3], val_labels=labels[:3])
    done = medai("evaluate", "--task", "classification", "--model", model, tmp_path / "t.npz", "--json")
    assert (done.data["n"], done.data["split"]) == (9, "test")


def test_training_cases_alone_are_not_evaluated(medai: Any, model: Path, tmp_path: Path) -> None:
    images, labels = squares(9, 7)
    np.savez(tmp_path / "t.npz", train_images=images, train_labels=labels)
    done = medai("evaluate", "--task", "classification", "--model", model, tmp_path / "t.npz", "--json")
    assert done.code == 1
    assert "training cases only" in done.data["error"]["message"]


def test_classify_a_picture_in_every_form(medai: Any, model: Path, pictures: Path) -> None:
    answers = {}
    for name in ("square.png", "square.nii.gz", "colour.png", "large.png"):
        done = medai("classify", pictures / name, "--model", model, "--json")
        assert done.code == 0
        answers[name] = done.data
        assert done.data["predicted"] == "class 1"
        assert set(done.data["anomaly"]) == {"score", "threshold", "flag"}
        assert isinstance(done.data["warnings"], list)
    first = answers["square.png"]["classes"]
    assert sum(first.values()) == pytest.approx(1.0)
    assert answers["square.nii.gz"]["classes"] == pytest.approx(first, abs=1e-4)
    assert answers["colour.png"]["classes"] == pytest.approx(first, abs=0.02)


def test_several_inputs_and_a_region(medai: Any, model: Path, pictures: Path) -> None:
    done = medai("classify", pictures / "square.png", pictures / "large.png", "--model", model, "--json")
    assert [item["name"] for item in done.data["items"]] == ["square", "large"]
    part = medai("classify", pictures / "square.nii.gz", "--model", model, "--roi=-20,0,-20,0,-1,1", "--json")
    assert part.data["items"][0]["name"] == "ROI 1"


def test_a_heat_map_is_written_on_the_image_s_grid(medai: Any, model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "heat.nrrd"
    done = medai("classify", pictures / "square.nii.gz", "--model", model, "--heatmap", out, "--json")
    assert done.code == 0
    heat, image = sitk.ReadImage(str(out)), sitk.ReadImage(str(pictures / "square.nii.gz"))
    assert heat.GetSize() == image.GetSize()
    assert heat.GetOrigin() == pytest.approx(image.GetOrigin())
    assert 0 < sitk.GetArrayFromImage(heat).max() <= 1


def test_errors_for_a_person(medai: Any, model: Path, pictures: Path, archive: Path, tmp_path: Path) -> None:
    missing = medai("classify", tmp_path / "no.png", "--model", model, "--json")
    assert (missing.code, missing.data["error"]["code"]) == (1, "file")
    both = medai(
        "classify", pictures / "square.png", "--model", model, "--roi=0,5,0,5,0,5", "--segments", "x", "--json"
    )
    assert both.code == 2
    wrong = medai("evaluate", "--task", "classification", "--model", "hippocampus-mr", archive, "--json")
    assert "is for 'segment'" in wrong.data["error"]["message"]
    unknown = medai("train", archive, "--task", "classification", "--output", tmp_path / "m.medai", "--network", "unet",
                    "--json")  # fmt: skip
    assert "no network for classification" in unknown.data["error"]["message"]
    images, _ = squares(9, 7)
    np.savez(tmp_path / "one.npz", train_images=images, train_labels=np.zeros(9, int))
    one = medai("train", tmp_path / "one.npz", "--task", "classification", "--output", tmp_path / "m.medai", "--json")
    assert (one.code, one.data["error"]["code"]) == (1, "dataset")
    assert "one class" in one.data["error"]["message"]
    assert not (tmp_path / "m.medai").exists()


def test_fine_tuning_and_the_options_of_training(
    model: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the trained model, its convolutions frozen: they stay, its input and framing are taken over."""
    from medai.cli.app import run

    output = tmp_path / "again.medai"
    common = ["train", str(archive), "--task", "classification", "--device", "cpu", "--json", "--steps", "3"]
    tuned = ["--finetune-from", str(model), "--freeze-encoder", "--rotation", "5", "--augmentation", "noise=0.5",
             "--optimizer", "sgd", "--momentum", "0.8"]  # fmt: skip
    assert run([*common, "--output", str(output), *tuned]) == 0
    old, new = open_model(model), open_model(output)
    assert new.card.parents == (f"{old.card.id} 1.0.0",)
    assert (new.card.patch, new.card.framing, new.card.inputs) == (old.card.patch, old.card.framing, old.card.inputs)
    before, after = old.weights(0), new.weights(0)
    assert all(np.array_equal(before[name], after[name]) for name in before if not name.startswith("fc."))
    assert not np.array_equal(before["fc.weight"], after["fc.weight"])
    for wrong, named in (
        (["--finetune-from", "hippocampus-mr"], "is for segmentation"),
        (["--blocks", "residual"], "blocks is of segmentation"),
        (["--loss", "dice"], "cross entropy"),
        (["--finetune-from", str(model), "--patch", "1,28,28"], "was trained with"),
    ):
        capsys.readouterr()
        assert run([*common, "--output", str(tmp_path / "m.medai"), *wrong]) == 1
        assert named in capsys.readouterr().out
