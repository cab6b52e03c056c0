"""Enumeration values: integers, as PythonQt has them (no ``.name``, ``A | B`` is a plain int)."""

from __future__ import annotations

import enum
from typing import Any


class EnumValue(int):
    """Base of the wrapped enumerations; remembers which Qt enumeration a value came from."""

    qt_enum: type[enum.Enum] | None = None

    def __repr__(self) -> str:
        return int.__repr__(self)

    __str__ = __repr__


_wrapped: dict[type[enum.Enum], type[EnumValue]] = {}


def wrap_enum_type(qt_enum: type[enum.Enum]) -> type[EnumValue]:
    """Make the integer class that stands for a Qt enumeration, with its values as attributes."""
    known = _wrapped.get(qt_enum)
    if known is None:
        known = _wrapped[qt_enum] = _new_type(qt_enum, qt_enum.__name__)
    return known


def _new_type(qt_enum: type[enum.Enum], name: str) -> type[EnumValue]:
    return type(name, (EnumValue,), {"qt_enum": qt_enum, "__module__": "PythonQt.QtCore"})


_values: dict[tuple[type[enum.Enum], int], EnumValue] = {}
_flag_types: dict[type[enum.Enum], type[EnumValue]] = {}


def wrap_value(value: enum.Enum) -> EnumValue:
    """Convert a PySide6 enumeration value; the same value is the same object."""
    key = (type(value), _as_int(value))
    if key not in _values:
        _values[key] = wrap_enum_type(type(value))(key[1])
    return _values[key]


def wrap_flags(value: enum.Flag, name: str) -> EnumValue:
    """Convert a combination of flags that Qt returned: its class is the flags class of Qt 5 (ItemFlags)."""
    kind = type(value)
    if kind not in _flag_types:
        _flag_types[kind] = _new_type(kind, name)
    return _flag_types[kind](_as_int(value))


def _as_int(value: Any) -> int:
    raw = value.value if isinstance(value, enum.Enum) else value
    return int(raw)


def to_qt(value: int, qt_enum: type[enum.Enum]) -> Any:
    """Convert an integer into a value of a Qt enumeration; unknown plain values stay integers and Qt refuses them."""
    return qt_enum(int(value))
