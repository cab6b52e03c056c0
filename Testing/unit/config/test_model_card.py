"""The card of docs/model-format.md, and cards that are wrong."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path

import pytest

from medai.config import from_json, to_json
from medai.config import model_card as parts
from medai.config.model_card import ModelCard, load_card
from medai.errors import ConfigError
from medai.preprocessing.normalization import NORMALIZATIONS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "model-format.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture
def example(page) -> dict:
    """The JSON example of the page, fresh for every test."""
    found = re.findall(r"```json model\.json\n(.*?)```", page, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def test_the_example_is_a_card_and_shows_what_the_page_says(example):
    card = from_json(ModelCard, example, "model.json:")
    assert card.label_scheme().names == ("anterior hippocampus", "posterior hippocampus")
    assert card.labels[0].terminology is not None
    assert card.labels[0].terminology.type.meaning == "Hippocampus"
    assert card.inputs[0].normalization.name == "zscore"
    assert from_json(ModelCard, to_json(card)) == card
    assert from_json(ModelCard, json.loads(json.dumps(to_json(card)))) == card


def test_the_example_builds_its_network(example):
    torch = pytest.importorskip("torch")
    from medai.networks import build_network

    network = build_network(example["network"]["name"], example["network"]["arguments"]).eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, len(example["inputs"]), 8, 16, 16))
    assert logits.shape == (1, 1 + len(example["labels"]), 8, 16, 16)


def test_the_page_names_every_key(page):
    kinds = [
        kind for kind in vars(parts).values() if dataclasses.is_dataclass(kind) and kind.__module__ == parts.__name__
    ]
    assert ModelCard in kinds
    for kind in kinds:
        for field in dataclasses.fields(kind):
            assert re.search(rf"\b{field.name}\b", page), f"{kind.__name__}.{field.name} is not on the page"


def test_the_page_names_every_normalisation(page):
    table = page.partition("## Normalisation")[2].partition("## Order")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(NORMALIZATIONS)


@pytest.mark.parametrize(
    "key",
    ["format", "id", "version", "title", "task", "network", "weights", "inputs", "licence", "spacing_mm", "patch"],
)
def test_required_keys(example, key):
    del example[key]
    with pytest.raises(ConfigError, match=f"'{key}' is missing"):
        from_json(ModelCard, example, "model.json:")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 1.0, "model.json: format: 1.0 is not a whole number"),
        (("format",), True, "model.json: format: True is not a whole number"),
        (("id",), "Has Spaces", "id is 'Has Spaces'"),
        (("id",), "../up", "id is '../up'"),
        (("task",), "guess", "model.json: task: 'guess' is not one of"),
        (("orientation",), "LPS", "orientation is 'LPS'"),
        (("spacing_mm",), [1, 1], "model.json: spacing_mm: [1, 1] is not a list of 3"),
        (("spacing_mm", 1), float("nan"), "model.json: spacing_mm[1]: nan is not a finite number"),
        (("spacing_mm", 1), 0, "is not positive"),
        (("patch", 0), 0, "is not positive"),
        (("patch", 0), 8.0, "model.json: patch[0]: 8.0 is not a whole number"),
        (("weights",), [], "weights or inputs is empty"),
        (("weights", 0, "sha256"), "abc", "'abc' is not a sha256"),
        (("weights", 0, "file"), "a/b", "model.json: weights[0]: 'a/b' is not a plain file name"),
        (("weights", 0, "dtype"), "int8", "model.json: weights[0].dtype: 'int8' is not one of"),
        (("inputs", 0, "normalization", "name"), "x", "model.json: inputs[0].normalization.name: 'x'"),
        (("inputs", 0, "normalization", "low"), "1", "model.json: inputs[0].normalization.low: '1'"),
        (("inputs", 0, "colour"), "x", "model.json: inputs[0]: unknown key 'colour'"),
        (("labels",), [], "labels is empty"),
        (("labels", 0, "value"), 0, "has the value 0"),
        (("labels", 0, "value"), 70000, "has the value 70000"),
        (("labels", 0, "value"), 2, "same value: [2]"),
        (("labels", 0, "name"), " ", "has no name"),
        (("labels", 0, "color"), [0, 0, 255], "has the colour"),
        (("labels", 0, "terminology", "type", "value"), 5, "model.json: labels[0].terminology.type.value: 5"),
        (("training", "data", 0, "cases"), "160", "model.json: training.data[0].cases: '160'"),
    ],
)
def test_wrong_values_are_named_by_their_path(example, path, value, message):
    changed = copy.deepcopy(example)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ConfigError) as caught:
        from_json(ModelCard, changed, "model.json:")
    assert message in caught.value.message
    assert caught.value.remedy


def test_a_classifier_needs_classes(example):
    example |= {"task": "classify", "labels": []}
    with pytest.raises(ConfigError, match="fewer than two"):
        from_json(ModelCard, example)
    example["classes"] = [{"name": "healthy"}, {"name": "ill"}]
    assert from_json(ModelCard, example).classes[1].name == "ill"


def test_load_card_from_file_and_folder(tmp_path, example):
    (tmp_path / "model.json").write_text(json.dumps(example), encoding="utf-8")
    assert load_card(tmp_path) == load_card(tmp_path / "model.json")
    (tmp_path / "model.json").write_text(json.dumps(example | {"id": 3}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"model\.json: id: 3 is not a text"):
        load_card(tmp_path)
