"""Whether pictures can be drawn on this machine."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys

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
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    if not window.SupportsOpenGL():
        return False, f"{window.GetClassName()} finds no usable OpenGL 3.2 driver"
    return True, ""


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
