"""``slicer.app`` and ``slicer.modules``: only what Slicer has and the host implements; anything else raises."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import slicer
from PySide6 import QtCore, QtWidgets

from .binding import convert, wrapper
from .event_loop import process_events
from .io_manager import CoreIOManager


class SlicerSignal:
    """A signal of the application or a module that Python connects to."""

    def __init__(self) -> None:
        self._targets: list[Any] = []

    def connect(self, target: Any) -> bool:
        """Add a callable."""
        self._targets.append(target)
        return True

    def disconnect(self, target: Any) -> bool:
        """Remove a callable."""
        if target not in self._targets:
            return False
        self._targets.remove(target)
        return True

    def emit(self, *arguments: Any) -> None:
        """Call all callables; exceptions are reported as from a Qt slot."""
        from .binding import signals

        for target in list(self._targets):
            signals.deliver(target, arguments)


class Application:
    """``slicer.app``."""

    _SIGNALS: ClassVar[set[str]] = {"startupCompleted()", "aboutToQuit()", "mrmlSceneChanged(vtkMRMLScene*)"}

    def __init__(self, host: Any) -> None:
        self._host = host
        self._signals = {text: SlicerSignal() for text in self._SIGNALS}
        self._io = CoreIOManager(host.application)
        self._settings_dialog: Any = None
        self.applicationName = "Slicer"
        self.applicationVersion = "5.12.3"
        self.majorVersion = 5
        self.minorVersion = 12
        self.revision = "34000"
        self.temporaryPath = host.application.temporary_folder.name
        self.slicerHome = host.application.temporary_folder.name

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"slicer.app has no attribute '{name}' in this test host (qSlicerApplication)")

    def connect(self, text: str, target: Any) -> bool:
        """Connect to a signal of the application."""
        if text not in self._signals:
            from .binding import messages

            messages.report(f"PythonQt: QObject::connect() signal '{text}' does not exist on qSlicerApplication")
            return False
        return self._signals[text].connect(target)

    def disconnect(self, text: str, target: Any) -> bool:
        """Undo a connection."""
        return self._signals[text].disconnect(target)

    def emit(self, text: str, *arguments: Any) -> None:
        """Emit a signal (host side)."""
        self._signals[text].emit(*arguments)

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def applicationLogic(self) -> Any:
        return self._host.application.application_logic

    def mrmlScene(self) -> Any:
        return self._host.application.scene

    def moduleManager(self) -> Any:
        return self._host.modules

    def moduleLogic(self, name: str) -> Any:
        return self._host.application.application_logic.GetModuleLogic(name)

    def layoutManager(self) -> None:
        """None, as without a main window."""
        return None

    def processEvents(self, *_flags: Any) -> None:
        process_events()

    def testingEnabled(self) -> bool:
        return True

    def commandOptions(self) -> Any:
        return _CommandOptions()

    def settingsDialog(self) -> Any:
        """The dialog of the application's settings; it lives as long as the application."""
        if self._settings_dialog is None:
            self._settings_dialog = wrapper.class_for("ctkSettingsDialog")()
        return self._settings_dialog

    def setOverrideCursor(self, cursor: Any) -> None:
        QtWidgets.QApplication.setOverrideCursor(QtCore.Qt.CursorShape(int(cursor)))

    def restoreOverrideCursor(self) -> None:
        QtWidgets.QApplication.restoreOverrideCursor()

    def topLevelWidgets(self) -> Any:
        return convert.wrap(QtWidgets.QApplication.topLevelWidgets())

    def palette(self) -> Any:
        return convert.wrap(QtWidgets.QApplication.palette())

    def style(self) -> Any:
        return convert.wrap(QtWidgets.QApplication.style())

    def settings(self) -> Any:
        return self.userSettings()

    def userSettings(self) -> Any:
        return wrapper.class_for("QSettings")()

    def revisionUserSettings(self) -> Any:
        return self.userSettings()

    def startupEnvironment(self) -> dict[str, str]:
        return dict(os.environ)

    def pauseRender(self) -> None:
        """Nothing is rendered."""

    def resumeRender(self) -> None:
        """Nothing is rendered."""

    def translate(self, _context: str, text: str) -> str:
        return text

    def os(self) -> str:
        return "linux"


class _CommandOptions:
    testingEnabled = True
    noMainWindow = True


class Modules:
    """``slicer.modules`` and the module manager: core module logics and the loaded scripted modules."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._loaded: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.__dict__.get("_loaded", {}):
            return self._loaded[name]
        logics = self._host.application.logics
        if name in logics:
            return CoreModule(name, logics[name])
        if name == "sampleDataSources":
            from .namespace import SampleDataLogic

            return SampleDataLogic.sources
        if name.endswith(("Instance", "Widget")):
            for module in self._loaded.values():
                if name in module.python_attributes():
                    return module.python_attributes()[name]
        raise AttributeError(f"slicer.modules has no module '{name}' in this test host")

    def add(self, module: Any) -> None:
        """Register a loaded module under its lower-case name."""
        self._loaded[module.name.lower()] = module

    def module(self, name: str) -> Any:
        """Find by name; None when not loaded."""
        try:
            return getattr(self, name.lower())
        except AttributeError:
            return None

    def modulesNames(self) -> tuple[str, ...]:
        """Names of all modules."""
        return tuple(sorted({*self._host.application.logics, *(m.name for m in self._loaded.values())}))

    loadedModulesNames = modulesNames


class CoreModule:
    """One of Slicer's own modules: only its logic."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name = name
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


def install(host: Any) -> None:
    """Set slicer.app, slicer.modules and the rest of the name space."""
    slicer.app = host.app
    slicer.modules = host.modules
    slicer.mrmlScene = host.application.scene
    slicer.selfTests = {}
    for name in wrapper.implementations:
        if name.startswith(("qMRML", "qSlicer")):
            setattr(slicer, name, wrapper.class_for(name))
