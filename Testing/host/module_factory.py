"""Loads a scripted module file as Slicer's factory does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer

from .scripted import ModuleParent


class LoadedModule:
    """A scripted module: metadata, panel, test."""

    def __init__(self, host: Any, path: Path) -> None:
        self._host = host
        self.name = path.stem
        self.path = str(path)
        self._widget: Any = None
        self._python: Any = None
        self.parent: Any = None
        self._execute()

    def _execute(self) -> None:
        folder = str(Path(self.path).parent)
        if folder not in sys.path:
            sys.path.append(folder)  # the factory appends the folder of each registered module
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self.path} is no Python file.")
        self._python = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = self._python
        spec.loader.exec_module(self._python)
        for suffix in ("", "Widget"):
            if not hasattr(self._python, self.name + suffix) and not (suffix and self._is_hidden_helper()):
                raise AttributeError(f"{self.path} defines no class '{self.name + suffix}'.")
        self.parent = ModuleParent(self.name, self.path)
        self.instance = getattr(self._python, self.name)(self.parent)

    def _is_hidden_helper(self) -> bool:
        return True

    @property
    def title(self) -> str:
        return str(self.parent.title)

    @property
    def categories(self) -> Any:
        return tuple(self.parent.categories)

    @property
    def contributors(self) -> Any:
        return tuple(self.parent.contributors)

    @property
    def acknowledgementText(self) -> str:
        return str(self.parent.acknowledgementText)

    @property
    def helpText(self) -> str:
        return str(self.parent.helpText)

    @property
    def hidden(self) -> bool:
        return bool(self.parent.hidden)

    def python_module(self) -> Any:
        """The executed Python module."""
        return self._python

    def python_attributes(self) -> dict[str, Any]:
        """What Slicer also sets on ``slicer.modules``: XInstance and XWidget."""
        found = {f"{self.name}Instance": self.instance}
        if self._widget is not None:
            found[f"{self.name}Widget"] = self._widget
        return found

    def logic(self) -> Any:
        """A scripted module's C++ logic: a plain module logic with the scene set."""
        logic = (
            slicer.vtkSlicerScriptedLoadableModuleLogic()
            if hasattr(slicer, "vtkSlicerScriptedLoadableModuleLogic")
            else slicer.vtkSlicerModuleLogic()
        )
        logic.SetMRMLScene(slicer.mrmlScene)
        return logic

    def make_widget(self) -> Any:
        """Make the panel: constructor, then setup(); checks that every MRML selector got a scene."""
        parent = slicer.qSlicerScriptedLoadableModuleWidget()
        parent.setMRMLScene(slicer.mrmlScene)
        widget = getattr(self._python, f"{self.name}Widget")(parent)
        widget.host_module = self
        self._widget = widget
        widget.setup()
        check_scene_connections(parent)
        return widget

    def widgetRepresentation(self) -> Any:
        """The panel, made on first use."""
        if self._widget is None:
            self._host.panels.append(self.make_widget())
        return _WidgetRepresentation(self._widget)

    def enter(self, widget: Any) -> None:
        """Show the module."""
        widget.parent.enter()
        widget.enter()

    def exit(self, widget: Any) -> None:
        """Show another module."""
        widget.parent.exit()
        widget.exit()

    def close(self, widget: Any) -> None:
        """Destroy the panel: exit, cleanup, delete."""
        if widget.parent and widget.parent.isEntered:
            self.exit(widget)
        widget.cleanup()
        if widget.parent:
            widget.parent.delete()
        if self._widget is widget:
            self._widget = None

    def reload(self) -> None:
        """Execute the file again and replace the panel (slicer.util.reloadScriptedModule)."""
        former = self._widget
        if former is not None:
            self.close(former)
            if former in self._host.panels:
                self._host.panels.remove(former)
        self._execute()
        if former is not None:
            self._host.panels.append(self.make_widget())


class _WidgetRepresentation:
    """``module.widgetRepresentation()``: its ``self()`` is the Python object."""

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self.logic = getattr(widget, "logic", None)

    def self(self) -> Any:
        return self._widget

    def setMRMLScene(self, scene: Any) -> None:
        self._widget.parent.setMRMLScene(scene)


def check_scene_connections(root: Any) -> None:
    """Raise when a selector never got a scene: in Slicer it would stay empty."""
    from PySide6 import QtWidgets

    from .binding import convert
    from .hosting import HostError

    for child in convert.unwrap(root).findChildren(QtWidgets.QWidget):
        reads = getattr(child, "mrmlScene", None)
        internal = child.parent() is not None and type(child.parent()).__module__.startswith("host.standins")
        internal = internal and type(child.parent()).__name__.endswith("SelectorWidget")
        selector = type(child).__name__.endswith(("NodeComboBox", "SelectorWidget", "PlaceWidget"))
        if selector and not internal and callable(reads) and reads() is None:
            raise HostError(
                f"{type(child).__name__} '{child.objectName()}' has no scene: connect mrmlSceneChanged of the root "
                "widget to its setMRMLScene in the .ui file."
            )


def load_module(host: Any, path: Path) -> LoadedModule:
    """Execute a module file, make its module object and tell it that start-up is completed."""
    module = LoadedModule(host, path.resolve())
    host.modules.add(module)
    host.app.emit("startupCompleted()")
    return module
