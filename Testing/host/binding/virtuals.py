"""Qt classes derived in Python: Qt calls back into the Python methods."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from PySide6 import QtCore

from . import convert

# Never replaced: PySide6 calls these while it makes or destroys an object, and PythonQt has no virtuals there.
_NOT_VIRTUAL = {"metaObject", "parent", "children", "objectName", "connect", "disconnect", "emit", "sender"}


class SignalDeclaration:
    """``qt.Signal(int)`` in a class body."""

    def __init__(self, *types: Any) -> None:
        self.types = types
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        from . import signals

        return signals.Signal(instance, self.name)


class SlotDeclaration:
    """``@qt.Slot(int)``: marks a method; the method itself is unchanged."""

    def __init__(self, *types: Any, **options: Any) -> None:
        self.types = types

    def __call__(self, function: Any) -> Any:
        return function


def _python_members(cls: type) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is not object and "_surface" not in vars(base) and base.__name__ != "PythonQtInstanceWrapper":
            members.update(vars(base))
    return members


@cache
def shell_class(cls: Any) -> type:
    """Make the PySide6 class that stands behind a Python subclass of a wrapper class."""
    base = cls._native
    members = _python_members(cls)
    body: dict[str, Any] = {"__module__": "host.binding.shells"}
    own_signals = {n: m for n, m in members.items() if isinstance(m, SignalDeclaration)}
    for name, declaration in own_signals.items():
        body[name] = QtCore.Signal(*declaration.types)
    body["_pythonqt_own_signals"] = frozenset(own_signals)
    if base.__module__.startswith("PySide6."):  # CTK and Slicer classes never call back
        for name, member in members.items():
            if callable(member) and not name.startswith("__") and name not in _NOT_VIRTUAL:
                method = getattr(base, name, None)
                if type(method).__name__ == "method_descriptor":
                    body[name] = _override(base, name)
    return type(base)(base.__name__, (base,), body)


def _override(base: type, name: str) -> Any:
    original = getattr(base, name)

    def call(shell: Any, *arguments: Any) -> Any:
        reference = shell.__dict__.get("_pythonqt_wrapper")
        wrapped = reference() if reference is not None else None
        method = getattr(type(wrapped), name, None) if wrapped is not None else None
        if method is None:
            return original(shell, *arguments)
        try:
            return convert.unwrap(method(wrapped, *[convert.wrap(a) for a in arguments]))
        except Exception:  # noqa: BLE001 - PythonQt prints what a virtual raises
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            return original(shell, *arguments)

    return call
