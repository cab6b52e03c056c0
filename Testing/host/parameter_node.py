"""The part of ``slicer.parameterNodeWrapper`` that the extension uses: typed access to a node, binding to widgets.

``connectGui`` binds widgets by their dynamic property SlicerParameterName; members of packs have dotted names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import slicer
import vtk

from .parameter_field import (
    Choice,
    Decimals,
    Default,
    Exclude,
    Field,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    WithinRange,
    fields_of,
)
from .parameter_pack import isParameterPack, observed, parameterPack


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: gives typed access to a vtkMRMLScriptedModuleNode."""
    fields = fields_of(cls)
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
            self._write_default(field)

    def _write_default(self, field: Field) -> None:
        for member in field.members():
            self._write_default(member)
        if not (field.is_node or field.is_pack or self.parameterNode.GetParameter(self._key(field))):
            self.parameterNode.SetParameter(self._key(field), field.to_text(field.default))

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no parameter '{name}'.")
        object.__setattr__(self, name, value)

    def _key(self, field: Field) -> str:
        return f"{self._prefix}{field.name}"

    def _read(self, field: Field) -> Any:
        if field.is_node:
            return self.parameterNode.GetNodeReference(self._key(field))
        if field.is_pack:
            values = {m.name.rpartition(".")[2]: self._read(m) for m in field.members()}
            return observed(field.kind, values, lambda pack: self._write(field, pack))
        text = self.parameterNode.GetParameter(self._key(field))
        if not text and field.kind is not str:  # a scene close resets the singleton node
            return field.default
        return field.from_text(text)

    def _write(self, field: Field, value: Any) -> None:
        field.validate(value)
        if field.is_pack:
            with slicer.util.NodeModify(self.parameterNode):
                for member in field.members():
                    self._write(member, getattr(value, member.name.rpartition(".")[2]))
        elif field.is_node:
            self.parameterNode.SetNodeReferenceID(self._key(field), value.GetID() if value is not None else None)
        else:
            self.parameterNode.SetParameter(self._key(field), field.to_text(field.kind(value)))

    @property
    def allParameters(self) -> dict[str, Any]:
        """Field names and their types."""
        return {name: field.kind for name, field in self._host_fields.items()}

    @classmethod
    def _field(cls, name: str) -> Field:
        """Find a field by its name, dotted for a member of a pack; ValueError when there is none."""
        top, *more = name.split(".")
        field = cls._host_fields.get(top)
        for depth in range(len(more)):
            wanted = ".".join((top, *more[: depth + 1]))
            field = next((m for m in field.members() if m.name == wanted), None) if field is not None else None
        if field is None:
            raise ValueError(f"Cannot find a param with the given name: {name} (there are {list(cls._host_fields)}).")
        return field

    def getValue(self, name: str) -> Any:
        """Read a parameter by its name."""
        return self._read(self._field(name))

    def setValue(self, name: str, value: Any) -> None:
        """Write a parameter by its name."""
        self._write(self._field(name), value)

    @classmethod
    def dataType(cls, name: str) -> Any:
        """Kind of a parameter."""
        return cls._field(name).kind

    def default(self, name: str) -> Any:
        """Default of a parameter, with attribute ``value`` as in Slicer."""
        return Default(self._field(name).default)

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
                widgets[name] = widget
        return self.connectParametersToGui(widgets)

    def connectParametersToGui(self, widgets: dict[str, Any]) -> int:
        """Bind widgets given by parameter name."""
        from .gui_connectors import Connector, connector_for

        connectors: list[Connector] = []
        for name, widget in widgets.items():
            if isinstance(widget, str):
                raise TypeError(f"connectParametersToGui needs widgets, got '{widget}' for '{name}'.")
            connectors.append(connector_for(self._field(name), widget))
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
                self._owner.setValue(connector.field.name, connector.read())
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
                value = self._owner.getValue(connector.field.name)
                if connector.read() != value:
                    connector.write(value)
        finally:
            self._updating = False

    def release(self) -> None:
        """Drop observers and connections."""
        for release in self._releases:
            release()
        self._releases.clear()


# What "from slicer.parameterNodeWrapper import ..." gives.
PUBLIC: dict[str, Any] = {
    "Choice": Choice, "Decimals": Decimals, "Default": Default, "Exclude": Exclude, "Maximum": Maximum,
    "Minimum": Minimum, "NotNone": NotNone, "SingleStep": SingleStep, "WithinRange": WithinRange,
    "isParameterPack": isParameterPack, "parameterNodeWrapper": parameterNodeWrapper, "parameterPack": parameterPack,
}  # fmt: skip
