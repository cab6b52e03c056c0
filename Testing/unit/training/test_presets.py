"""From options to settings; frames of a sequence; what a run would cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_phantoms import write_cache

from medai import train
from medai.config.model_card import InputSpec, NetworkSpec
from medai.config.training import TrainConfig
from medai.errors import ConfigError, DatasetError
from medai.training import TrainingSettings, choose_compute
from medai.training.estimate import measure, validation_seconds
from medai.training.presets import frames_of, plan_for, settings_for

CPU = torch.device("cpu")


def settings(root: Path, **options) -> TrainingSettings:
    cache = write_cache(root)
    config = TrainConfig(dataset=str(root), output="m.medai", device="cpu", preset="quick", **options)
    return settings_for(cache, plan_for(cache, config, CPU), config, 0, choose_compute("cpu"))


def test_every_option_of_the_method_arrives(tmp_path: Path) -> None:
    found = settings(
        tmp_path / "c", loss="tversky", optimizer="sgd", momentum=0.7, weight_decay=0.5, learning_rate=0.1,
        foreground_fraction=0.9, rotation_degrees=7.0, augmentation={"noise": 0.5, "mirror": [False, True, False]},
        batch_size=3, patch=(16, 16, 16), width=8, depth=2, blocks="residual", epochs=10,
    )  # fmt: skip
    assert (found.loss, found.optimizer, found.momentum, found.weight_decay) == ("tversky", "sgd", 0.7, 0.5)
    assert (found.learning_rate, found.foreground_fraction, found.batch_size) == (0.1, 0.9, 3)
    assert found.augmentation.rotation_degrees == (7.0, 7.0, 7.0)
    assert found.augmentation.noise == 0.5
    assert found.augmentation.mirror == (False, True, False)
    assert found.patch == (16, 16, 16)
    assert found.steps == 10  # ten passes over three cases, three patches a step
    arguments = found.network.arguments
    assert (len(arguments["channels"]), arguments["channels"][-1], arguments["residual"]) == (2, 16, True)


def test_no_options_give_the_settings_that_they_gave_before(tmp_path: Path) -> None:
    found = settings(tmp_path / "c")
    assert (found.loss, found.steps, found.optimizer, found.learning_rate) == ("dice_ce", 1500, "adamw", 2e-3)
    assert not {"block", "residual", "fusion", "frames"} & set(found.network.arguments)


def test_a_wrong_augmentation_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="augmentation"):
        settings(tmp_path / "c", augmentation={"rain": 1.0})


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        (["cine t-1", "cine t", "cine t+1"], 3),
        (["t-2", "t-1", "t", "t+1", "t+2"], 5),
        (["cine t", "cine t+1", "cine t+2"], 1),  # the labelled frame is in the middle
        (["cine t+1", "cine t", "cine t-1"], 1),
        (["a t-1", "b t", "a t+1"], 1),
        (["T1", "T2", "FLAIR"], 1),
        (["cine t"], 1),
    ],
)
def test_frames_are_told_by_their_names(names: list[str], frames: int) -> None:
    assert frames_of([InputSpec(name) for name in names]) == frames


def test_a_plan_says_what_a_run_would_do(tmp_path: Path) -> None:
    root = write_cache(tmp_path / "c").root
    config = TrainConfig(dataset=str(root), output="", device="cpu", preset="quick", width=8, blocks="separable")
    plan, plain = train.plan_summary(config), train.plan_summary(replace(config, blocks=None))
    assert (plan.patch, plan.depth, plan.width, plan.steps, plan.folds) == ((20, 20, 24), 3, 8, 1500, 1)
    assert (plan.blocks, plan.labels, plan.inputs) == ("separable", ("lower", "upper"), ("image",))
    assert plan.parameters < 0.7 * plain.parameters
    assert plan.expected_minutes > 0
    assert set(plan.preset_minutes) == {"quick", "standard", "best"}
    # Eight times the steps and no more validations; five folds of forty times.
    assert 4 < plan.preset_minutes["standard"] / plan.preset_minutes["quick"] <= 8.5  # of tenths of minutes
    limited = train.plan_summary(replace(config, max_minutes=0.01))
    assert limited.expected_minutes == 0.01
    assert not any(path.name.startswith("progress") for path in tmp_path.rglob("*")), "a plan writes nothing"


def test_memory_grows_with_patch_and_batch_as_counted_on_small_ones(tmp_path: Path) -> None:
    small = settings(tmp_path / "c", patch=(16, 16, 16), width=8, batch_size=2)
    compute = choose_compute("cpu")
    one, two = measure(small, compute), measure(replace(small, batch_size=4), compute)
    fixed = 4 * 5 * one.parameters / 2**20  # weights, gradients, two moments, average
    assert (two.memory_mb - fixed) == pytest.approx(2 * (one.memory_mb - fixed), rel=0.05)
    # At least the outputs of the two convolutions at full resolution and their norms, for two samples.
    assert one.memory_mb - fixed > 2 * 16**3 * 8 * 4 * 4 / 2**20
    large = measure(replace(small, patch=(64, 64, 64), network=small.network), compute)
    assert (large.memory_mb - fixed) == pytest.approx(64 * (one.memory_mb - fixed), rel=0.35)
    assert validation_seconds(small, one, [(16, 16, 16)]) < validation_seconds(small, one, [(40, 40, 40)])


def test_there_is_no_plan_without_a_data_set_or_for_a_classifier(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no data set"):
        train.plan_summary(TrainConfig(dataset=str(tmp_path / "none"), output=""))
    with pytest.raises(ConfigError, match="classification"):
        train.plan_summary(TrainConfig(dataset=str(tmp_path), output="", task="classification"))


def test_blocks_are_of_our_own_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dynunet"):
        settings(tmp_path / "c", network="dynunet", blocks="residual")
    assert settings(tmp_path / "d", network="dynunet").network == NetworkSpec(
        "dynunet", settings(tmp_path / "e", network="dynunet").network.arguments
    )
