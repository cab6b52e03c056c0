"""Base classes of scripted modules with the behaviour that Slicer documents for them."""

from __future__ import annotations

import importlib
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar

import slicer


def observation_mixin() -> type:
    """Slicer's own VTKObservationMixin: it is in the wheel's ``slicer.util``."""
    return slicer.util.VTKObservationMixin


class ModuleParent:
    """``parent`` of a module class (qSlicerScriptedLoadableModule): metadata as strict attributes."""

    _FIELDS: ClassVar[dict[str, Any]] = {
        "title": "", "categories": [], "dependencies": [], "contributors": [], "helpText": "",
        "acknowledgementText": "", "hidden": False, "icon": None, "version": "", "index": -1, "associatedNodeTypes": [],
        "widgetRepresentationCreationEnabled": True, "path": "", "name": "",
    }  # fmt: skip

    def __init__(self, name: str, path: str) -> None:
        for key, value in self._FIELDS.items():
            object.__setattr__(self, key, list(value) if isinstance(value, list) else value)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "path", path)

    def __setattr__(self, key: str, value: Any) -> None:
        if key not in self._FIELDS:
            raise AttributeError(
                f"'{key}' does not exist on qSlicerScriptedLoadableModule and creating new attributes on C++ objects "
                "is not allowed"
            )
        if key in ("categories", "dependencies", "contributors") and not isinstance(value, (list, tuple)):
            raise AttributeError(f"Property '{key}' of type 'QStringList' does not accept {value!r}")
        object.__setattr__(self, key, value)


class ScriptedLoadableModule:
    """Base of a module class."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = self.__class__.__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = ["Anonymous"]
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        """Full path of a file in the module's Resources folder."""
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: Any = None) -> str:
        """A link for the help text."""
        link = f'<a href="https://slicer.org">documentation of {self.parent.title}</a>'
        return f"<p>For more information see the {link}.</p>"

    def runTest(self, msec: int = 100, **kwargs: Any) -> None:
        """Run the module's test class."""
        module = sys.modules[self.__class__.__module__]
        test_class = getattr(module, f"{self.moduleName}Test")
        test = test_class()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """Base of a module's panel."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = self.__class__.__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self._setModulePath = None
        if parent is None:
            parent = slicer.qSlicerScriptedLoadableModuleWidget()
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, filename: str) -> str:
        """Full path of a file in the module's Resources folder."""
        path = getattr(slicer.modules, self.moduleName.lower()).path
        return str(Path(path).parent / "Resources" / filename)

    def setup(self) -> None:
        """Add the Reload & Test section in developer mode."""
        if self.developerMode:
            self.setupDeveloperSection()

    def setupDeveloperSection(self) -> None:
        """The section at the top of the panel that module developers see."""
        import ctk
        import qt

        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton()
        self.reloadCollapsibleButton.objectName = "reloadCollapsibleButton"
        self.reloadCollapsibleButton.text = "Reload && Test"
        self.reloadCollapsibleButton.collapsed = True
        self.layout.addWidget(self.reloadCollapsibleButton)
        row = qt.QHBoxLayout(self.reloadCollapsibleButton)
        self.reloadButton = qt.QPushButton("Reload")
        self.reloadTestButton = qt.QPushButton("Reload and Test")
        row.addWidget(self.reloadButton)
        row.addWidget(self.reloadTestButton)
        self.reloadButton.connect("clicked()", self.onReload)
        self.reloadTestButton.connect("clicked()", self.onReloadAndTest)

    def cleanup(self) -> None:
        """Called before the panel is destroyed."""

    def enter(self) -> None:
        """Called when the module is shown."""

    def exit(self) -> None:
        """Called when another module is shown."""

    def onReload(self) -> None:
        """Execute the module file again and replace the panel, as slicer.util.reloadScriptedModule does."""
        getattr(slicer.modules, self.moduleName.lower()).reload()

    def onReloadAndTest(self, **kwargs: Any) -> None:
        """Reload, then run the module's self-test."""
        self.onReload()
        slicer.selfTests[self.moduleName](**kwargs)


class ScriptedLoadableModuleLogic:
    """Base of a module's logic."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = self.__class__.__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True
        self.mrmlScene = slicer.mrmlScene

    def getParameterNode(self) -> Any:
        """The module's parameter node; made when there is none."""
        found = self.getAllParameterNodes()
        return found[0] if found else self.createParameterNode()

    def getAllParameterNodes(self) -> list[Any]:
        """All parameter nodes of this module in the scene."""
        scene = slicer.mrmlScene
        if self.isSingletonParameterNode:
            node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            return [node] if node is not None else []
        nodes = [
            scene.GetNthNodeByClass(i, "vtkMRMLScriptedModuleNode")
            for i in range(scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode"))
        ]
        return [n for n in nodes if n.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """Make a parameter node."""
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return slicer.mrmlScene.AddNode(node)


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base of a module's self-test."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:
        """In testing mode Slicer shows nothing that waits; the message is logged."""
        import logging

        logging.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, *_args: Any, **_kwargs: Any) -> None:
        """No views here."""

    def runTest(self) -> None:
        """Run the tests; a module overrides this."""


def purge(prefixes: tuple[str, ...]) -> None:
    """Forget imported modules of these packages (used by reload tests)."""
    for name in list(sys.modules):
        if any(name == p or name.startswith(p + ".") for p in prefixes):
            del sys.modules[name]
    importlib.invalidate_caches()
