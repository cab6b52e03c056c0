"""``medai train --synthetic-from`` on label maps of phantoms, to a package that ``medai segment`` can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import phantom

from medai.imageio import read_label_map, write_image
from medai.models import open_model

SMALL = ("--task", "segmentation", "--patch", "16,16,16", "--width", "4", "--depth", "2", "--device", "cpu", "--json")


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Three label maps of phantoms, 1 and 2 being the sides of one structure."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for number in range(3):
        image, labels = phantom(number, (18, 26, 30))
        write_image(folder / f"map{number}.nii.gz", image.with_array(labels))
    values = [{"value": 1, "name": "Left ball", "mirror": 2}, {"value": 2, "name": "Right ball", "mirror": 1}]
    (folder / "label_maps.json").write_text(json.dumps({"values": values}), encoding="utf-8")
    return folder


def test_train_stop_resume_cool_down_and_segment(medai: Any, maps: Path, out: Path, tmp_path: Path) -> None:
    arguments = ("train", "--synthetic-from", maps, *SMALL, "--output", out / "balls.medai", "--hold-out", "1")
    run = medai(*arguments, "--steps", "3")
    assert run.code == 0, run.stderr
    assert run.data["steps"] == 3
    assert set(run.data["dice"]) <= {"Left ball", "Right ball"}
    assert medai(*arguments, "--steps", "3").data["error"]["code"] == "config"  # the folder holds a run
    run = medai(*arguments, "--resume", "--cooldown", "2")
    assert run.code == 0, run.stderr
    assert (run.data["steps"], run.data["finished"]) == (5, True)
    card = open_model(out / "balls.medai").card
    assert [label.name for label in card.labels] == ["Left ball", "Right ball"]
    assert card.spacing_mm == (2.0, 2.0, 2.0)
    assert len(card.training.run["held_out"]) == 1
    assert card.training.run["label_maps"] == 2
    assert card.training.run["cooled_down"] is True

    image, _ = phantom(7, (18, 26, 30))
    write_image(tmp_path / "image.nii.gz", image)
    labels = out / "labels.nrrd"
    run = medai("segment", tmp_path / "image.nii.gz", "--model", out / "balls.medai", "--output", labels, "--json")
    assert run.code == 0, run.stderr
    found = read_label_map(labels)[0]
    assert found.same_grid(image)
    assert set(np.unique(found.array)) <= {0, 1, 2}


def test_what_does_not_fit_is_refused(medai: Any, maps: Path, out: Path) -> None:
    output = ("--output", out / "m.medai")
    run = medai("train", "--synthetic-from", maps, *SMALL, *output, "--loss", "dice")
    assert "--loss" in run.data["error"]["message"]
    run = medai("train", maps, "--synthetic-from", maps, *SMALL, *output)
    assert run.data["error"]["code"] == "config"
    run = medai("train", "--synthetic-from", maps / "none", *SMALL, *output)
    assert run.data["error"]["code"] == "dataset"
    run = medai("train", "--synthetic-from", maps, *SMALL, *output, "--hold-out", "3", "--steps", "1")
    assert "held out" in run.data["error"]["message"]
    assert medai("train", *SMALL, *output).code == 2
    assert medai("train", maps, *SMALL, *output, "--cooldown", "5").code == 2
    assert not list(out.glob("*.medai"))
