"""`medai.train.run` from files to a package; a killed run goes on exactly, a stopped one is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_phantoms import write_cache, write_dataset

from medai import train
from medai.config.training import ModelDescription, TrainConfig
from medai.errors import ConfigError, DatasetError
from medai.models import open_model
from medai.networks import build_network, load_weights
from medai.training import RunFolder
from medai.training.checkpoint import load_checkpoint

REPOSITORY = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")


def quick(dataset: Path, output: Path, **options) -> TrainConfig:
    defaults = {"preset": "quick", "device": "cpu", "width": 8, "steps": 12, "seed": 3}
    return TrainConfig(dataset=str(dataset), output=str(output), **{**defaults, **options})


def in_another_process(config: TrainConfig) -> subprocess.Popen:
    from medai.config import to_json

    code = (
        "import json, sys; from medai import train; from medai.config import from_json;"
        "from medai.config.training import TrainConfig;"
        "r = train.run(from_json(TrainConfig, json.loads(sys.argv[1]))); sys.exit(0 if r.finished else 3)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "MedAICore")}
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(to_json(config))], env=environment)


def wait_for_checkpoint(folder: RunFolder, step: int, process: subprocess.Popen) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        steps = [event["step"] for event in folder.events() if event["event"] == "checkpoint"]
        if steps and steps[-1] >= step:
            return steps[-1]
        time.sleep(0.02)
    pytest.fail(f"no checkpoint at step {step}; exit code {process.poll()}")


def final_state(folder: RunFolder) -> dict:
    return load_checkpoint(folder.checkpoint, CPU)


def test_from_files_to_a_package_that_segments(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "balls")
    result = train.run(quick(data, tmp_path / "ball.medai", steps=110, learning_rate=5e-3))
    assert result.finished
    assert result.output == tmp_path / "ball.medai"
    assert set(result.metrics) == {"label 1", "label 2"}
    assert result.mean_dice > 0.6
    package = open_model(tmp_path / "ball.medai")
    card = package.card
    assert card.task == "segment"
    assert card.spacing_mm == (1.1, 1.0, 1.2)  # k, j, i
    assert card.network.arguments["deep_supervision"] is False
    assert card.training.run["steps"] == 110
    network = build_network(card.network.name, card.network.arguments)
    load_weights(network, {name: tensor.float() for name, tensor in package.weights(0).items()})
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 1, *card.patch)).shape == (1, 3, *card.patch)


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    options = {"steps": 60, "checkpoint_minutes": 0.2 / 60}
    whole, broken = (
        quick(cache, tmp_path / "whole.medai", **options),
        quick(cache, tmp_path / "broken.medai", **options),
    )
    killed = in_another_process(broken)
    folder = RunFolder(train.run_folder_of(broken))
    saved_at = wait_for_checkpoint(folder, 5, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    assert saved_at < 60, "the run was over before it could be killed"
    assert folder.lock.is_file(), "a killed process cannot have tidied up"
    train.run(whole)
    train.run(quick(cache, tmp_path / "broken.medai", resume=True, **options))
    one, other = final_state(RunFolder(train.run_folder_of(whole))), final_state(folder)
    assert one["step"] == other["step"] == 60
    for part in ("network", "average"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), f"{part}: {name} differs"
    first = [e["mean_dice"] for e in RunFolder(train.run_folder_of(whole)).events() if e["event"] == "validation"]
    second = [e["mean_dice"] for e in folder.events() if e["event"] == "validation"]
    assert first == second
    assert open_model(tmp_path / "whole.medai").card.weights == open_model(tmp_path / "broken.medai").card.weights


def test_sigterm_leaves_a_checkpoint_and_no_model(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    config = quick(cache, tmp_path / "m.medai", steps=5000, checkpoint_minutes=0.2 / 60)
    process = in_another_process(config)
    folder = RunFolder(train.run_folder_of(config))
    step = wait_for_checkpoint(folder, 2, process)
    process.terminate()
    assert process.wait(60) == 3
    assert not (tmp_path / "m.medai").exists()
    assert not folder.lock.exists()
    assert final_state(folder)["step"] >= step
    assert [e["event"] for e in folder.events()[-2:]] == ["end", "paused"]
    assert folder.events()[-2]["finished"] is False


def test_a_cancelled_run_can_go_on(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    calls = iter(range(10_000))
    config = quick(cache, tmp_path / "m.medai", steps=8)
    stopped = train.run(config, cancelled=lambda: next(calls) >= 3)
    assert not stopped.finished
    assert stopped.output is None
    assert 0 < stopped.steps < 8
    result = train.run(quick(cache, tmp_path / "m.medai", steps=8, resume=True))
    assert result.finished
    assert result.steps == 8


def test_a_second_run_does_not_overwrite_the_first(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    train.run(quick(cache, tmp_path / "m.medai", steps=2))
    with pytest.raises(ConfigError, match="earlier run"):
        train.run(quick(cache, tmp_path / "m.medai", steps=2))
    with pytest.raises(ConfigError, match=r"other settings: .*seed"):
        train.run(quick(cache, tmp_path / "m.medai", steps=2, seed=4, resume=True))


def test_a_time_limit_ends_the_schedule(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    result = train.run(quick(cache, tmp_path / "m.medai", steps=1_000_000, max_minutes=0.05))
    assert result.finished
    assert result.steps < 1_000_000
    steps = [e for e in RunFolder(result.run_folder).events() if e["event"] == "step"]
    assert steps[-1]["fraction"] == 1.0


def test_folds_make_one_network_each(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache")
    result = train.run(quick(cache.root, tmp_path / "m.medai", steps=2, folds=2))
    package = open_model(tmp_path / "m.medai")
    assert [entry.fold for entry in package.card.weights] == [0, 1]
    held = [set(RunFolder(result.run_folder / f"fold-{n}").read_settings().validation_cases) for n in (0, 1)]
    assert held[0] | held[1] == {case.name for case in cache.card.cases}
    assert not held[0] & held[1]


@pytest.mark.parametrize("network", ["dynunet", "segresnet"])
def test_other_networks_train(tmp_path: Path, network: str) -> None:
    cache = write_cache(tmp_path / "cache").root
    result = train.run(quick(cache, tmp_path / "m.medai", steps=2, network=network))
    card = open_model(result.output).card
    assert card.network.name == network
    build_network(network, card.network.arguments)


def test_two_dimensions(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "slices", count=5, shape=(1, 29, 35))
    result = train.run(quick(data, tmp_path / "m.medai", steps=60, learning_rate=5e-3))
    card = open_model(result.output).card
    assert card.patch[0] == 1
    assert card.network.arguments["spatial_dims"] == 2
    assert result.mean_dice > 0.5


def test_a_description_names_labels_licence_and_source(tmp_path: Path) -> None:
    from medai.config import to_json
    from medai.config.model_card import LabelSpec, TrainingData

    data = write_dataset(tmp_path / "balls", count=4)
    description = ModelDescription(
        id="half-balls",
        title="Halves of a ball",
        labels=(LabelSpec(1, "lower", (1.0, 0.5, 0.0)), LabelSpec(2, "upper", (0.0, 0.5, 1.0))),
        licence="CC-BY-SA-4.0",
        citation=("Somebody 2020",),
        data=(TrainingData("Balls", "CC-BY-SA-4.0", "Somebody 2020", 4),),
    )
    (tmp_path / "half-balls.json").write_text(json.dumps(to_json(description)), encoding="utf-8")
    train.run(quick(data, tmp_path / "m.medai", steps=1, description=str(tmp_path / "half-balls.json")))
    card = open_model(tmp_path / "m.medai").card
    assert (card.id, card.licence, card.labels[1].name) == ("half-balls", "CC-BY-SA-4.0", "upper")
    assert card.training.data[0].name == "Balls"


def test_nothing_to_train_on_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no data set"):
        train.run(quick(tmp_path / "nowhere", tmp_path / "m.medai"))
    assert not (tmp_path / "m.medai.run").exists()
