"""The Python modules ``qt`` and ``ctk`` (and Slicer's Qt classes) over the wrapper classes."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore

from .. import facts
from . import virtuals, wrapper

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
            return _Namespace("Qt", QtCore.Qt)
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


class _Namespace:
    """``qt.Qt``: only enumerations."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native

    def __getattr__(self, name: str) -> Any:
        from . import enums, special, surface

        types_ = surface.enum_types(self._native)
        if name in types_:
            return enums.wrap_enum_type(types_[name])
        alias = special.flag_alias(name)
        if alias in types_:
            return enums.wrap_enum_type(types_[alias])
        for kind in types_.values():
            if name in kind.__members__:
                return enums.wrap_value(kind[name])
        constant = special.class_constant(self._name, name)
        if constant is None:
            raise AttributeError(f"{self._name} has no attribute named '{name}'")
        return constant


class StandInModule(types.ModuleType):
    """``ctk``: the classes that the host implements; any other name raises."""

    def __getattr__(self, name: str) -> Any:
        if name in wrapper.implementations and name.startswith("ctk"):
            return wrapper.class_for(name)
        raise AttributeError(f"module 'ctk' has no attribute '{name}' in this test host")
