"""Wrong usage gives exit code 2 and a text that helps; the command line itself is quick and quiet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medai.cli.console import json_data

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "MedAICore")}

WRONG = {
    "no such command": ("fly",),
    "no input": ("segment", "--model", "m", "--output", "o.nrrd"),
    "no model": ("segment", "i.nrrd", "--output", "o.nrrd"),
    "no such option": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--speed", "9"),
    "ROI of words": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--roi", "left,right,up,down,in,out"),
    "ROI of five numbers": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--roi", "1,2,3,4,5"),
    "ROI that is no number": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--roi", "0,nan,0,1,0,1"),
    "flat ROI": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--roi", "0,10,5,5,0,10"),
    "unknown device": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--device", "gpu"),
    "device number of words": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--device", "cuda:one"),
    "unknown precision": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--precision", "rough"),
    "empty label": ("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--labels", "a,,b"),
    "tolerance of words": ("evaluate", "--reference", "r", "--prediction", "p", "--tolerance-mm", "near"),
    "negative tolerance": ("evaluate", "--reference", "r", "--prediction", "p", "--tolerance-mm", "-1"),
    "tolerance nan": ("evaluate", "--reference", "r", "--prediction", "p", "--tolerance-mm", "nan"),
    "no output": ("prepare", "d"),
    "no task": ("train", "d", "--output", "m.medai"),
    "unknown task": ("train", "d", "--task", "poetry", "--output", "m.medai"),
    "unknown preset": ("train", "d", "--task", "segmentation", "--output", "m.medai", "--preset", "fastest"),
    "no folds": ("train", "d", "--task", "segmentation", "--output", "m.medai", "--folds", "0"),
    "no time": ("train", "d", "--task", "segmentation", "--output", "m.medai", "--max-minutes", "0"),
    "no subcommand": ("models",),
    "no model to show": ("models", "show"),
    "no file": ("info",),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_exit_code_2(medai: Any, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    run = medai(*arguments)
    assert run.code == 2
    assert "Usage: medai" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_wrong_usage_as_json(medai: Any) -> None:
    run = medai("segment", "i.nrrd", "--model", "m", "--output", "o.nrrd", "--device", "gpu", "--json")
    assert run.code == 2
    assert run.data["error"]["code"] == "usage"
    assert "gpu" in run.data["error"]["message"]
    assert run.data["error"]["remedy"]


@pytest.mark.parametrize("command", ["segment", "evaluate", "prepare", "train", "models", "info"])
def test_every_command_has_help(medai: Any, command: str) -> None:
    run = medai(command, "--help")
    assert run.code == 0
    assert f"Usage: medai {command}" in run.stdout


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    heavy = ["torch", "monai", "SimpleITK", "scipy", "slicer", "vtk", "nilearn", "openvino"]
    code = f"import sys, medai.cli; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_defect_gives_no_traceback_without_debug(medai: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("internal detail")

    monkeypatch.setattr("medai.models.list_models", broken)
    run = medai("models", "list", "--json")
    assert run.code == 1
    assert "KeyError" in run.data["error"]["message"]
    assert "--debug" in run.data["error"]["remedy"]
    assert "Traceback" not in run.stderr
    run = medai("models", "list", "--debug")
    assert run.code == 1
    assert "Traceback" in run.stderr
    assert "internal detail" in run.stderr


def test_json_has_no_nan_and_no_numpy() -> None:
    import numpy as np

    data = json_data(
        {"a": float("nan"), 2: np.float32(0.5), "c": [np.inf, np.int64(3), Path("x")], "d": np.array([1, np.nan])}
    )
    assert json.loads(json.dumps(data, allow_nan=False)) == {"a": None, "2": 0.5, "c": [None, 3, "x"], "d": [1.0, None]}


def test_as_a_program() -> None:
    """`python -m medai` in a process of its own: the exit code gets out, stdout holds the JSON alone."""
    command = [sys.executable, "-m", "medai", "models", "show", "no-such-model", "--json"]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert len(run.stdout.splitlines()) == 1
    assert json.loads(run.stdout)["error"]["code"] == "model"
    assert "no-such-model" in run.stderr
