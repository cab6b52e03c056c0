"""Fine-tuning from a package: a head start, the frozen encoder, and what the new card says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training_phantoms import write_cache, write_dataset

from medai import train
from medai.config.training import TrainConfig
from medai.errors import ConfigError
from medai.models import open_model


def config(dataset: Path, output: Path, **options) -> TrainConfig:
    defaults = {"preset": "quick", "device": "cpu", "steps": 3, "seed": 3}
    return TrainConfig(dataset=str(dataset), output=str(output), **{**defaults, **options})


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 'lower' and 'upper', trained for a little, under a share-alike licence."""
    folder = tmp_path_factory.mktemp("parent")
    cache = write_cache(folder / "cache").root
    train.run(config(cache, folder / "parent.medai", steps=60, width=8, learning_rate=5e-3, licence="CC-BY-SA-4.0"))
    return folder / "parent.medai"


def test_fine_tuning_goes_on_from_where_the_parent_is(parent: Path, tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    child = train.run(config(cache, tmp_path / "child.medai", finetune_from=str(parent), learning_rate=1e-6, steps=1))
    old, card = open_model(parent).card, open_model(tmp_path / "child.medai").card
    assert child.mean_dice == pytest.approx(old.training.metrics["mean_dice"], abs=0.02)
    assert child.mean_dice > 0.5
    assert card.parents == ("parent 1.0.0",)
    assert card.licence == "CC-BY-SA-4.0"
    assert card.spacing_mm == old.spacing_mm
    assert card.patch == old.patch
    assert [data.cases for data in card.training.data] == [4, 4]  # the parent's data set and the new one


def test_other_labels_and_a_frozen_encoder(parent: Path, tmp_path: Path) -> None:
    """A raw data set on which both labels have other names: the head starts anew, the encoder stays as it was."""
    data = write_dataset(tmp_path / "balls", 4)
    train.run(config(data, tmp_path / "c.medai", finetune_from=str(parent), freeze_encoder=True, licence=""))
    package, old = open_model(tmp_path / "c.medai"), open_model(parent)
    assert [label.name for label in package.card.labels] == ["label 1", "label 2"]
    assert package.card.inputs == old.card.inputs
    new, before = package.weights(0), old.weights(0)
    assert all(torch.equal(new[name], before[name]) for name in before if name.startswith("encoder."))
    changed = [name for name in before if not torch.equal(new[name], before[name])]
    assert "heads.0.weight" in changed
    assert any(name.startswith("decoder.") for name in changed)


def test_what_does_not_fit_the_parent_is_said(parent: Path, tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    start = {"finetune_from": str(parent)}
    for options, named in (
        ({"width": 16}, "brings its own network"),
        ({"blocks": "residual"}, "brings its own network"),
        ({"spacing_mm": (2.0, 2.0, 2.0)}, "was trained with"),
        ({"patch": (10, 10, 9)}, "multiples of"),
        ({"licence": "MIT"}, "cannot be under MIT"),
    ):
        with pytest.raises(ConfigError, match=named):
            train.run(config(cache, tmp_path / "m.medai", run_folder=str(tmp_path / named[:5]), **start, **options))
    flat = write_cache(tmp_path / "flat", shape=(1, 20, 22)).root
    with pytest.raises(ConfigError, match="volumes, the data set has 2D images"):
        train.run(config(flat, tmp_path / "m.medai", run_folder=str(tmp_path / "flat.run"), **start))
    data = json.loads((cache / "dataset.json").read_text())
    data["inputs"][0]["normalization"]["name"] = "minmax"
    (cache / "dataset.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="normalised otherwise"):
        train.run(config(cache, tmp_path / "n.medai", **start))
