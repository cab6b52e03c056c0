"""Enumeration values: integers, as PythonQt has them (no ``.name``, ``A | B`` is a plain int)."""

from __future__ import annotations

import enum
from typing import Any


class EnumValue(int):
    """Base of the wrapped enumerations; remembers which Qt enumeration a value came from."""

    qt_enum: type[enum.Enum] | None = None

    def __repr__(self) -> str:
        return str(int(self))

    __str__ = __repr__


_wrapped: dict[type[enum.Enum], type[EnumValue]] = {}


def wrap_enum_type(qt_enum: type[enum.Enum]) -> type[EnumValue]:
    """Make the integer class that stands for a Qt enumeration, with its values as attributes."""
    known = _wrapped.get(qt_enum)
    if known is None:
        known = _wrapped[qt_enum] = type(qt_enum.__name__, (EnumValue,), {"qt_enum": qt_enum})
    return known


def wrap_value(value: enum.Enum) -> EnumValue:
    """Convert a PySide6 enumeration value."""
    return wrap_enum_type(type(value))(_as_int(value))


def _as_int(value: Any) -> int:
    raw = value.value if isinstance(value, enum.Enum) else value
    return int(raw)


def to_qt(value: int, qt_enum: type[enum.Enum]) -> Any:
    """Convert an integer into a value of a Qt enumeration; unknown plain values stay integers and Qt refuses them."""
    return qt_enum(int(value))
