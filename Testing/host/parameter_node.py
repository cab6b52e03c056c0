"""The part of ``slicer.parameterNodeWrapper`` that the extension uses.

Fields: MRML nodes (None), float, int, bool, str, Enum (stored by name); annotations WithinRange, Minimum, Maximum,
Choice, Default, Decimals, SingleStep. ``connectGui`` binds widgets by their dynamic property SlicerParameterName.
"""

from __future__ import annotations

import enum
import logging
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import slicer
import vtk

PUBLIC = [
    "Choice", "Decimals", "Default", "Exclude", "Maximum", "Minimum", "NotNone", "SingleStep", "WithinRange",
    "parameterNodeWrapper",
]  # fmt: skip


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
    """One parameter."""

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


def _fields(cls: type) -> dict[str, Field]:
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
    known = hint in (int, float, bool, str) or (
        isinstance(hint, type) and issubclass(hint, (enum.Enum, slicer.vtkMRMLNode))
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


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: gives typed access to a vtkMRMLScriptedModuleNode."""
    fields = _fields(cls)
    for field in fields.values():
        if not field.is_node:
            field.validate(field.default)
    body = {k: v for k, v in vars(cls).items() if k not in fields and k not in ("__dict__", "__weakref__")}
    body["_host_fields"] = fields
    for name, field in fields.items():
        body[name] = _property(field)
    return type(cls.__name__, (_ParameterNode,), body)


def _property(field: Field) -> property:
    return property(lambda self: self._read(field), lambda self, value: self._write(field, value))


class _ParameterNode:
    _host_fields: ClassVar[dict[str, Field]] = {}

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        object.__setattr__(self, "parameterNode", parameterNode)
        object.__setattr__(self, "_prefix", f"{prefix}." if prefix else "")
        object.__setattr__(self, "_bindings", {})
        for field in self._host_fields.values():
            if not field.is_node and not parameterNode.GetParameter(self._key(field)):
                parameterNode.SetParameter(self._key(field), field.to_text(field.default))

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no parameter '{name}'.")
        object.__setattr__(self, name, value)

    def _key(self, field: Field) -> str:
        return f"{self._prefix}{field.name}"

    def _read(self, field: Field) -> Any:
        if field.is_node:
            return self.parameterNode.GetNodeReference(self._key(field))
        text = self.parameterNode.GetParameter(self._key(field))
        if not text and field.kind is not str:  # a scene close resets the singleton node
            return field.default
        return field.from_text(text)

    def _write(self, field: Field, value: Any) -> None:
        field.validate(value)
        if field.is_node:
            self.parameterNode.SetNodeReferenceID(self._key(field), value.GetID() if value is not None else None)
        else:
            self.parameterNode.SetParameter(self._key(field), field.to_text(field.kind(value)))

    @property
    def allParameters(self) -> dict[str, Any]:
        """Field names and their types."""
        return {name: field.kind for name, field in self._host_fields.items()}

    def default(self, name: str) -> Any:
        """Default of a parameter, with attribute ``value`` as in Slicer."""
        return Default(self._host_fields[name].default)

    def isCached(self, _name: str) -> bool:
        """Nothing is cached."""
        return False

    def AddObserver(self, event: Any, callback: Any, *priority: Any) -> int:
        return int(self.parameterNode.AddObserver(event, callback, *priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def HasObserver(self, *arguments: Any) -> bool:
        return bool(self.parameterNode.HasObserver(*arguments))

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, state: Any) -> None:
        self.parameterNode.EndModify(state)

    def connectGui(self, gui: Any) -> int:
        """Bind every widget with the property SlicerParameterName; gives the tag for disconnectGui."""
        widgets = {}
        for widget in vars(gui).values():
            name = widget.property("SlicerParameterName") if hasattr(widget, "property") else None
            if name:
                if name not in self._host_fields:
                    raise ValueError(f"Widget '{widget.objectName}' names the unknown parameter '{name}'.")
                widgets[name] = widget
        return self.connectParametersToGui(widgets)

    def connectParametersToGui(self, widgets: dict[str, Any]) -> int:
        """Bind widgets given by parameter name."""
        from .gui_connectors import Connector, connector_for

        connectors: list[Connector] = []
        for name, widget in widgets.items():
            if isinstance(widget, str):
                raise TypeError(f"connectParametersToGui needs widgets, got '{widget}' for '{name}'.")
            connectors.append(connector_for(self._host_fields[name], widget))
        binding = Binding(self, connectors)
        tag = len(self._bindings) + 1
        self._bindings[tag] = binding
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo one connectGui."""
        self._bindings.pop(tag).release()


class Binding:
    """Keeps widgets and node equal, both ways."""

    def __init__(self, owner: Any, connectors: list[Any]) -> None:
        self._owner = owner
        self._connectors = connectors
        self._updating = False
        self._releases: list[Callable[[], None]] = []
        for connector in connectors:
            connector.prepare()
        self.to_gui()
        for connector in connectors:
            self._releases.append(connector.listen(self._changed(connector)))
        node = owner.parameterNode
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.to_gui())
        self._releases.append(lambda: node.RemoveObserver(tag))

    def _changed(self, connector: Any) -> Callable[[], None]:
        def changed() -> None:
            if self._updating:
                return
            try:
                setattr(self._owner, connector.field.name, connector.read())
            except (ValueError, TypeError) as error:
                logging.getLogger(__name__).error("%s: %s", connector.field.name, error)

        return changed

    def to_gui(self) -> None:
        """Write all values to the widgets."""
        if self._updating:
            return
        self._updating = True
        try:
            for connector in self._connectors:
                value = getattr(self._owner, connector.field.name)
                if connector.read() != value:
                    connector.write(value)
        finally:
            self._updating = False

    def release(self) -> None:
        """Drop observers and connections."""
        for release in self._releases:
            release()
        self._releases.clear()
