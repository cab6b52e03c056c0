"""Which widget may show which kind of parameter, and how (Slicer's GUI connectors)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .parameter_field import PATH_KINDS, Choice, Decimals, Field, Maximum, Minimum, SingleStep, WithinRange


class Connector:
    """One widget bound to one parameter."""

    signal = ""

    def __init__(self, field: Field, widget: Any) -> None:
        self.field = field
        self.widget = widget

    def prepare(self) -> None:
        """Set ranges and choices of the widget."""

    def read(self) -> Any:
        """Value that the widget shows."""
        raise NotImplementedError

    def write(self, value: Any) -> None:
        """Show this value."""
        raise NotImplementedError

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` when the user edits; gives the function that ends this."""

        def callback(*_arguments: Any) -> None:
            changed()

        if self.signal and not self.widget.connect(self.signal, callback):
            raise ValueError(f"{self.widget.className()} has no signal {self.signal}.")

        def release() -> None:
            if self.signal and self.widget:
                self.widget.disconnect(self.signal, callback)

        return release


class NodeConnector(Connector):
    signal = "currentNodeChanged(vtkMRMLNode*)"

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


class NumberConnector(Connector):
    signal = "valueChanged(double)"

    def prepare(self) -> None:
        limits = self.field.annotation(WithinRange)
        low = limits or self.field.annotation(Minimum)
        high = limits or self.field.annotation(Maximum)
        if self.widget.className() in ("ctkSliderWidget", "qMRMLSliderWidget") and not (low and high):
            raise ValueError(f"Parameter '{self.field.name}' needs bounds to be shown in a {self.widget.className()}.")
        if high:
            self.widget.maximum = high.maximum
        if low:
            self.widget.minimum = low.minimum
        decimals, step = self.field.annotation(Decimals), self.field.annotation(SingleStep)
        if decimals is not None:
            self.widget.decimals = decimals.value
        if step is not None:
            self.widget.singleStep = step.value

    def read(self) -> Any:
        return self.field.kind(self.widget.value)

    def write(self, value: Any) -> None:
        self.widget.value = value


class IntegerConnector(NumberConnector):
    signal = "valueChanged(int)"


class CheckConnector(Connector):
    signal = "toggled(bool)"

    def read(self) -> Any:
        return self.widget.checked

    def write(self, value: Any) -> None:
        self.widget.checked = value


class LineConnector(Connector):
    signal = "textChanged(QString)"

    def read(self) -> Any:
        return self.widget.text

    def write(self, value: Any) -> None:
        self.widget.text = value


class TextConnector(Connector):
    signal = "textChanged()"

    def read(self) -> Any:
        return self.widget.plainText

    def write(self, value: Any) -> None:
        self.widget.plainText = value


class LabelConnector(Connector):
    def read(self) -> Any:
        return self.widget.text

    def write(self, value: Any) -> None:
        self.widget.text = value


class ComboConnector(Connector):
    signal = "currentIndexChanged(int)"

    def prepare(self) -> None:
        self._values = list(self.field.kind) if self.field.is_enum else list(self.field.annotation(Choice).choices)
        self.widget.clear()
        for value in self._values:
            label = value.label() if hasattr(value, "label") and callable(value.label) else None
            text = label or (value.name if self.field.is_enum else str(value))
            self.widget.addItem(text)

    def read(self) -> Any:
        index = self.widget.currentIndex
        return self._values[index] if 0 <= index < len(self._values) else None

    def write(self, value: Any) -> None:
        self.widget.currentIndex = self._values.index(value)


class PathConnector(Connector):
    signal = "currentPathChanged(QString)"

    def read(self) -> Any:
        return self.field.kind(self.widget.currentPath)

    def write(self, value: Any) -> None:
        self.widget.currentPath = str(value)


class DirectoryConnector(Connector):
    signal = "directoryChanged(QString)"

    def read(self) -> Any:
        return self.field.kind(self.widget.directory)

    def write(self, value: Any) -> None:
        self.widget.directory = str(value)


_TABLE: dict[str, tuple[tuple[Any, ...], type[Connector]]] = {
    "qMRMLNodeComboBox": (("node",), NodeConnector),
    "qMRMLSubjectHierarchyTreeView": (("node",), NodeConnector),
    "QCheckBox": ((bool,), CheckConnector),
    "ctkCheckBox": ((bool,), CheckConnector),
    "QPushButton": ((bool,), CheckConnector),
    "ctkCheckablePushButton": ((bool,), CheckConnector),
    "QSpinBox": ((int,), IntegerConnector),
    "QSlider": ((int,), IntegerConnector),
    "QDoubleSpinBox": ((float,), NumberConnector),
    "ctkDoubleSpinBox": ((float,), NumberConnector),
    "ctkSliderWidget": ((float, int), NumberConnector),
    "ctkDoubleSlider": ((float,), NumberConnector),
    "qMRMLSliderWidget": ((float,), NumberConnector),
    "QLineEdit": ((str,), LineConnector),
    "QTextEdit": ((str,), TextConnector),
    "QLabel": ((str,), LabelConnector),
    "QComboBox": (("choice",), ComboConnector),
    "ctkComboBox": (("choice",), ComboConnector),
    "ctkPathLineEdit": (PATH_KINDS, PathConnector),
    "ctkDirectoryButton": (PATH_KINDS, DirectoryConnector),
}


def connector_for(field: Field, widget: Any) -> Connector:
    """Choose the connector; ValueError when Slicer has none for this widget and kind."""
    entry = _TABLE.get(widget.className())
    kind: Any = field.kind
    if field.is_node:
        kind = "node"
    elif field.is_enum or field.annotation(Choice) is not None:
        kind = "choice"
    if entry is None or kind not in entry[0]:
        raise ValueError(f"Unable to find GUI connector from {widget.className()} to {field.kind} ('{field.name}').")
    return entry[1](field, widget)
