"""``medai segment`` on a phantom with a model that was really fitted: every output format, option and figure."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import make_card, phantom
from integration.cli.test_usage import ENVIRONMENT

from medai.cli.maps import file_names
from medai.config.label_rules import PlausibilitySpec, QualitySpec, TotalSpec
from medai.image import Image
from medai.imageio import read_image, read_label_map, write_image
from medai.labels import Label, LabelScheme
from medai.metrics import dice
from medai.models import write_package

SECONDS = {"load_model", "preprocess", "inference", "postprocess", "write"}


def found_in(path: Path) -> Image:
    """The label map of a file that was written, checked to lie on the phantom's grid."""
    label_map, _ = read_label_map(path)
    assert label_map.same_grid(phantom()[0], tolerance_voxels=0.01)
    return label_map


@pytest.mark.parametrize("name", ["o.seg.nrrd", "o.nii.gz", "o.nii", "o.nrrd", "o.mha"])
def test_every_format_has_the_balls_where_they_are(
    medai: Any, model_path: Path, image_path: Path, out: Path, name: str
) -> None:
    run = medai("segment", image_path, "--model", model_path, "--output", out / name, "--json")
    assert run.code == 0, run.stderr
    assert [path.name for path in out.iterdir()] == [name]
    labels = found_in(out / name).channel(0)
    truth = phantom()[1]
    for value in (1, 2):
        assert dice(labels == value, truth == value) > 0.85


def test_json_says_what_was_done(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    output = out / "o.nii.gz"
    run = medai("segment", image_path, "--model", model_path, "--output", output, "--json")
    assert set(run.data) == {
        "output", "labels", "totals", "unlike", "seconds", "peak_memory_mb", "engine", "precision", "warnings",
    }  # fmt: skip
    assert run.data["output"] == str(output)
    label_map = found_in(output)
    assert set(run.data["labels"]) == {"bright ball", "dim ball"}
    for name, value in (("bright ball", 1), ("dim ball", 2)):
        voxels = int((label_map.channel(0) == value).sum())
        volume_ml = pytest.approx(voxels * label_map.voxel_volume_ml)
        assert run.data["labels"][name] == {"value": value, "voxels": voxels, "volume_ml": volume_ml}
    assert set(run.data["seconds"]) == SECONDS
    assert all(seconds >= 0 for seconds in run.data["seconds"].values())
    assert run.data["seconds"]["inference"] > 0
    assert run.data["precision"] == "exact"
    assert run.data["engine"]
    assert run.data["warnings"] == []
    assert run.stdout.count("\n") == 1
    assert run.stderr == ""


def test_volumes_totals_and_quality_go_to_json_and_csv(
    medai: Any, fitted_weights: dict[str, Any], image_path: Path, out: Path
) -> None:
    model = out.parent / "judged.medai"
    card = make_card(
        totals=(TotalSpec("both"),),
        quality=QualitySpec(low=0.01),
        plausibility=PlausibilitySpec({"bright ball": (0.01, 900.0), "both": (0.01, 900.0)}),
    )
    write_package(model, card, [fitted_weights])
    table = out / "volumes.csv"
    output = out / "o.nrrd"
    run = medai("segment", image_path, "--model", model, "--output", output, "--volumes", table, "--json")
    assert run.code == 0, run.stderr
    label_map = found_in(output)
    voxels = {value: int((label_map.channel(0) == value).sum()) for value in (1, 2)}
    bright = run.data["labels"]["bright ball"]
    assert bright["usual_ml"] == [0.01, 900.0]
    assert bright["unusual"] is False
    assert 0.3 < bright["quality"] <= 1.0
    assert run.data["totals"]["both"]["voxels"] == sum(voxels.values())
    assert run.data["unlike"] is False
    with table.open(newline="", encoding="utf-8") as stream:
        rows = {row["structure"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["bright ball", "dim ball", "both"]
    assert [int(rows[name]["voxels"]) for name in ("bright ball", "dim ball")] == [voxels[1], voxels[2]]
    assert rows["both"]["value"] == rows["dim ball"]["usual_lowest_ml"] == ""
    assert float(rows["bright ball"]["quality"]) == pytest.approx(bright["quality"], abs=1e-3)
    person = medai("segment", image_path, "--model", model, "--output", output, "--no-postprocessing")
    assert "expected Dice" in person.stdout
    assert "both" in person.stdout


def test_a_table_of_volumes_is_csv(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai("segment", image_path, "--model", model_path, "--output", out / "o.nrrd", "--volumes", out / "v.xlsx")
    assert run.code == 1
    assert "v.xlsx" in run.stderr
    assert not list(out.iterdir())


def test_a_person_gets_a_table(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai("segment", image_path, "--model", model_path, "--output", out / "o.nrrd")
    assert run.code == 0
    assert "bright ball" in run.stdout
    assert "inference" in run.stdout


def test_names_colours_and_codes_are_in_the_segmentation(
    medai: Any, model_path: Path, image_path: Path, out: Path
) -> None:
    medai("segment", image_path, "--model", model_path, "--output", out / "o.seg.nrrd")
    _, scheme = read_label_map(out / "o.seg.nrrd")
    assert scheme is not None
    assert scheme.names == ("bright ball", "dim ball")
    assert scheme.values == (1, 2)
    assert scheme.labels[0].color == pytest.approx((0.9, 0.3, 0.2), abs=1e-3)
    assert scheme.labels[0].terminology is not None
    assert scheme.labels[0].terminology.type.value == "10200004"


def test_scene_has_the_volume_and_the_segmentation(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    run = medai("segment", image_path, "--model", model_path, "--output", out / "o.mrb", "--json")
    assert run.code == 0, run.stderr
    with zipfile.ZipFile(out / "o.mrb") as bundle:
        names = bundle.namelist()
        segmentation = next(name for name in names if name.endswith(".seg.nrrd"))
        volume = next(name for name in names if name.endswith(".nrrd") and not name.endswith(".seg.nrrd"))
        assert any(name.endswith(".mrml") for name in names)
        for name in (segmentation, volume):
            (out / Path(name).name).write_bytes(bundle.read(name))
    label_map, scheme = read_label_map(out / Path(segmentation).name)
    assert scheme is not None
    assert scheme.names == ("bright ball", "dim ball")
    voxels = {name: int((label_map.channel(0) == scheme.by_name(name).value).sum()) for name in scheme.names}
    assert voxels == {name: entry["voxels"] for name, entry in run.data["labels"].items()}
    assert np.array_equal(read_image(out / Path(volume).name).array, phantom()[0].array)


def test_labels_and_roi_restrict_the_result(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai(
        "segment", image_path, "--model", model_path, "--output", out / "o.nrrd", "--labels", "Dim Ball", "--json"
    )
    assert list(run.data["labels"]) == ["dim ball"]
    whole = found_in(out / "o.nrrd")
    assert set(np.unique(whole.channel(0))) == {0, 2}

    inside = np.argwhere(whole.channel(0) == 2)[:, ::-1]
    points = (np.c_[inside, np.ones(len(inside))] @ whole.ijk_to_ras.T)[:, :3]
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low[0] + high[0]) / 2
    roi = f"{middle},{high[0] + 9},{low[1] - 9},{high[1] + 9},{low[2] - 9},{high[2] + 9}"
    run = medai("segment", image_path, "--model", model_path, "--output", out / "r.nrrd", "--roi", roi, "--json")
    assert run.code == 0, run.stderr
    part = found_in(out / "r.nrrd")
    kept = np.argwhere(part.channel(0) == 2)[:, ::-1]
    assert 0.25 * len(inside) < len(kept) < 0.75 * len(inside)
    assert (np.c_[kept, np.ones(len(kept))] @ whole.ijk_to_ras.T)[:, 0].min() >= middle - 1e-3


def test_fast_tta_and_keep_largest_run(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    options = ("--precision", "fast", "--tta", "--keep-largest", "--device", "cpu")
    run = medai("segment", image_path, "--model", model_path, "--output", out / "o.nrrd", *options, "--json")
    assert run.code == 0, run.stderr
    labels, truth = found_in(out / "o.nrrd").channel(0), phantom()[1]
    assert dice(labels == 1, truth == 1) > 0.85


def test_a_few_nan_are_filled_with_a_warning(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    image = phantom()[0]
    array = image.array.copy()
    array[0, 0, 0, :7] = np.nan
    write_image(tmp_path / "padded.nrrd", image.with_array(array))
    run = medai("segment", tmp_path / "padded.nrrd", "--model", model_path, "--output", out / "o.nrrd", "--json")
    assert run.code == 0, run.stderr
    assert any("7 voxels" in warning for warning in run.data["warnings"])


def test_left_handed_volume(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    image, truth = phantom(left_handed=True)
    write_image(tmp_path / "mirrored.nrrd", image)
    run = medai("segment", tmp_path / "mirrored.nrrd", "--model", model_path, "--output", out / "o.nrrd", "--json")
    assert run.code == 0, run.stderr
    label_map, _ = read_label_map(out / "o.nrrd")
    assert label_map.same_grid(image, tolerance_voxels=0.01)
    assert dice(label_map.channel(0) == 1, truth == 1) > 0.85


def test_two_channels_in_the_models_order(
    medai: Any, image_path: Path, out: Path, tmp_path: Path, fitted_weights: dict[str, Any]
) -> None:
    """The fitted network, given a second channel with no weight: it must come second, or the balls are lost."""
    import torch
    from integration.cli.phantoms import ARGUMENTS

    from medai.config.model_card import NetworkSpec

    first = next(iter(fitted_weights))
    wide = torch.cat([fitted_weights[first], torch.zeros_like(fitted_weights[first])], dim=1)
    card = make_card(
        id="two",
        network=NetworkSpec("unet", {**ARGUMENTS, "in_channels": 2}),
        inputs=(make_card().inputs[0], replace(make_card().inputs[0], name="T2")),
    )
    write_package(tmp_path / "two.medai", card, [{**fitted_weights, first: wide}])
    noise = tmp_path / "noise.nrrd"
    image = phantom()[0]
    write_image(noise, image.with_array(np.random.default_rng(5).normal(size=image.array.shape).astype(np.float32)))
    scores = {}
    for name, inputs in {"right": (image_path, noise), "wrong": (noise, image_path)}.items():
        run = medai("segment", *inputs, "--model", tmp_path / "two.medai", "--output", out / f"{name}.nrrd", "--json")
        assert run.code == 0, run.stderr
        scores[name] = dice(found_in(out / f"{name}.nrrd").channel(0) == 1, phantom()[1] == 1)
    assert scores["right"] > 0.85
    assert scores["wrong"] < 0.3


@pytest.mark.render
def test_picture(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    render = pytest.importorskip("medai.render", reason="slicer-core or trame-slicer is not installed")
    works, reason = render.has_opengl()
    if not works:
        pytest.skip(reason)
    arguments = ("--output", out / "o.nrrd", "--picture", out / "o.png", "--json")
    run = medai("segment", image_path, "--model", model_path, *arguments)
    assert run.code == 0, run.stderr
    assert run.data["warnings"] == []
    assert (out / "o.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_picture_costs_no_segmentation(
    medai: Any, model_path: Path, image_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "medai.render", None)
    arguments = ("--output", out / "o.nrrd", "--picture", out / "o.png", "--json")
    run = medai("segment", image_path, "--model", model_path, *arguments)
    assert run.code == 0, run.stderr
    assert any("o.png" in warning for warning in run.data["warnings"])
    assert [path.name for path in out.iterdir()] == ["o.nrrd"]


# The command line, which says when the computation begins.
ANNOUNCED = """
import sys
import medai.segment
from medai.cli import main
run = medai.segment.run
def announced(*arguments):
    print("running", file=sys.stderr, flush=True)
    return run(*arguments)
medai.segment.run = announced
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
def test_ctrl_c_leaves_nothing(out: Path, tmp_path: Path, fitted_weights: dict[str, Any]) -> None:
    """A run that would take minutes (very fine voxels) ends soon after SIGINT, with no file and no traceback."""
    write_package(tmp_path / "slow.medai", make_card(id="slow", spacing_mm=(0.4, 0.4, 0.4)), [fitted_weights])
    write_image(tmp_path / "balls.nrrd", phantom()[0])
    arguments = ["segment", str(tmp_path / "balls.nrrd"), "--model", str(tmp_path / "slow.medai"), "--tta"]
    arguments += ["--output", str(out / "o.nrrd"), "--device", "cpu", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", ANNOUNCED, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "running\n"
    time.sleep(1.0)
    assert process.poll() is None, "it was done before it could be interrupted"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert json.loads(stdout.splitlines()[-1])["error"]["code"] == "cancelled"
    assert "Traceback" not in stderr
    assert not list(out.iterdir())


def test_probability_and_entropy_maps(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai(
        "segment", image_path, "--model", model_path, "--output", out / "o.nii.gz",
        "--probabilities", out / "maps", "--entropy", out / "doubt.nrrd", "--json",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    names = {name: out / "maps" / f"{name}.nii.gz" for name in ("bright ball", "dim ball")}
    assert run.data["probabilities"] == {name: str(path) for name, path in names.items()}
    assert run.data["entropy"] == str(out / "doubt.nrrd")
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        "bright ball.nii.gz", "dim ball.nii.gz", "doubt.nrrd", "o.nii.gz",
    ]  # fmt: skip
    labels = found_in(out / "o.nii.gz").channel(0)
    shares = []
    for path in (*names.values(), out / "doubt.nrrd"):
        image = read_image(path)
        assert image.same_grid(phantom()[0], tolerance_voxels=0.01)
        assert image.array.dtype == np.float32
        shares.append(image.channel(0))
    bright, dim, doubt = shares
    assert np.array_equal(np.argmax([1 - bright - dim, bright, dim], axis=0), labels)
    assert doubt[labels == 0].mean() < doubt.max()
    # Again, over the files that are there, with fewer labels: the other file stays as it is.
    again = medai(
        "segment", image_path, "--model", model_path, "--output", out / "o.nii.gz",
        "--probabilities", out / "maps", "--labels", "dim ball", "--json",
    )  # fmt: skip
    assert again.data["probabilities"] == {"dim ball": str(names["dim ball"])}
    assert "entropy" not in again.data


def test_maps_that_cannot_be_written_are_refused_before_computing(
    medai: Any, model_path: Path, image_path: Path, out: Path
) -> None:
    base = ("segment", image_path, "--model", model_path, "--output", out / "o.nii.gz", "--json")
    (out / "file").write_text("x", encoding="utf-8")
    for options, text in (
        (("--probabilities", out / "file"), "is a file"),
        (("--probabilities", out / "no" / "maps"), "does not exist"),
        (("--entropy", out / "doubt.txt"), "suffix"),
        (("--entropy", out / "o.nii.gz"), "other output"),
        (("--entropy", image_path), "is an input"),
    ):
        run = medai(*base, *options)
        assert run.code == 1
        assert run.data["error"]["code"] == "output"
        assert text in run.data["error"]["message"]
        assert [path.name for path in out.iterdir()] == ["file"]


def test_map_files_have_names_that_every_system_takes() -> None:
    names = ["Left kidney", "left kidney", "T1/T2: a?", "con", "...", "left kidney-2", "\u809d" * 90]
    scheme = LabelScheme(tuple(Label(n, name, (1.0, 0.0, 0.0)) for n, name in enumerate(names, start=1)))
    files = file_names(scheme)
    assert files[1] == "Left kidney.nii.gz"
    assert files[3] == "T1_T2_ a_.nii.gz"
    assert files[4] == "_con.nii.gz"
    assert files[5] == "label.nii.gz"
    assert len({file.casefold() for file in files.values()}) == len(names)
    assert max(len(file.encode()) for file in files.values()) <= 255
