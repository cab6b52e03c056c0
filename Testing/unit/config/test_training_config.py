"""Options of a training: what cannot be meant is refused, what is left out follows from the preset."""

from __future__ import annotations

import json

import pytest

from medai.config import from_json, to_json
from medai.config.training import PlanSummary, TrainConfig
from medai.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"rotation_degrees": 181.0}, "rotation_degrees"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "spacing_mm"),
        ({"patch": (0, 8, 8)}, "patch"),
        ({"depth": 1}, "depth is 1"),
        ({"foreground_fraction": 1.0}, "foreground_fraction"),
        ({"freeze_encoder": True}, "never trained"),
        ({"gpus": 0}, "gpus is 0"),
        ({"folds": 3, "fold": 3}, "fold 3 of 3"),
        ({"task": "classification", "blocks": "residual"}, "blocks is of segmentation"),
        ({"task": "classification", "gpus": 2}, "gpus is 2"),
        ({"task": "classification", "loss": "dice"}, "loss is 'dice'"),
    ],
)
def test_options_that_cannot_be_meant_are_named(options: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrainConfig(dataset="d", output="o", **options)


def test_best_is_an_ensemble_of_five_unless_it_is_said_otherwise() -> None:
    def folds(**options) -> int:
        return TrainConfig(dataset="d", output="o", **options).folds

    assert folds(preset="best") == 5
    assert folds(preset="best", folds=2) == 2
    assert folds(preset="best", folds=1) == 1
    assert folds(preset="standard") == 1
    assert folds(preset="best", task="classification") == 1


def test_configurations_survive_json() -> None:
    config = TrainConfig(
        dataset="d", output="o", loss="focal", blocks="dynamic", spacing_mm=(3.0, 1.0, 1.0), augmentation={"noise": 0.1}
    )
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(config)))) == config
    with pytest.raises(ConfigError, match="blocks"):
        from_json(TrainConfig, {"dataset": "d", "output": "o", "blocks": "transformer"})


def test_what_a_plan_names_is_named_as_the_option_is() -> None:
    """What a person changes in a plan goes back into the configuration under the same name."""
    facts = {"parameters", "device", "cases", "inputs", "labels", "notes", "preset_minutes", "expected_memory_mb",
             "expected_minutes", "seconds_per_step"}  # fmt: skip
    known = set(TrainConfig.__dataclass_fields__)
    assert set(PlanSummary.__dataclass_fields__) - facts <= known | {"device"}
