"""A training that is killed again and again, with whoever started it, comes to the same weights as an unbroken one."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from training_phantoms import write_cache

from medai import train
from medai.client.commands import command_line
from medai.client.training import TrainingLauncher, TrainingRun, known_runs
from medai.config import to_json
from medai.config.training import TrainConfig
from medai.config.training_run import RunFiles
from medai.models import open_model
from medai.training.checkpoint import load_checkpoint

PACKAGE_ROOT = Path(__file__).resolve().parents[3] / "MedAICore"
STEPS = 60
# As in a Slicer that crashes: it starts or resumes the run, and is killed with it.
STARTER = f"""
import json, sys, time
sys.path.insert(0, {str(PACKAGE_ROOT)!r})
from medai.client.commands import command_line
from medai.client.training import TrainingLauncher, TrainingRun
from medai.config import from_json
from medai.config.training import TrainConfig
launcher = TrainingLauncher(command_line(sys.executable))
folder, text = sys.argv[1:]
if TrainingRun(folder).files.options.is_file():
    launcher.resume(folder)
else:
    launcher.start(folder, from_json(TrainConfig, json.loads(text)))
print("started", flush=True)
time.sleep(600)
"""


def config(cache: Path, output: Path, **options: object) -> TrainConfig:
    defaults: dict[str, object] = {
        "preset": "quick", "device": "cpu", "width": 8, "steps": STEPS, "seed": 3, "checkpoint_minutes": 0.1 / 60,
    }  # fmt: skip
    return TrainConfig(dataset=str(cache), output=str(output), **{**defaults, **options})  # type: ignore[arg-type]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[TrainingLauncher]:
    yield TrainingLauncher(command_line(sys.executable))
    for run in known_runs(tmp_path):  # of a test that failed half way: nobody else would end them
        run.kill()


def wait_for(run: TrainingRun, *states: str) -> str:
    deadline = time.monotonic() + 300
    while (state := run.state()) not in states:
        assert time.monotonic() < deadline, (state, run.log_tail())
        assert state != "failed" or "failed" in states, run.error()
        time.sleep(0.02)
    return state


def steps_done(run: TrainingRun) -> int:
    return max((e["step"] for e in run.events() if e["event"] == "checkpoint"), default=0)


def start_and_kill(folder: Path, options: TrainConfig, target: int, delay_s: float) -> None:
    """Start or go on, and kill both processes once a checkpoint is at step `target` or beyond (0: while starting)."""
    run = TrainingRun(folder)
    command = [sys.executable, "-c", STARTER, str(folder), json.dumps(to_json(options))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as slicer:
        assert slicer.stdout is not None
        assert slicer.stdout.readline().strip() == b"started"
        while target and steps_done(run) < target:
            assert run.state() in ("starting", "running"), run.error()
            time.sleep(0.01)
        time.sleep(delay_s)
        run.kill()
        slicer.kill()
    wait_for(run, "killed", "finished")


def check_curves(run: TrainingRun) -> None:
    """Steps are covered without a gap and once; validations come once each, in order."""
    events = run.events()
    covered = [(e["from_step"], e["step"]) for e in events if e["event"] == "step"]
    assert covered[0][0] == 0
    assert covered[-1][1] == STEPS
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covered)), covered
    validations = [e["step"] for e in events if e["event"] == "validation"]
    assert validations == sorted(set(validations))
    assert validations[-1] == STEPS


def assert_same(whole: TrainingRun, broken: TrainingRun) -> None:
    one, other = (load_checkpoint(run.files.checkpoint, torch.device("cpu")) for run in (whole, broken))
    assert one["step"] == other["step"] == STEPS
    for part in ("network", "average"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), f"{part}: {name} differs"
    dice = [[(e["step"], e["dice"]) for e in run.events() if e["event"] == "validation"] for run in (whole, broken)]
    assert dice[0] == dice[1]


def kill_many_times(tmp_path: Path, launcher: TrainingLauncher, kills: int) -> None:
    cache = write_cache(tmp_path / "cache").root
    whole = launcher.start(tmp_path / "whole.run", config(cache, tmp_path / "whole.medai"))
    wait_for(whole, "finished")
    folder = tmp_path / "broken.run"
    run, random_ = TrainingRun(folder), random.Random(11)
    # Every fifth kill hits the start of the process, the others the training: its steps, its checkpoints, its record.
    targets = sorted(random_.randint(1, STEPS - 5) for _ in range(kills))
    for number, target in enumerate(targets):
        early = number % 5 == 1
        delay_s = random_.uniform(0.0, 2.0 if early else 0.05)
        start_and_kill(folder, config(cache, tmp_path / "broken.medai"), 0 if early else target, delay_s)
        assert run.state() == "killed", "the run was over before it could be killed"
        if run.files.checkpoint.is_file():
            assert load_checkpoint(run.files.checkpoint, torch.device("cpu"))["step"] <= STEPS
    launcher.resume(folder)
    wait_for(run, "finished")
    check_curves(whole)
    check_curves(run)
    assert_same(whole, run)
    one, other = (open_model(tmp_path / f"{name}.medai").card.weights for name in ("whole", "broken"))
    assert one == other
    assert not list(folder.rglob("*.part"))


def test_three_kills_at_random_moments(tmp_path: Path, launcher: TrainingLauncher) -> None:
    kill_many_times(tmp_path, launcher, 3)


@pytest.mark.slow
def test_ten_kills_at_random_moments(tmp_path: Path, launcher: TrainingLauncher) -> None:
    kill_many_times(tmp_path, launcher, 10)


def test_pause_frees_the_process_resume_goes_on_stop_packages(tmp_path: Path, launcher: TrainingLauncher) -> None:
    cache = write_cache(tmp_path / "cache").root
    run = launcher.start(tmp_path / "a.run", config(cache, tmp_path / "a.medai", steps=100_000))
    wait_for(run, "running")
    while not run.files.checkpoint.is_file():
        time.sleep(0.05)
    run.pause()
    wait_for(run, "paused")
    assert not run.files.lock.exists()
    assert not run.files.control.exists()
    assert not (tmp_path / "a.medai").exists()
    paused_at = steps_done(run)
    (found,) = known_runs(tmp_path)
    assert found.config().steps == 100_000
    launcher.resume(found.folder)
    wait_for(found, "running")
    found.stop()
    wait_for(found, "finished")
    result = found.result()
    assert result is not None
    assert paused_at <= result["steps"] < 100_000
    assert open_model(result["output"]).card.training.run["steps"] == result["steps"]
    with np.load(found.files.preview, allow_pickle=False) as preview:
        assert preview["image"].dtype == np.uint8
        assert preview["image"].shape == (1, *preview["reference"].shape)
        assert preview["prediction"].shape == preview["reference"].shape
        assert list(preview["labels"]) == ["background", "lower", "upper"]
        assert np.allclose(np.diag(preview["ijk_to_ras"]), [1.2, 1.0, 1.1, 1.0])  # of i, j, k
        assert json.loads(str(preview["about"]))["step"] == result["steps"]
    last = [e for e in found.events() if e["event"] == "step"][-1]
    assert {"loss", "learning_rate", "memory_mb", "samples_per_s", "data_wait", "eta_s"} <= set(last)


def test_an_error_while_training_is_in_the_record(tmp_path: Path, launcher: TrainingLauncher) -> None:
    run = launcher.start(tmp_path / "a.run", config(tmp_path / "nothing", tmp_path / "a.medai"))
    wait_for(run, "failed")
    error = run.error()
    assert error is not None
    assert error.code == "dataset"
    assert "nothing" in error.message


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit for the size of files")
def test_a_full_disk_leaves_the_older_checkpoint_and_says_so(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    run = TrainingRun(tmp_path / "a.run")
    calls = iter(range(10_000))
    options = config(cache, tmp_path / "a.medai", steps=100_000, run_folder=str(run.folder))
    assert not train.run(options, cancelled=lambda: next(calls) >= 3).finished
    assert run.state() == "paused"
    before = run.files.checkpoint.read_bytes()
    # Files of this process may grow to a part of a checkpoint: writing fails in the middle, as on a full disk.
    limit = len(before) // 2
    program = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.argv[:] = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = str(PACKAGE_ROOT / "medai" / "cli" / "command.py")
    TrainingLauncher([sys.executable, "-c", program, script]).resume(run.folder)
    wait_for(run, "failed")
    error = run.error()
    assert error is not None
    assert error.code == "output"
    assert "Free space" in error.remedy
    assert run.files.checkpoint.read_bytes() == before
    assert not list(run.folder.rglob("*.part"))
    assert not run.files.lock.exists()


@pytest.mark.slow
def test_a_run_of_several_folds_is_paused_and_stopped_as_one(tmp_path: Path, launcher: TrainingLauncher) -> None:
    cache = write_cache(tmp_path / "cache").root
    run = launcher.start(tmp_path / "a.run", config(cache, tmp_path / "a.medai", steps=100_000, folds=2))
    wait_for(run, "running")
    while not (run.folder / "fold-0" / "checkpoints" / "latest.pt").is_file():
        time.sleep(0.05)
    run.stop()
    wait_for(run, "finished")
    assert [entry.fold for entry in open_model(tmp_path / "a.medai").card.weights] == [0]
    assert RunFiles(run.folder).folds()[0].root.name == "fold-0"
