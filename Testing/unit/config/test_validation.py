"""JSON <-> dataclass: what is taken, what is refused, and whether the error says where."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medai.config import from_json, read_json, to_json
from medai.config.segment import SegmentConfig
from medai.config.training import Plan, TrainConfig
from medai.errors import ConfigError
from medai.image import Roi


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class Inner:
    count: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    side: Side = Side.LEFT
    choice: Literal["a", 1] = "a"
    folder: Path | None = None
    either: int | str | None = None
    numbers: list[int] = field(default_factory=list)
    table: dict[str, Inner] = field(default_factory=dict)
    free: Any = None
    flag: bool = False


FULL = {
    "name": "n", "inner": {"count": 1}, "many": [{"count": 2, "share": 1}], "pair": [3, 4],
    "side": "right", "choice": 1,
    "folder": "x/y", "either": "text", "numbers": [1, 2], "table": {"k": {"count": 5}}, "free": {"a": [None]},
    "flag": True,
}  # fmt: skip


def test_everything_is_converted_and_comes_back():
    value = from_json(Outer, FULL)
    assert value.many == (Inner(2, 1.0),)
    assert value.pair == (3, 4.0)
    assert value.side is Side.RIGHT
    assert value.folder == Path("x/y")
    assert value.table == {"k": Inner(5)}
    assert from_json(Outer, to_json(value)) == value


def test_defaults_and_null():
    value = from_json(Outer, {"name": "n", "inner": {"count": 1}, "folder": None, "either": None})
    assert value == Outer("n", Inner(1))
    assert "folder" not in to_json(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 5}, "config: name: 5 is not a text"),
        ({"name": None}, "config: name: None is not a text"),
        ({"inner": []}, "config: inner: [] is not an object"),
        ({"inner": {}}, "config: inner: the key 'count' is missing"),
        ({"inner": {"count": 1, "x": 2}}, "config: inner: unknown key 'x'"),
        ({"inner": {"count": True}}, "config: inner.count: True is not a whole number"),
        ({"inner": {"count": 1.5}}, "config: inner.count: 1.5"),
        ({"inner": {"count": 1, "share": float("inf")}}, "config: inner.share: inf is not a finite number"),
        ({"inner": {"count": 1, "share": False}}, "config: inner.share: False"),
        ({"many": [{"count": 1}, {"count": "2"}]}, "config: many[1].count: '2'"),
        ({"many": {"count": 1}}, "config: many: {'count': 1} is not a list"),
        ({"pair": [1]}, "config: pair: [1] is not a list of 2"),
        ({"side": "top"}, "config: side: 'top' is not one of 'left', 'right'"),
        ({"choice": True}, "config: choice: True is not one of"),
        ({"folder": 3}, "config: folder: 3 is not a path"),
        ({"either": []}, "config: either: [] is not"),
        ({"numbers": [1, "2"]}, "config: numbers[1]: '2'"),
        ({"table": {"k": {"count": None}}}, "config: table.k.count: None is not a whole number"),
        ({"flag": 1}, "config: flag: 1 is not true or false"),
        ({"nme": "n"}, "config: unknown key 'nme'"),
    ],
)
def test_errors_say_where_what_and_how(change, message):
    with pytest.raises(ConfigError) as caught:
        from_json(Outer, FULL | change, "config:")
    assert caught.value.message.startswith(message)
    assert caught.value.remedy


def test_long_values_are_cut():
    with pytest.raises(ConfigError) as caught:
        from_json(Inner, {"count": "x" * 10_000})
    assert len(caught.value.message) < 150


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*FULL, "count"]), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_any_json_gives_a_value_or_a_config_error(data):
    try:
        value = from_json(Outer, data, "x:")
    except ConfigError:
        return  # any other error fails the test
    assert isinstance(value, Outer)


def test_integers_that_are_too_large_for_a_float_are_refused():
    with pytest.raises(ConfigError, match="is not a finite number"):
        from_json(Inner, {"count": 1, "share": 10**400})


def test_json_files(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ConfigError, match=r"Cannot read '.*x\.json'"):
        read_json(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_json(path)
    path.write_text('{\n"a": 1,\n}')
    with pytest.raises(ConfigError, match="line 3"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="nested"):
        read_json(path)
    path.write_text('{"a": "ä"}', encoding="utf-8")
    assert read_json(path) == {"a": "ä"}


def test_segment_config():
    config = from_json(SegmentConfig, {"roi": {"center_ras": [1, 2, 3], "size_mm": [4, 5, 6]}, "labels": ["a"]})
    assert config.roi == Roi((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert from_json(SegmentConfig, to_json(config)) == config
    with pytest.raises(ConfigError, match="precision: 'quick'"):
        from_json(SegmentConfig, {"precision": "quick"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation_fraction": 0.0}, "validation_fraction is 0.0"),
        ({"max_minutes": -1}, "max_minutes is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"folds": 2, "fold": 2}, "fold 2 of 2 folds"),
        ({"folds": -1}, "-1"),
    ],
)
def test_train_config(change, message):
    data = {"dataset": "d", "output": "m.medai"}
    assert from_json(TrainConfig, data).folds == 1
    with pytest.raises(ConfigError, match=message):
        from_json(TrainConfig, data | change)


def test_plan_comes_back():
    data = {
        "inputs": [{"name": "T1"}], "spacing_mm": [1, 1, 1], "patch": [8, 8, 8], "batch_size": 2,
        "network": {"name": "unet", "arguments": {"channels": [4, 8]}}, "notes": ["a"],
    }  # fmt: skip
    plan = from_json(Plan, data)
    assert plan.spacing_mm == (1.0, 1.0, 1.0)
    assert from_json(Plan, to_json(plan)) == plan
