"""A strict loader of Qt Designer files: unknown classes, properties, signals and slots raise."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from .binding import convert, surface, wrapper


class UiError(RuntimeError):
    """The file names something that Slicer does not have."""


_LAYOUTS = {"QVBoxLayout", "QHBoxLayout", "QGridLayout", "QFormLayout", "QStackedLayout"}
# Properties that Designer stores although they are no Qt properties.
_DESIGNER_ONLY = {
    "layout": {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "margin", "horizontalSpacing",
               "verticalSpacing", "spacing", "fieldGrowthPolicy", "labelAlignment", "formAlignment", "rowWrapPolicy",
               "sizeConstraint"},
    "QLabel": {"buddy"},
}  # fmt: skip


class _Loader(QtUiTools.QUiLoader):
    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget:
        implementation = wrapper.implementations.get(class_name)
        if implementation is None:
            return super().createWidget(class_name, parent, name)
        made = implementation(parent)
        made.setObjectName(name)
        return made


def load(device: Any, parent: Any = None) -> QtWidgets.QWidget | None:
    """Load from an open device; strict about everything that the file names."""
    data = bytes(device.readAll().data()) if device is not None and device.isOpen() else b""
    if not data:
        QtCore.qWarning("Designer: An error has occurred while reading the UI file")
        return None
    root = ElementTree.fromstring(data)
    _check(root)
    connections = [_connection(c) for c in root.iter("connection")]
    for element in root.findall("connections"):
        root.remove(element)
    _strip_dynamic(root)
    buffer = QtCore.QBuffer()
    buffer.setData(ElementTree.tostring(root))
    buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    widget = _Loader().load(buffer, parent)
    if widget is None:
        raise UiError("Qt could not load the .ui file.")
    _check_implemented(root, widget)
    _apply_dynamic(root, widget)
    for connection in connections:
        _connect(widget, *connection)
    return widget


def _class_surface(class_name: str) -> surface.Surface:
    try:
        if wrapper.native_class(class_name) is None:
            raise KeyError(class_name)
        return surface.surface_of(class_name)
    except KeyError:
        raise UiError(f"The .ui file uses class '{class_name}', which this test host does not know.") from None


def _check(root: ElementTree.Element) -> None:
    for element in root.iter("widget"):
        members = _class_surface(element.get("class", ""))
        for entry in element.findall("property"):
            name = entry.get("name", "")
            dynamic = entry.get("stdset") == "0"
            if not dynamic and name in _DESIGNER_ONLY.get(members.name, ()):
                continue
            if not dynamic and name not in members.properties:
                raise UiError(f"{members.name} '{element.get('name')}' has no property '{name}'.")
            if not dynamic and not members.properties[name][1]:
                raise UiError(f"Property '{name}' of {members.name} '{element.get('name')}' is read-only.")
    for element in root.iter("layout"):
        if element.get("class") not in _LAYOUTS:
            raise UiError(f"Unknown layout class '{element.get('class')}'.")
        allowed = _DESIGNER_ONLY["layout"] | set(surface.surface_of(element.get("class", "")).properties)
        for entry in element.findall("property"):
            if entry.get("name") not in allowed:
                raise UiError(f"Layout '{element.get('name')}' has no property '{entry.get('name')}'.")


def _connection(element: ElementTree.Element) -> tuple[str, str, str, str]:
    return tuple(element.findtext(k, "") for k in ("sender", "signal", "receiver", "slot"))  # type: ignore[return-value]


def _dynamic_entries(root: ElementTree.Element) -> list[tuple[ElementTree.Element, ElementTree.Element]]:
    return [
        (w, p)
        for w in root.iter("widget")
        for p in w.findall("property")
        if p.get("stdset") == "0" and p.get("name") not in _class_surface(w.get("class", "")).properties
    ]


def _strip_dynamic(root: ElementTree.Element) -> None:
    # QUiLoader sets dynamic properties itself; kept here only so that a stand-in's real property is never shadowed.
    for widget, entry in _dynamic_entries(root):
        if entry.get("name", "").startswith("_"):
            raise UiError(f"'{widget.get('name')}' has a dynamic property '{entry.get('name')}' that Qt reserves.")


def _apply_dynamic(root: ElementTree.Element, widget: QtWidgets.QWidget) -> None:
    for element, entry in _dynamic_entries(root):
        target = _find(widget, element.get("name", ""))
        if target.property(entry.get("name", "")) is None:
            raise UiError(f"Dynamic property '{entry.get('name')}' of '{element.get('name')}' was not set.")


def _check_implemented(root: ElementTree.Element, widget: QtWidgets.QWidget) -> None:
    """Qt keeps a property that a stand-in lacks as a dynamic one, without any effect and without a word."""
    for element in root.iter("widget"):
        if element.get("class") not in wrapper.implementations:
            continue
        target = _find(widget, element.get("name", ""))
        for entry in element.findall("property"):
            name = entry.get("name", "")
            if entry.get("stdset") != "0" and target.metaObject().indexOfProperty(name) < 0:
                raise NotImplementedError(f"The test host's {element.get('class')} does not implement '{name}'.")


def _find(widget: QtWidgets.QWidget, name: str) -> QtCore.QObject:
    if widget.objectName() == name:
        return widget
    found = widget.findChild(QtCore.QObject, name)
    if found is None:
        raise UiError(f"The .ui file connects '{name}', which it does not contain.")
    return found


def _connect(widget: QtWidgets.QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
    source, target = convert.wrap(_find(widget, sender)), convert.wrap(_find(widget, receiver))
    name = slot.split("(")[0]
    if name not in wrapper.surface_for(target).slots and name not in wrapper.surface_for(target).signals:
        raise UiError(f"'{receiver}' ({wrapper.surface_for(target).name}) has no slot '{slot}'.")
    from .binding import signals

    if signals.allowed_signature(wrapper.surface_for(source), signal) is None:
        raise UiError(f"'{sender}' ({wrapper.surface_for(source).name}) has no signal '{signal}'.")
    native_target = wrapper.native(target)
    handler = getattr(native_target, name)
    wanted = len([a for a in slot.partition("(")[2].rstrip(")").split(",") if a.strip()])
    signature = signals._qt_signature(wrapper.native(source), surface.normalized(signal))
    QtCore.QObject.connect(
        wrapper.native(source),
        QtCore.SIGNAL(signature),
        (lambda *values: handler.emit(*values[:wanted]))
        if hasattr(handler, "emit")
        else (lambda *values: handler(*values[:wanted])),
    )
