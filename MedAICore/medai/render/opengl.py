"""Whether pictures can be drawn on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator

import vtk

from medai.errors import EnvironmentFailure

_REMEDY = "Install libegl1, libgl1, libgl1-mesa-dri and libegl-mesa0 (Debian, Ubuntu), or run without pictures."


@functools.cache
def has_opengl() -> tuple[bool, str]:
    """(whether off-screen rendering works here, the reason where it does not)."""
    for package in ("trame_slicer", "slicer"):
        if importlib.util.find_spec(package) is None:
            return False, f"the package {package.replace('_', '-')} is not installed"
    if sys.platform == "linux" and not os.environ.get("DISPLAY") and not _has_library("libEGL.so.1"):
        return False, "there is no display and no libEGL.so.1 for off-screen OpenGL"
    with quiet_vtk():  # it tries an X server first and says that there is none
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        works = bool(window.SupportsOpenGL())
    if not works:
        return False, f"{window.GetClassName()} finds no usable OpenGL 3.2 driver"
    return True, ""


@contextlib.contextmanager
def quiet_vtk() -> Iterator[None]:
    """Keep VTK's warnings off the terminal (trame-slicer listens to a renamed event); errors are still shown."""
    before = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(before)


def require_opengl() -> None:
    """Raise EnvironmentFailure where off-screen rendering does not work."""
    works, reason = has_opengl()
    if not works:
        raise EnvironmentFailure(f"Pictures cannot be drawn: {reason}.", _REMEDY)


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
