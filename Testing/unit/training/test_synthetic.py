"""Training on painted images: steps by number, resumption, the cooldown, and what a run must not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medai.config.model_card import NetworkSpec
from medai.errors import ConfigError
from medai.losses.sparse_dice import at_every_resolution, dice_and_cross_entropy_of_many
from medai.progress import never_cancelled, no_progress
from medai.synthesis.label_volumes import LabelTable, LabelVolume
from medai.training.precision import choose_compute
from medai.training.run_folder import RunFolder
from medai.training.synthetic import SyntheticSampler, SyntheticSettings, SyntheticTrainer

NETWORK = NetworkSpec(
    "unet",
    {
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "blocks_per_stage": [1, 1],
        "decoder_blocks_per_stage": [1],
        "normalization": "group",
        "residual": True,
        "deep_supervision": True,
    },
)
SETTINGS = SyntheticSettings(
    network=NETWORK,
    label_names=("ball",),
    patch=(16, 16, 16),
    spacing_mm=(2.0, 2.0, 2.0),
    training_cases=("ball",),
    validation_cases=("other",),
    steps=4,
    batch_size=2,
    learning_rate=1e-2,
    warmup_steps=2,
    validation_samples=2,
)


def ball(name: str = "ball") -> LabelVolume:
    axis = np.arange(40) - 20
    square = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    indices = torch.from_numpy((square < 12**2).astype(np.uint8))
    return LabelVolume(name, indices, (1.0, 1.0, 1.0), np.full(3, 20.0), np.full(3, 24.0))


TABLE = LabelTable((0, 1), torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([False] * 2))


def trainer(folder: Path, settings: SyntheticSettings = SETTINGS) -> SyntheticTrainer:
    return SyntheticTrainer(settings, choose_compute("cpu"), RunFolder(folder))


def fit(of: SyntheticTrainer) -> bool:
    held = SyntheticSampler([ball("other")], TABLE, of.settings)
    return of.fit(SyntheticSampler([ball()], TABLE, of.settings), held, no_progress, never_cancelled)


def test_a_batch_follows_from_its_step() -> None:
    sampler = SyntheticSampler([ball()], TABLE, SETTINGS)
    batch, again, other = sampler.batch(3), sampler.batch(3), sampler.batch(4)
    assert batch.images.shape == batch.labels.shape == (2, 1, 16, 16, 16)
    assert batch.labels.dtype == np.int16
    assert np.array_equal(batch.images, again.images)
    assert np.array_equal(batch.labels, again.labels)
    assert not np.array_equal(batch.images, other.images)
    assert not np.array_equal(batch.images[0], batch.images[1])
    with pytest.raises(ConfigError, match="no label map"):
        SyntheticSampler([], TABLE, SETTINGS)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    assert fit(whole)
    first = trainer(tmp_path / "parts", replace(SETTINGS, steps=2))
    assert fit(first)
    second = trainer(tmp_path / "parts")
    second.restore()
    assert second.step == 2
    assert fit(second)
    for mine, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(mine, other)
    for mine, other in zip(whole.average.network.parameters(), second.average.network.parameters(), strict=True):
        assert torch.equal(mine, other)
    events = [event["event"] for event in second.folder.events()]
    assert events.count("validation") >= 1
    assert events[-1] == "end"


def test_a_cancelled_run_leaves_a_checkpoint(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(SETTINGS, steps=100))
    finished = run.fit(SyntheticSampler([ball()], TABLE, SETTINGS), None, no_progress, lambda: run.step >= 1)
    assert not finished
    assert run.step == 1
    again = trainer(tmp_path)
    again.restore()
    assert again.step == 1


def test_numbers_close_to_zero_are_as_before_after_a_training(tmp_path: Path) -> None:
    """With the processor's flush to zero left on, scipy's k-d tree (surface distances) kills the process."""
    run = trainer(tmp_path, replace(SETTINGS, steps=1))
    run.fit(SyntheticSampler([ball()], TABLE, SETTINGS), None, no_progress, never_cancelled)
    assert np.float64(1e-310) * np.float64(0.5) > 0
    assert float(torch.tensor(1e-40) * 0.5) > 0


def test_the_learning_rate_rises_stays_and_falls() -> None:
    settings = replace(SETTINGS, steps=1000, warmup_steps=10, cooldown_from=100, cooldown_steps=50)
    assert settings.rate_at(0) == pytest.approx(1e-3)
    assert settings.rate_at(9) == settings.rate_at(99) == pytest.approx(1e-2)
    assert settings.rate_at(125) == pytest.approx(5e-3)
    assert 0 < settings.rate_at(149) < 3e-4
    assert settings.last_step == 150
    assert replace(settings, cooldown_from=None).last_step == 1000


def test_training_on_painted_balls_learns(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(SETTINGS, steps=30, ema_decay=0.8))
    sampler = SyntheticSampler([ball()], TABLE, run.settings)
    losses = [float(run.train_step(sampler.batch(step), 1e-2)) for step in range(30)]
    assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:4])


def test_the_loss_equals_that_on_one_hot_labels() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, 4, 6, 3, generator=generator)
    labels = torch.randint(0, 4, (2, 4, 6, 3), generator=generator)  # class 4 is not there and does not count
    one_hot = torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).float()
    p = logits.softmax(1)
    axes = (0, 2, 3, 4)
    dice = (2 * (p * one_hot).sum(axes) + 1) / (p.sum(axes) + one_hot.sum(axes) + 1)
    expected = torch.nn.functional.cross_entropy(logits, labels) + 1 - dice[:4].mean()
    assert dice_and_cross_entropy_of_many(logits, labels) == pytest.approx(float(expected), rel=1e-5)
    same = at_every_resolution([logits], labels)
    assert float(same) == pytest.approx(float(expected), rel=1e-5)
    coarse = torch.randn(2, 5, 2, 3, 3, generator=generator)
    both = at_every_resolution([logits, coarse], labels)
    thin = dice_and_cross_entropy_of_many(coarse, labels[:, ::2, ::2])
    assert float(both) == pytest.approx((2 * float(expected) + float(thin)) / 3, rel=1e-5)
