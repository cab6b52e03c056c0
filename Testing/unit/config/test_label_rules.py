"""The parts of a card that tidy up, sum and judge a segmentation."""

from __future__ import annotations

from typing import Any

import pytest

from medai.config import from_json, to_json
from medai.config.label_rules import PlausibilitySpec, PostprocessingStep, QualitySpec, TotalSpec
from medai.config.model_card import ModelCard
from medai.errors import ConfigError


def card(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "id": "a",
        "version": "1.0",
        "title": "A",
        "task": "segment",
        "network": {"name": "unet", "arguments": {}},
        "weights": [{"file": "weights-0.safetensors", "sha256": "0" * 64}],
        "inputs": [{"name": "MR"}],
        "licence": "Apache-2.0",
        "spacing_mm": [1, 1, 1],
        "patch": [32, 32, 32],
        "labels": [
            {"value": 3, "name": "cortex", "color": [1, 0, 0]},
            {"value": 9, "name": "white", "color": [0, 1, 0]},
        ],
        **changes,
    }


def test_a_card_keeps_its_rules() -> None:
    data = card(
        postprocessing=[
            {"step": "largest_component", "labels": ["cortex"], "share": 0.2},
            {"step": "fill_holes", "together": True},
        ],
        totals=[{"name": "brain"}, {"name": "grey", "labels": ["cortex"]}],
        quality={"certainty": [0.5, 0.9], "dice": [0.2, 0.8], "low": 0.5},
        plausibility={"volumes_ml": {"brain": [900, 2000.5], "white": [200, 700]}, "share": 0.3},
    )
    read = from_json(ModelCard, data)
    assert read.postprocessing == (
        PostprocessingStep("largest_component", ("cortex",), share=0.2),
        PostprocessingStep("fill_holes", together=True),
    )
    assert read.totals == (TotalSpec("brain"), TotalSpec("grey", ("cortex",)))
    assert read.plausibility == PlausibilitySpec({"brain": (900, 2000.5), "white": (200, 700)}, 0.3)
    assert from_json(ModelCard, to_json(read)) == read


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"postprocessing": [{"step": "fill_holes", "labels": ["gray"]}]}, "gray"),
        ({"postprocessing": [{"step": "open"}]}, "open"),
        ({"postprocessing": [{"step": "fill_holes", "share": 0}]}, "share"),
        ({"totals": [{"name": "brain", "labels": ["white", "csf"]}]}, "csf"),
        ({"totals": [{"name": "white"}]}, "white"),
        ({"totals": [{"name": "brain"}, {"name": "brain"}]}, "brain"),
        ({"quality": {"certainty": [0.5, 0.5], "dice": [0.1, 0.2]}}, "rise"),
        ({"quality": {"certainty": [0.5, 0.6], "dice": [0.3, 0.2]}}, "fall"),
        ({"quality": {"certainty": [0.5, 0.6], "dice": [0.3]}}, "quality"),
        ({"quality": {"certainty": [0.5, 1.6], "dice": [0.3, 0.4]}}, "certainty"),
        ({"quality": {"low": 2}}, "low"),
        ({"plausibility": {"volumes_ml": {"brain": [1, 2]}}}, "brain"),
        ({"plausibility": {"volumes_ml": {"white": [2, 1]}}}, "white"),
        ({"plausibility": {"share": 1.0}}, "share"),
    ],
)
def test_wrong_rules_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        from_json(ModelCard, card(**changes))


def test_the_expected_dice_follows_the_points_and_stays_at_the_ends() -> None:
    quality = QualitySpec((0.2, 0.6, 0.8), (0.1, 0.5, 0.9))
    assert [quality.expected_dice(x) for x in (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 1.0)] == pytest.approx(
        [0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9]
    )
