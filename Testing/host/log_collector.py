"""Collects what must not happen in a test: VTK error lines, Python exceptions in slots, misspelt signals."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

import vtk

from .binding import messages


class LogCollector:
    """While installed, keeps every error; ``errors`` is read (and emptied) by the fixture after each test."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self._former_hook: Any = None
        self._window: Any = None

    def install(self) -> None:
        """Start collecting."""
        messages.capture_qt_messages()
        messages.listen(self._message)
        self._former_hook, sys.excepthook = sys.excepthook, self._exception
        window = vtk.vtkOutputWindow()
        vtk.vtkOutputWindow.SetInstance(window)
        window.SetDisplayModeToNever()
        window.AddObserver("ErrorEvent", self._vtk_error)
        window.AddObserver("WarningEvent", self._vtk_warning)
        self._window = window
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)

    def _message(self, level: str, text: str) -> None:
        if level == "error" or text.startswith("PythonQt:"):
            self.errors.append(text)
        else:
            self.warnings.append(text)

    def _exception(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, value, trace))
        self.errors.append(text)
        sys.stderr.write(text)  # as PythonQt does; also what a failing bring-up shows

    @vtk.calldata_type(vtk.VTK_STRING)
    def _vtk_error(self, _window: Any, _event: str, text: str) -> None:
        self.errors.append(f"VTK: {text.strip()}")

    @vtk.calldata_type(vtk.VTK_STRING)
    def _vtk_warning(self, _window: Any, _event: str, text: str) -> None:
        self.warnings.append(f"VTK: {text.strip()}")

    def take(self) -> list[str]:
        """Give the errors since the last call and forget them."""
        found, self.errors = self.errors, []
        return found
