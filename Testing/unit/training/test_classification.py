"""The loop with class labels: it learns, goes on exactly after an interruption, and stops early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medai.augmentation import AugmentationSettings, augment_inputs
from medai.config.model_card import NetworkSpec
from medai.errors import ConfigError
from medai.progress import never_cancelled, no_progress
from medai.training import RunFolder, choose_compute
from medai.training.classification import (
    ClassificationSettings,
    ClassificationTrainer,
    InputSampler,
    LabelledInputs,
    balanced_weights,
    with_steps,
)

QUIET = AugmentationSettings(
    rotation=0, scaling=0, elastic=0, noise=0, blur=0, brightness=0, contrast=0, low_resolution=0, gamma=0,
    gamma_inverted=0, bias_field=0, mirror=(False, False, True),
)  # fmt: skip


def blobs(n: int, seed: int) -> LabelledInputs:
    """Noise of 12 x 12 in which class 1 has a bright square somewhere."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 0.5, (n, 1, 1, 12, 12)).astype(np.float32)
    labels = np.arange(n) % 2
    for row in np.flatnonzero(labels):
        j, i = rng.integers(0, 8, 2)
        inputs[row, 0, 0, j : j + 4, i : i + 4] += 2.0
    return LabelledInputs(inputs, labels.astype(np.int64))


def settings(**changes: Any) -> ClassificationSettings:
    network = NetworkSpec("seed_cnn_any", {"classes": 2, "widths": [4, 8], "grid": 2})
    plain = ClassificationSettings(
        network=network, label_names=("without", "with"), patch=(1, 12, 12), spacing_mm=(1.0, 1.0, 1.0),
        training_cases=tuple(map(str, range(64))), validation_cases=tuple(map(str, range(40))), steps=40,
        batch_size=16, learning_rate=5e-3, ema_decay=0.8, validations=5, augmentation=QUIET,
    )  # fmt: skip
    return replace(plain, **changes)


def trainer(folder: Path, **changes: Any) -> ClassificationTrainer:
    run = RunFolder(folder)
    run.write_settings(settings(**changes))
    return ClassificationTrainer(settings(**changes), choose_compute("cpu"), run)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_learns(tmp_path: Path, optimizer: str) -> None:
    rate = 5e-3 if optimizer == "adamw" else 5e-2
    outcome = trainer(
        tmp_path, optimizer=optimizer, momentum=0.9, learning_rate=rate, label_smoothing=0.02, mixup=0.1
    ).fit(blobs(64, 0), blobs(40, 1), no_progress, never_cancelled)
    assert outcome.finished
    assert outcome.steps == 40
    assert outcome.dice["auc"] > 0.95
    events = {event["event"] for event in RunFolder(tmp_path).events()}
    assert events >= {"step", "validation", "checkpoint", "end"}


def test_a_stopped_run_goes_on_exactly(tmp_path: Path) -> None:
    data, watched = blobs(64, 0), blobs(40, 1)
    changes: dict[str, Any] = {"steps": 12, "early_stopping": 9, "mixup": 0.2}
    unbroken = trainer(tmp_path / "a", **changes).fit(data, watched, no_progress, never_cancelled)
    stopped = trainer(tmp_path / "b", **changes)
    calls = iter(range(100))
    first = stopped.fit(data, watched, no_progress, lambda: next(calls) > 7)
    assert not first.finished
    assert 0 < first.steps < 12
    resumed = trainer(tmp_path / "b", **changes)
    resumed.restore()
    second = resumed.fit(data, watched, no_progress, never_cancelled)
    assert second.steps == 12
    for name, tensor in unbroken.weights.items():
        torch.testing.assert_close(second.weights[name], tensor, rtol=0, atol=0)


def test_it_stops_early_and_takes_the_best_weights(tmp_path: Path) -> None:
    data = blobs(64, 0)
    wrong = LabelledInputs(data.inputs[:40], np.random.default_rng(0).integers(0, 2, 40))
    run = trainer(tmp_path, steps=400, validations=100, early_stopping=3)
    outcome = run.fit(data, wrong, no_progress, never_cancelled)
    assert outcome.finished
    assert outcome.steps < 400
    for name, tensor in run.best["weights"].items():
        torch.testing.assert_close(outcome.weights[name], tensor, rtol=0, atol=0)


def test_every_case_is_drawn_once_in_a_pass() -> None:
    data = LabelledInputs(np.arange(21, dtype=np.float32).reshape(21, 1, 1, 1, 1), np.zeros(21, np.int64))
    sampler = InputSampler(data, settings(batch_size=7))
    first = [sampler.batch(step).images.ravel() for step in range(3)]
    assert sorted(np.concatenate(first)) == list(range(21))
    second = [sampler.batch(step).images.ravel() for step in range(3, 6)]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(sampler.batch(1).images.ravel(), first[1])


def test_class_weights_and_steps() -> None:
    assert balanced_weights([0, 0, 0, 1], 2) == pytest.approx((4 / 6, 2.0), abs=1e-5)
    assert with_steps(settings(batch_size=16), 3).steps == 12
    with pytest.raises(ConfigError, match="class_weights"):
        settings(class_weights=(1.0,))
    with pytest.raises(ConfigError, match="label_smoothing"):
        settings(label_smoothing=1.0)


def test_masks_are_moved_and_stay_binary() -> None:
    x = torch.zeros(6, 2, 9, 12, 10)
    x[:, :, 3:6, 4:8, 3:7] = 1.0
    strong = AugmentationSettings(
        rotation=1.0, scaling=1.0, elastic=1.0, shift=1.0, shift_range=0.2, noise=1.0, brightness=1.0, gamma=1.0
    )
    y = augment_inputs(x, (1.0, 1.0, 1.0), (False, True), strong, torch.Generator().manual_seed(0))
    assert set(y[:, 1].unique().tolist()) == {0.0, 1.0}
    assert len(y[:, 0].unique()) > 100
    assert not torch.equal(y[:, 1], x[:, 1])
    again = augment_inputs(x, (1.0, 1.0, 1.0), (False, True), strong, torch.Generator().manual_seed(0))
    torch.testing.assert_close(y, again, rtol=0, atol=0)


def test_flips_alone_interpolate_nothing() -> None:
    x = torch.rand(8, 1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    y = augment_inputs(x, (1.0, 1.0, 1.0), (False,), QUIET, torch.Generator().manual_seed(2))
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(x, y, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(x, y, strict=True)]
    assert all(a or b for a, b in zip(flipped, kept, strict=True))
    assert any(flipped)
    assert any(kept)
