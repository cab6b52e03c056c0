"""Two processes (gloo) that train together follow one with twice the batch, and stop and go on as one does."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_phantoms import write_cache

from medai import train
from medai.augmentation import AugmentationSettings
from medai.config.model_card import NetworkSpec
from medai.config.training import TrainConfig
from medai.errors import ConfigError, EnvironmentFailure, MedAIError
from medai.models import open_model
from medai.progress import never_cancelled, no_progress
from medai.training import RunFolder, Trainer, TrainingSettings, choose_compute
from medai.training.checkpoint import load_checkpoint
from medai.training.precision import Compute
from medai.training.together import check_devices, train_together

TOLERANCE = 1e-4
STILL = AugmentationSettings(
    rotation=0, scaling=0, elastic=0, mirror=(False, False, False), noise=0, blur=0, brightness=0, contrast=0,
    low_resolution=0, gamma=0, gamma_inverted=0, bias_field=0,
)  # fmt: skip
SETTINGS = TrainingSettings(
    network=NetworkSpec(
        "unet",
        {"in_channels": 1, "out_channels": 3, "channels": [6, 12], "strides": [[1, 1, 1], [2, 2, 2]],
         "deep_supervision": True},
    ),
    label_names=("lower", "upper"),
    patch=(16, 16, 16),
    spacing_mm=(1.1, 1.0, 1.2),
    training_cases=("case0", "case1", "case2"),
    validation_cases=("case3",),
    steps=8,
    batch_size=1,
    learning_rate=5e-3,
    augmentation=STILL,
    validations=1,
    processes=2,
)  # fmt: skip


def config(cache: Path, output: Path, **options) -> TrainConfig:
    defaults = {"preset": "quick", "device": "cpu", "width": 8, "steps": 6, "seed": 3, "gpus": 2, "batch_size": 1}
    return TrainConfig(dataset=str(cache), output=str(output), **{**defaults, **options})


def test_two_processes_follow_the_loss_curve_of_one_with_twice_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = write_cache(tmp_path / "cache")
    two = RunFolder(tmp_path / "two")
    two.write_settings(SETTINGS)
    outcome = train_together(two, cache, "cpu", False, never_cancelled, no_progress, never_cancelled)
    assert outcome.finished
    assert outcome.steps == 8

    one = RunFolder(tmp_path / "one")
    settings = replace(SETTINGS, batch_size=2, processes=1)
    one.write_settings(settings)
    trainer = Trainer(settings, choose_compute("cpu"), one)
    one.start()
    losses = []
    step = trainer.train_step
    trainer.train_step = lambda batch, rate: losses.append(step(batch, rate)) or losses[-1]  # type: ignore[method-assign]
    cases = [cache.load(case) for case in cache.card.cases]
    alone = trainer.run(cases[:3], cases[3:], no_progress, never_cancelled)

    mean = [event for event in two.events() if event["event"] == "step"][-1]["loss"]
    apart = abs(mean - float(torch.stack(losses).mean()))
    weights = max(float((outcome.weights[n] - t).abs().max()) for n, t in alone.weights.items())
    with capsys.disabled():
        print(f"\n  loss over 8 steps {mean:.5f}, apart by {apart:.1e}; weights apart by {weights:.1e}")
    assert float(losses[0]) - float(losses[-1]) > 100 * TOLERANCE, "the curve has to fall for this to mean something"
    assert apart < TOLERANCE
    assert weights < TOLERANCE
    assert outcome.dice == pytest.approx(alone.dice, abs=0.01)


@pytest.mark.slow
def test_a_paused_run_of_two_goes_on_to_a_package(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    wanted = config(cache, tmp_path / "m.medai", steps=60)
    folder = RunFolder(train.run_folder_of(wanted))

    def begun() -> bool:
        return any(event["event"] == "start" for event in folder.events())

    first = train.run(wanted, cancelled=begun)
    assert first.output is None
    assert not (tmp_path / "m.medai").exists()
    paused_at = load_checkpoint(folder.checkpoint, torch.device("cpu"))["step"]
    assert paused_at < 60, "the run was over before it could be paused"
    result = train.run(replace(wanted, resume=True))
    assert result.finished
    assert open_model(tmp_path / "m.medai").card.training.run["steps"] == 60
    steps = [event["step"] for event in folder.events() if event["event"] == "step"]
    assert steps == sorted(set(steps)), "only one process writes the record"


def test_an_error_in_the_processes_reaches_the_caller(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache")
    folder = RunFolder(tmp_path / "run")
    folder.write_settings(SETTINGS)
    (cache.root / "cases" / "case1.labels.npy").unlink()
    started = time.monotonic()
    with pytest.raises(MedAIError, match="case1"):
        train_together(folder, cache, "cpu", False, never_cancelled, no_progress, never_cancelled)
    assert time.monotonic() - started < 120


def test_devices_that_are_not_there_are_refused() -> None:
    check_devices(4, choose_compute("cpu"))
    with pytest.raises(ConfigError, match="mps"):
        check_devices(2, Compute(torch.device("mps"), False, False))
    with pytest.raises(ConfigError, match="cuda:0"):
        check_devices(2, Compute(torch.device("cuda:0"), False, False))
    with pytest.raises(EnvironmentFailure, match="GPUs"):
        check_devices(99, Compute(torch.device("cuda"), False, False))
