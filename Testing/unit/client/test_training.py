"""Runs as Slicer sees them, with a small program in the place of `medai train`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medai.client.commands import CommandProcess, command_line
from medai.client.training import TrainingLauncher, TrainingRun, known_runs
from medai.config.training import TrainConfig
from medai.config.training_run import EventReader, RunFiles, as_one_run
from medai.errors import ConfigError, EnvironmentFailure, MedAIError

PACKAGE_ROOT = Path(__file__).resolve().parents[3] / "MedAICore"

# What the trainer does with the run folder, without torch: it takes the lock, counts steps and obeys control.json.
TRAINER = f"""
import json, os, sys, time
sys.path.insert(0, {str(PACKAGE_ROOT)!r})
from pathlib import Path
from medai.config import to_json
from medai.process_identity import ProcessIdentity
assert sys.argv[1] == "train" and sys.argv[2] == "--run-folder" and sys.argv[4] == "--resume", sys.argv
root = Path(sys.argv[3])
options = json.loads((root / "train.json").read_text())
def report(event, **values):
    with (root / "progress.jsonl").open("a") as stream:
        stream.write(json.dumps({{"event": event, "time": round(time.time(), 1), **values}}) + "\\n")
print("libraries are loaded", file=sys.stderr, flush=True)
if options["title"] == "broken":
    sys.exit("no such library")
(root / "lock").write_text(json.dumps(to_json(ProcessIdentity.current())))
report("begin", pid=os.getpid())
report("stage", stage="training")
if options["title"] == "fails":
    report("error", code="memory", message="Too little memory.", remedy="Take a smaller patch.")
    sys.exit(1)
for step in range(1, 2000):
    report("step", step=step, loss=1 / step)
    if (root / "control.json").is_file():
        ask = json.loads((root / "control.json").read_text())["ask"]
        (root / "control.json").unlink()
        (root / "lock").unlink()
        report("paused", step=step) if ask == "pause" else report("done", output="model.medai")
        break
    time.sleep(0.02)
"""


def config(title: str = "") -> TrainConfig:
    return TrainConfig(dataset="data", output="model.medai", title=title)


@pytest.fixture
def launcher(tmp_path: Path) -> TrainingLauncher:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER, encoding="utf-8")
    return TrainingLauncher([sys.executable, "-I", str(script)])


def wait_for(run: TrainingRun, *states: str) -> str:
    deadline = time.monotonic() + 60
    while (state := run.state()) not in states:
        assert time.monotonic() < deadline, (state, run.log_tail())
        time.sleep(0.02)
    return state


def test_a_run_is_paused_resumed_and_stopped(tmp_path: Path, launcher: TrainingLauncher) -> None:
    run = launcher.start(tmp_path / "a.run", config())
    assert run.name == "a"
    assert run.config().run_folder == str(tmp_path / "a.run")
    assert wait_for(run, "starting", "running")
    wait_for(run, "running")
    with pytest.raises(ConfigError, match="running"):
        launcher.resume(run.folder)
    run.pause()
    assert run.state() in ("pausing", "paused")
    wait_for(run, "paused")
    with pytest.raises(ConfigError, match="No process"):
        run.pause()
    assert run.new_events()[-1]["event"] == "paused"
    assert run.new_events() == []
    again = launcher.resume(run.folder)
    wait_for(run, "running")
    again.stop()
    wait_for(again, "finished")
    assert again.result() is not None
    assert again.result()["output"] == "model.medai"
    assert "libraries are loaded" in again.log_tail()
    assert run.new_events()[0]["event"] == "begin"
    with pytest.raises(ConfigError, match="finished"):
        launcher.resume(run.folder)


def test_a_killed_run_is_told_apart_and_goes_on(tmp_path: Path, launcher: TrainingLauncher) -> None:
    run = launcher.start(tmp_path / "run", config())
    wait_for(run, "running")
    run.kill()
    wait_for(run, "killed")
    error = run.error()
    assert error is not None
    assert "Resume it" in error.remedy
    launcher.resume(run.folder)
    wait_for(run, "running")
    run.pause()
    wait_for(run, "paused")
    assert run.error() is None


def test_an_error_keeps_its_kind_and_remedy(tmp_path: Path, launcher: TrainingLauncher) -> None:
    run = launcher.start(tmp_path / "run", config("fails"))
    wait_for(run, "failed")
    error = run.error()
    assert error is not None
    assert (error.code, error.remedy) == ("memory", "Take a smaller patch.")


def test_a_process_that_never_begins_is_killed_with_its_last_words(tmp_path: Path, launcher: TrainingLauncher) -> None:
    run = launcher.start(tmp_path / "run", config("broken"))
    wait_for(run, "killed")
    assert "no such library" in str(run.error())
    (run.folder / "progress.jsonl").write_text('{"event": "paused", "time": 1.0}\n', encoding="utf-8")
    assert TrainingRun(run.folder).state() == "killed"  # that pause was before this start


def test_a_run_outlives_who_started_it_and_is_found_again(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER, encoding="utf-8")
    starter = (
        f"import sys, time; sys.path.insert(0, {str(PACKAGE_ROOT)!r})\n"
        "from medai.client.training import TrainingLauncher\n"
        "from medai.config.training import TrainConfig\n"
        f"TrainingLauncher([sys.executable, '-I', {str(script)!r}]).start({str(tmp_path / 'runs' / 'one')!r},"
        " TrainConfig(dataset='data', output='model.medai'))\n"
        "print('started', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE) as slicer:
        assert slicer.stdout is not None
        assert slicer.stdout.readline().strip() == b"started"
        (run,) = known_runs(tmp_path / "runs")
        wait_for(run, "running")
        slicer.kill()
    steps = len(run.new_events())
    time.sleep(0.2)
    assert run.state() == "running"
    assert len(run.new_events()) > 0 < steps
    run.pause()
    wait_for(run, "paused")


def test_folders_that_hold_something_else_are_refused(tmp_path: Path, launcher: TrainingLauncher) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "progress.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds an earlier run"):
        launcher.start(tmp_path / "run", config())
    with pytest.raises(EnvironmentFailure, match="nowhere"):
        TrainingLauncher(["/nowhere/python"]).start(tmp_path / "other", config())
    assert [run.name for run in known_runs(tmp_path)] == ["other"]  # its data were given: it can be resumed
    assert known_runs(tmp_path / "missing") == []
    assert TrainingRun(tmp_path / "other").state() == "paused"
    (tmp_path / "other" / "train.json").write_text('{"dataset": 3}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.json"):
        launcher.resume(tmp_path / "other")


def test_only_whole_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    reader = EventReader(path)
    assert reader.new() == []
    path.write_bytes(b'{"event": "step", "step": 1}\n{"event": "st')
    assert [e["step"] for e in reader.new()] == [1]
    with path.open("ab") as stream:
        stream.write(b'ep", "step": 2}\n{"torn\n{"event": "step", "step": 3}\n')
    assert [e["step"] for e in reader.new()] == [2, 3]
    assert reader.new() == []


def test_folds_are_told_apart(tmp_path: Path) -> None:
    for fold in (0, 1, 10):
        files = RunFiles(tmp_path / f"fold-{fold}")
        files.root.mkdir()
        files.progress.write_text(json.dumps({"event": "step", "step": 1, "time": 9.0 - fold / 10}) + "\n", "utf-8")
    (tmp_path / "fold-x").mkdir()
    (tmp_path / "progress.jsonl").write_text('{"event": "begin", "time": 1.0}\n', "utf-8")
    assert [e.get("fold") for e in TrainingRun(tmp_path).new_events()] == [None, 10, 1, 0]


def test_the_record_of_an_interrupted_run_has_each_step_once() -> None:
    raw = [
        ("start", 0), ("step", 10), ("step", 20), ("checkpoint", 20), ("step", 30), ("validation", 30),
        ("resume", 20), ("step", 30), ("validation", 30), ("end", 30), ("resume", 30), ("validation", 30),
    ]  # fmt: skip
    events = [{"event": kind, "step": step, "n": n} for n, (kind, step) in enumerate(raw)]
    kept = as_one_run([{"event": "begin"}, *events])
    assert [(e["event"], e.get("step")) for e in kept] == [
        ("begin", None), ("start", 0), ("step", 10), ("step", 20), ("checkpoint", 20), ("resume", 20), ("step", 30),
        ("end", 30), ("resume", 30), ("validation", 30),
    ]  # fmt: skip
    assert kept[-1]["n"] == 11
    anew = as_one_run([*events, {"event": "start", "step": 0}])
    assert [e["event"] for e in anew] == ["start"]
    other_fold = as_one_run([{"event": "step", "step": 5, "fold": 0}, {"event": "start", "step": 0, "fold": 1}])
    assert len(other_fold) == 2


def test_a_command_runs_in_isolation_and_gives_its_json(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "LD_LIBRARY_PATH": "/nowhere"}
    process = CommandProcess(
        command_line(sys.executable), ["models", "list", "--json"], tmp_path / "log.txt", environment
    )
    _finish(process)
    assert any(model["id"] == "hippocampus-mr" for model in process.value()["models"])


def test_the_error_of_a_command_is_raised(tmp_path: Path) -> None:
    process = CommandProcess(
        command_line(sys.executable),
        ["prepare", str(tmp_path / "none"), "--output", str(tmp_path / "cache"), "--json"],
        tmp_path / "log.txt",
    )
    _finish(process)
    with pytest.raises(MedAIError, match="none") as raised:
        process.value()
    assert raised.value.remedy


def test_a_command_that_breaks_or_is_cancelled(tmp_path: Path) -> None:
    broken = CommandProcess([sys.executable, "-c", "raise SystemExit('bad start')"], [], tmp_path / "log.txt")
    _finish(broken)
    with pytest.raises(MedAIError, match="bad start"):
        broken.value()
    waits = CommandProcess([sys.executable, "-c", "import time; time.sleep(60)"], [], tmp_path / "log.txt")
    assert waits.poll()
    waits.cancel()
    assert not waits.poll()
    with pytest.raises(MedAIError, match="Cancelled"):
        waits.value()


def _finish(process: CommandProcess) -> None:
    deadline = time.monotonic() + 60
    while process.poll():
        assert time.monotonic() < deadline
        time.sleep(0.02)
