from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_phantoms import write_cache

from medai.augmentation import AugmentationSettings
from medai.config.model_card import NetworkSpec
from medai.errors import MedAIError
from medai.progress import Progress, never_cancelled, no_progress
from medai.training import RunFolder, Trainer, TrainingSettings, choose_compute
from medai.training.ema import WeightAverage
from medai.training.validation import dice

NETWORK = {
    "in_channels": 1, "out_channels": 3, "channels": [6, 12], "strides": [[1, 1, 1], [2, 2, 2]],
    "deep_supervision": True,
}  # fmt: skip
SETTINGS = TrainingSettings(
    network=NetworkSpec("unet", NETWORK),
    label_names=("lower", "upper"),
    patch=(16, 16, 16),
    spacing_mm=(1.1, 1.0, 1.2),
    training_cases=("case0", "case1"),
    validation_cases=("case2",),
    steps=6,
    learning_rate=5e-3,
    augmentation=AugmentationSettings(rotation=0, scaling=0, elastic=0, blur=0, low_resolution=0),
)


def trainer(tmp_path: Path, settings: TrainingSettings = SETTINGS) -> tuple[Trainer, list]:
    cache = write_cache(tmp_path / "cache", 3)
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    return Trainer(settings, choose_compute("cpu"), folder), [cache.load(case) for case in cache.card.cases]


@pytest.mark.parametrize(("optimizer", "learning_rate"), [("adamw", 5e-3), ("sgd", 5e-2)])
def test_the_loss_falls(tmp_path: Path, optimizer: str, learning_rate: float) -> None:
    settings = replace(SETTINGS, steps=14, optimizer=optimizer, learning_rate=learning_rate, momentum=0.9)
    run, cases = trainer(tmp_path, settings)
    losses = []
    step = run.train_step
    run.train_step = lambda batch, rate: losses.append(step(batch, rate)) or losses[-1]  # type: ignore[method-assign]
    outcome = run.run(cases[:2], cases[2:], no_progress, never_cancelled)
    assert outcome.finished
    assert torch.stack(losses[-3:]).mean() < 0.85 * torch.stack(losses[:3]).mean()


def test_progress_and_events(tmp_path: Path) -> None:
    run, cases = trainer(tmp_path, replace(SETTINGS, validations=3))
    seen: list[Progress] = []
    run.run(cases[:2], cases[2:], seen.append, never_cancelled)
    assert [round(p.fraction, 3) for p in seen] == [round(n / 6, 3) for n in range(1, 7)]
    events = run.folder.events()
    assert [e["step"] for e in events if e["event"] == "validation"] == [2, 4, 6]
    assert set(events[-2]["dice"]) == {"lower", "upper"}
    assert events[-1]["event"] == "end"


def test_a_step_without_finite_gradient_changes_nothing_and_many_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medai.training.loop._BAD_STEPS", 4)
    run, cases = trainer(tmp_path, replace(SETTINGS, steps=1000))
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    run.loss = lambda outputs, labels: outputs[0].sum() * float("nan")  # type: ignore[assignment]
    with pytest.raises(MedAIError, match="has not been finite"):
        run.run(cases[:2], cases[2:], no_progress, never_cancelled)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.network.state_dict().items())


def test_the_average_follows_the_weights() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = WeightAverage(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(5.0)
        network.running_mean.fill_(3.0)
    average.update(network, 1000)
    assert float(average.network.weight) == pytest.approx(0.9 * 1 + 0.1 * 5)
    assert float(average.network.running_mean) == 3.0
    average.update(network, 0)  # early on the start is forgotten quickly: decay 1/10
    assert float(average.network.weight) == pytest.approx(0.1 * 1.4 + 0.9 * 5)
    assert not average.network.weight.requires_grad


def test_dice_of_masks() -> None:
    import numpy as np

    one, two = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)
    assert dice(one, two) == 0.5
    assert dice(one, one) == 1.0
    assert dice(one, ~one & False) == 0.0
    assert dice(~one & False, ~one & False) is None
