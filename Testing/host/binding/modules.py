"""The Python modules ``qt`` and ``ctk`` (and Slicer's Qt classes) over the wrapper classes."""

from __future__ import annotations

import types
from functools import cache
from typing import Any

from PySide6 import QtCore

from host import facts

from . import surface, text_codec, virtuals, wrapper

_FUNCTIONS = {
    "qVersion": QtCore.qVersion,
    "qDebug": QtCore.qDebug,
    "qWarning": QtCore.qWarning,
    "qCritical": QtCore.qCritical,
    "SIGNAL": lambda text: "2" + text,
    "SLOT": lambda text: "1" + text,
    "Signal": virtuals.SignalDeclaration,
    "Slot": virtuals.SlotDeclaration,
    "Property": property,
}


class QtModule(types.ModuleType):
    """``qt``: every class of Qt in one flat name space."""

    def __getattr__(self, name: str) -> Any:
        if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        if name == "Qt":
            return _namespace()
        if name == "QTextCodec":
            return text_codec.QTextCodec
        if name.startswith("Q") and (name in facts.load("qt")["qt_names"] or name in _BEYOND_RECORDING):
            try:
                return wrapper.class_for(name)
            except KeyError:
                raise AttributeError(f"module 'qt' has no attribute '{name}' in this test host") from None
        raise AttributeError(f"module 'qt' has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        return sorted({*facts.load("qt")["qt_names"], *_FUNCTIONS})


# Slicer wraps more Qt modules than the recorded build did.
_BEYOND_RECORDING = {"QUrlQuery", "QSysInfo", "QNetworkAccessManager", "QNetworkRequest", "QStandardPaths", "QShortcut"}


@cache
def _namespace() -> Any:
    """``qt.Qt``: a class without objects; holds enumerations only."""
    made = wrapper.PythonQtClassWrapper("Qt", (wrapper.PythonQtInstanceWrapper,), {"__module__": "PythonQt.QtCore"})
    made._surface = surface.Surface("Qt", {}, frozenset(), {}, known=True)
    made._native = QtCore.Qt
    return made


class StandInModule(types.ModuleType):
    """``ctk``: the classes that the host implements; any other name raises."""

    def __getattr__(self, name: str) -> Any:
        if name in wrapper.implementations and name.startswith("ctk"):
            return wrapper.class_for(name)
        raise AttributeError(f"module 'ctk' has no attribute '{name}' in this test host")
