"""Bring-up of the host, once per process, and its reset between tests."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any


class HostError(RuntimeError):
    """A module does something that Slicer would not accept."""


class Host:
    """The running stand-in application; use :func:`start`."""

    def __init__(self) -> None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        from PySide6 import QtCore, QtWidgets

        from .binding import modules, wrapper
        from .log_collector import LogCollector

        existing = QtWidgets.QApplication.instance()
        self.qt_application = existing or QtWidgets.QApplication(["Slicer"])
        QtCore.QCoreApplication.setOrganizationName("MedAI-host")
        QtCore.QCoreApplication.setApplicationName("Slicer")
        sys.modules["qt"] = modules.QtModule("qt")
        sys.modules["ctk"] = modules.StandInModule("ctk")
        import slicer
        import slicer.util

        from . import namespace, slicer_app, standins
        from .scene_application import SceneApplication

        standins.register_all()
        self.log = LogCollector()
        self.log.install()
        self.application = SceneApplication()
        self._use_settings_of_its_own(QtCore)
        self.modules = slicer_app.Modules(self)
        self.app = slicer_app.Application(self)
        slicer_app.install(self)
        namespace.install(self)
        self._slicer = slicer
        self._wrapper = wrapper
        self.panels: list[Any] = []

    def _use_settings_of_its_own(self, qt_core: Any) -> None:
        folder = self.application.temporary_folder.name
        qt_core.QSettings.setDefaultFormat(qt_core.QSettings.Format.IniFormat)
        qt_core.QSettings.setPath(qt_core.QSettings.Format.IniFormat, qt_core.QSettings.Scope.UserScope, folder)

    def load_module(self, path: str | Path) -> Any:
        """Load a module file as Slicer's factory does; gives the module object."""
        from .module_factory import load_module

        return load_module(self, Path(path))

    def module_widget(self, path: str | Path) -> Any:
        """Load a module (if needed), make its panel, enter it; gives the Python widget object."""
        name = Path(path).stem
        module = self.modules.module(name) or self.load_module(path)
        widget = module.make_widget()
        self.panels.append(widget)
        module.enter(widget)
        return widget

    def reset(self) -> None:
        """Return to the state after start: no panels, an empty scene, default settings."""
        from PySide6 import QtCore, QtWidgets

        from .event_loop import process_events, send_deferred_deletes

        for widget in self.panels:
            widget.host_module.close(widget)
        self.panels.clear()
        for top_level in QtWidgets.QApplication.topLevelWidgets():
            top_level.close()
        while QtWidgets.QApplication.overrideCursor() is not None:
            QtWidgets.QApplication.restoreOverrideCursor()
        send_deferred_deletes()
        process_events()
        self.application.clear()
        settings = QtCore.QSettings()
        settings.clear()
        settings.sync()
        from .namespace import packaging_recorder

        packaging_recorder.requests.clear()


_host: Host | None = None


def start() -> Host:
    """Give the host of this process; the first call brings it up."""
    global _host
    if _host is None:
        _keep_none()
        _host = Host()
    return _host


def _keep_none() -> None:
    """Give None more references than any test run can lose: some calls of PySide6 6.12 take one away each time."""
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 30
