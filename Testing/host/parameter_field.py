"""Parameters of ``slicer.parameterNodeWrapper``: kinds, annotations, validation, text form.

Kinds: MRML nodes (None), float, int, bool, str, Enum (stored by name), pathlib paths, classes made by
``parameterPack``; annotations WithinRange, Minimum, Maximum, Choice, Exclude, NotNone, Default, Decimals, SingleStep.
"""

from __future__ import annotations

import enum
import pathlib
import typing
from dataclasses import dataclass, replace
from typing import Any

import slicer

PATH_KINDS = (
    pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePath, pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)  # fmt: skip


def is_pack(kind: Any) -> bool:
    """Whether a class was made by ``parameterPack``."""
    return isinstance(kind, type) and hasattr(kind, "_host_pack")


@dataclass(frozen=True)
class WithinRange:
    """The number must lie in [minimum, maximum]."""

    minimum: float
    maximum: float

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError outside the range."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{name} = {value} is not within [{self.minimum}, {self.maximum}].")


@dataclass(frozen=True)
class Minimum:
    """Lower bound."""

    minimum: float

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError below the bound."""
        if value < self.minimum:
            raise ValueError(f"{name} = {value} is less than {self.minimum}.")


@dataclass(frozen=True)
class Maximum:
    """Upper bound."""

    maximum: float

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError above the bound."""
        if value > self.maximum:
            raise ValueError(f"{name} = {value} is more than {self.maximum}.")


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    choices: list[Any]

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError for another value."""
        if value not in self.choices:
            raise ValueError(f"{name} = {value!r} is none of {self.choices}.")


@dataclass(frozen=True)
class Exclude:
    """None of these values."""

    excluded: list[Any]

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError for an excluded value."""
        if value in self.excluded:
            raise ValueError(f"{name} must not be {value!r}.")


class NotNone:
    """A node must be set."""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError for None."""
        if value is None:
            raise ValueError(f"{name} must not be None.")


@dataclass(frozen=True)
class Default:
    """Default value given in the annotation."""

    value: Any


@dataclass(frozen=True)
class Decimals:
    """Digits that a widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of a widget."""

    value: float


@dataclass(frozen=True)
class Field:
    """One parameter; ``name`` is dotted for a member of a parameter pack."""

    name: str
    kind: Any
    default: Any
    annotations: tuple[Any, ...]

    @property
    def is_node(self) -> bool:
        """Whether the parameter is a node reference."""
        return isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)

    @property
    def is_enum(self) -> bool:
        """Whether the parameter is an Enum."""
        return isinstance(self.kind, type) and issubclass(self.kind, enum.Enum)

    @property
    def is_pack(self) -> bool:
        """Whether the parameter is a parameter pack."""
        return is_pack(self.kind)

    def members(self) -> list[Field]:
        """Fields of a pack, with dotted names and the pack's own values as defaults; empty for other kinds."""
        if not self.is_pack:
            return []
        return [
            replace(f, name=f"{self.name}.{f.name}", default=getattr(self.default, f.name))
            for f in self.kind._host_pack.values()
        ]

    def annotation(self, kind: type) -> Any:
        """The annotation of this class, or None."""
        return next((a for a in self.annotations if isinstance(a, kind)), None)

    def validate(self, value: Any) -> None:
        """Raise for a wrong type or a value outside what the annotations allow."""
        if self.is_node:
            if value is not None and not isinstance(value, self.kind):
                raise TypeError(f"{self.name} needs a {self.kind.__name__}, not {type(value).__name__}.")
        elif not isinstance(value, (int, float) if self.kind is float else self.kind) or (
            isinstance(value, bool) and self.kind in (int, float)
        ):
            raise TypeError(f"{self.name} needs {self.kind.__name__}, not {value!r}.")
        for annotation in self.annotations:
            if hasattr(annotation, "check"):
                annotation.check(self.name, value)

    def to_text(self, value: Any) -> str:
        """Text form in the node."""
        if self.is_enum:
            return str(value.name)
        return str(value)

    def from_text(self, text: str) -> Any:
        """Value of the text form."""
        if self.is_enum:
            return self.kind[text]
        if self.kind is bool:
            return text == "True"
        return self.kind(text)


def fields_of(cls: type) -> dict[str, Field]:
    found = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        annotations: tuple[Any, ...] = ()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *more = typing.get_args(hint)
            annotations = tuple(more)
        kind = _plain_kind(name, hint)
        stated = next((a.value for a in annotations if isinstance(a, Default)), None)
        default = getattr(cls, name, stated)
        found[name] = Field(name, kind, _default(kind, default, annotations), annotations)
    return found


def _plain_kind(name: str, hint: Any) -> Any:
    known = (
        hint in (int, float, bool, str)
        or hint in PATH_KINDS
        or is_pack(hint)
        or (isinstance(hint, type) and issubclass(hint, (enum.Enum, slicer.vtkMRMLNode)))
    )
    if not known:
        raise TypeError(f"The test host's parameterNodeWrapper does not support '{name}: {hint}'.")
    return hint


def _default(kind: Any, default: Any, annotations: tuple[Any, ...]) -> Any:
    if default is not None or issubclass(kind, slicer.vtkMRMLNode):
        return default
    choice = next((a for a in annotations if isinstance(a, Choice)), None)
    if choice is not None:
        return choice.choices[0]
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    low = next((a.minimum for a in annotations if isinstance(a, (WithinRange, Minimum))), None)
    return kind() if low is None or low <= 0 else kind(low)
