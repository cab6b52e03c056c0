"""Strict JSON <-> dataclass conversion with the standard library only.

The Slicer side reads model cards before any environment exists, so no validation library can be used here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from medai.errors import ConfigError

T = TypeVar("T")


def from_json(cls: type[T], data: Any, where: str = "") -> T:
    """Build the dataclass `cls` from parsed JSON; `where` names the source in errors (``"model.json:"``).

    Strict: unknown keys, missing keys, wrong types, values outside a `Literal` or enumeration, NaN and infinity each
    raise ConfigError with the path (``model.json: inputs[0].normalization.name``), the value and the remedy. Integers
    are taken for floats, never the other way round; booleans are never numbers. Lists become tuples where the field is
    a tuple.
    """
    result: T = _convert(cls, data, where or cls.__name__)
    return result


def to_json(value: Any) -> Any:
    """Plain data (dict, list, str, numbers, None) of a dataclass; fields whose value is None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: to_json(item) for name, item in items if item is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def read_json(path: Path) -> Any:
    """Parse a UTF-8 JSON file; ConfigError names the file, and the line of a syntax error."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read '{path}': {error.strerror or error}.", "Check the path and permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is not UTF-8 text.", "Save it as UTF-8 JSON.") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"'{path}' is not JSON: {error.msg}, line {error.lineno}.", "Correct that line.") from error
    except RecursionError as error:
        raise ConfigError(f"'{path}' is nested too deeply to be read.", "Give plain JSON data.") from error


def _convert(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return data
    if origin is typing.Union or origin is types.UnionType:
        return _convert_union(kind, data, where)
    if origin is typing.Literal:
        return _one_of(typing.get_args(kind), data, where)
    if origin is typing.Annotated:
        return _convert(typing.get_args(kind)[0], data, where)
    if origin in (tuple, list):
        return _convert_sequence(kind, data, where)
    if origin is dict or kind is dict:
        return _convert_mapping(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_one_of(tuple(member.value for member in kind), data, where))
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(typing.cast(type, kind), data, where)
    return _convert_scalar(kind, data, where)


def _convert_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, data, "an object")
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ConfigError(
            f"{where.rstrip(':')}: unknown key '{unknown[0]}'.", f"Known keys: {', '.join(sorted(fields))}."
        )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], _join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            if type(None) in typing.get_args(hints[name]):  # `to_json` leaves None out
                values[name] = None
                continue
            raise ConfigError(f"{where.rstrip(':')}: the key '{name}' is missing.", "Add it.")
    try:
        return cls(**values)
    except ConfigError as error:
        if error.message.startswith(where):
            raise
        raise ConfigError(f"{where.rstrip(':')}: {error.message}", error.remedy) from error


def _convert_union(kind: Any, data: Any, where: str) -> Any:
    options = typing.get_args(kind)
    if data is None:
        if type(None) in options:
            return None
        raise _wrong(where, data, "a value")
    options = tuple(option for option in options if option is not type(None))
    failures = []
    for option in options:
        try:
            return _convert(option, data, where)
        except ConfigError as error:
            failures.append(error)
    # The error that got deepest into the data is the one that helps.
    raise max(failures, key=lambda error: len(error.message.partition(" ")[0]))


def _convert_sequence(kind: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if not isinstance(data, list | tuple):
        raise _wrong(where, data, "a list")
    if origin is list or (len(args) == 2 and args[1] is Ellipsis):
        item_kinds: tuple[Any, ...] = (args[0],) * len(data)
    else:
        item_kinds = args
        if len(data) != len(args):
            raise _wrong(where, list(data), f"a list of {len(args)}")
    items = [_convert(k, item, f"{where}[{n}]") for n, (k, item) in enumerate(zip(item_kinds, data, strict=True))]
    return items if origin is list else tuple(items)


def _convert_mapping(kind: Any, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _wrong(where, data, "an object")
    args = typing.get_args(kind)
    value_kind = args[1] if args else Any
    return {str(k): _convert(value_kind, v, _join(where, str(k))) for k, v in data.items()}


def _convert_scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is float:
        try:
            number = math.nan if isinstance(data, bool) or not isinstance(data, int | float) else float(data)
        except OverflowError:  # JSON's integers have any length
            number = math.inf
        if not math.isfinite(number):
            raise _wrong(where, data, "a finite number")
        return number
    if kind is int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise _wrong(where, data, "a whole number")
        return data
    if kind is bool and not isinstance(data, bool):
        raise _wrong(where, data, "true or false")
    if kind is str and not isinstance(data, str):
        raise _wrong(where, data, "a text")
    if kind is Path:
        if not isinstance(data, str | Path):
            raise _wrong(where, data, "a path")
        return Path(data)
    if kind is type(None) and data is not None:
        raise _wrong(where, data, "null")
    if kind not in (bool, str, type(None)):
        raise TypeError(f"{where}: no conversion from JSON to {kind!r}")
    return data


def _one_of(choices: tuple[Any, ...], data: Any, where: str) -> Any:
    if not any(data == choice and type(data) is type(choice) for choice in choices):
        raise _wrong(where, data, "one of " + ", ".join(repr(choice) for choice in choices))
    return data


def _join(where: str, name: str) -> str:
    if not where:
        return name
    return f"{where} {name}" if where.endswith(":") else f"{where}.{name}"


def _wrong(where: str, data: Any, expected: str) -> ConfigError:
    shown = repr(data)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return ConfigError(f"{where.rstrip(':')}: {shown} is not {expected}.", f"Give {expected}.")
