"""Which members a wrapped class has: properties, slots, signals and enumerations."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from host import facts

QT_MODULES: list[Any] = [QtCore, QtGui, QtWidgets, QtUiTools]

# Classes that Qt 6 renamed or moved, by the name that Qt 5 (and so Slicer) uses.
RENAMED = {"QRegExpValidator": "QRegularExpressionValidator"}

# Classes whose headers were not read: base, properties and slots that Slicer documents (qSlicerAbstractModuleWidget).
SUPPLEMENT: dict[str, tuple[str, dict[str, tuple[str, bool]], list[str]]] = {
    "qSlicerScriptedLoadableModuleWidget": (
        "qSlicerWidget",
        {"isEntered": ("bool", False), "moduleName": ("QString", False)},
        ["enter", "exit", "self"],
    ),
}

# Members that PythonQt adds to Qt's own.
EXTRA_SLOTS = {
    "QObject": {"findChild", "findChildren", "connect", "disconnect", "inherits"},
    "QDialog": {"exec_"},
    "QMenu": {"exec_"},
    "QEventLoop": {"exec_"},
    "QWidget": {"raise", "raise_"},
}


@dataclass(frozen=True)
class Surface:
    """The members of one class, those of its bases included."""

    name: str
    properties: dict[str, tuple[str, bool]]  # name -> (C++ type, writable)
    slots: frozenset[str]
    signals: dict[str, tuple[str, ...]]  # name -> normalised signatures that connect() accepts
    known: bool  # False: taken from PySide6, no recorded facts about this class
    cpp_only: frozenset[str] = frozenset()
    reads_none: frozenset[str] = frozenset()
    slot_signatures: dict[str, list[str]] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)


# Surfaces that a test brings along, by class name.
REGISTERED: dict[str, Surface] = {}


def normalized(signature: str) -> str:
    """Spell a signal as Qt's meta object does: no spaces, const references or default values."""
    text = signature.split("=", 1)[0] if "(" not in signature else signature
    return bytes(QtCore.QMetaObject.normalizedSignature(text).data()).decode()


def _declared_signature(text: str) -> str:
    """Reduce a C++ declaration with argument names to the normalised signature."""
    name, _, rest = text.partition("(")
    types = []
    for argument in filter(None, (a.strip() for a in rest.rstrip(")").split(","))):
        argument = argument.split("=")[0].strip()
        words = argument.replace("*", "* ").replace("&", "& ").split()
        if len(words) > 1 and words[-1].isidentifier() and words[-2] not in ("const", "unsigned"):
            words = words[:-1]
        types.append(" ".join(words))
    return normalized(f"{name}({','.join(types)})")


@cache
def pyside_class(name: str) -> type | None:
    """Find the PySide6 class of this name in the flat name space of PythonQt's ``qt`` module."""
    wanted = RENAMED.get(name, name)
    for module in QT_MODULES:
        found = getattr(module, wanted, None)
        if isinstance(found, type):
            return found
    return None


def _qt_ancestors(cls: type) -> list[str]:
    return [c.__name__ for c in cls.__mro__ if c.__module__.startswith("PySide6.")]


def _recorded(name: str) -> dict[str, Any] | None:
    entry = facts.load("qt")["surface"].get(name)
    return dict(entry) if entry else None


def _reflected(cls: type) -> Surface:
    """Take the members from PySide6 itself where no facts were recorded."""
    properties: dict[str, tuple[str, bool]] = {}
    signals: dict[str, tuple[str, ...]] = {}
    meta = getattr(cls, "staticMetaObject", None)
    if meta is not None:
        for i in range(meta.propertyCount()):
            entry = meta.property(i)
            properties[entry.name()] = (entry.typeName(), entry.isWritable())
        for i in range(meta.methodCount()):
            method = meta.method(i)
            if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
                name = bytes(method.name().data()).decode()
                text = bytes(method.methodSignature().data()).decode()
                signals[name] = (*signals.get(name, ()), text)
    slots = {
        n
        for n in dir(cls)
        if not n.startswith("_")
        and n not in properties
        and n not in signals
        and callable(getattr(cls, n, None))
        and not isinstance(getattr(cls, n), type)
    }
    for ancestor in _qt_ancestors(cls):
        slots |= EXTRA_SLOTS.get(ancestor, set())
    return Surface(cls.__name__, properties, frozenset(slots), signals, known=False)


def _merge_recorded(name: str) -> dict[str, Any] | None:
    entry = _recorded(name)
    if entry is None:
        return None
    merged: dict[str, Any] = {"properties": {}, "slots": set(), "signals": {}}
    chain = [entry]
    seen = {name}
    base = entry["base"]
    if (
        base is None
        and name not in ("QObject",)
        and "deleteLater" not in entry["slots"]
        and "objectName" in entry["properties"]
    ):
        base = "QObject"
    while base and base not in seen:
        seen.add(base)
        parent = _recorded(base)
        if parent is None:
            break
        chain.append(parent)
        base = parent["base"]
    for part in reversed(chain):
        merged["properties"].update({p: (v[0], "w" in v[1]) for p, v in part["properties"].items()})
        merged["slots"] |= set(part["slots"])
        for text in part["signal_signatures"]:
            signal = text.split("(")[0]
            merged["signals"][signal] = tuple(dict.fromkeys((*merged["signals"].get(signal, ()), text)))
        for signal in part["signals"]:
            merged["signals"].setdefault(signal, ())
    return merged


def _recorded_base(name: str) -> str:
    """A recorded class with the members of a Qt base class; abstract ones were recorded in a derived class only."""
    if name == "QAbstractButton":
        return "ctkCollapsibleButton"  # the one class of Slicer over it derives from this one
    return name if name in facts.load("qt")["surface"] else "QWidget"


@cache
def surface_of(name: str) -> Surface:
    """Members of a Qt, CTK or Slicer class; KeyError when neither facts nor Qt know the class."""
    if name in REGISTERED:
        return REGISTERED[name]
    declared = facts.load("slicer").get(name)
    recorded = _merge_recorded(name)
    cls = pyside_class(name)
    # An empty combo box was measured for this list: its currentData is readable.
    none = frozenset(facts.load("qt")["reads_none"].get(name, ())) - {"currentData"}
    if recorded is not None:
        cpp_only: frozenset[str] = frozenset()
        enums: dict[str, list[str]] = {}
        signatures: dict[str, list[str]] = {}
        slots = set(recorded["slots"])
        properties, signals = recorded["properties"], recorded["signals"]
        if declared is not None:
            # Slicer 5.12 pins a newer CTK than the recording: what its headers add exists too.
            cpp_only, enums = frozenset(declared["cpp_only"]), declared["enums"]
            signatures = declared["slot_signatures"]
            slots |= set(declared["slots"])
            properties = {**{p: (t, True) for p, t in declared["properties"].items()}, **properties}
            signals = {**_declared_signals(declared), **signals}
        for ancestor in _qt_ancestors(cls) if cls else ():
            slots |= EXTRA_SLOTS.get(ancestor, set())
        slots -= set(properties)
        return Surface(name, properties, frozenset(slots), signals, True, cpp_only - slots, none, signatures, enums)
    if declared is not None:
        base = surface_of(_recorded_base(declared["base"]))
        properties = {**base.properties, **{p: (t, True) for p, t in declared["properties"].items()}}
        slots = (base.slots | set(declared["slots"])) - set(properties)
        return Surface(
            name,
            properties,
            frozenset(slots),
            {**base.signals, **_declared_signals(declared)},
            True,
            frozenset(declared["cpp_only"]) - slots,
            base.reads_none,
            declared["slot_signatures"],
            declared["enums"],
        )
    if name in SUPPLEMENT:
        base_name, more_properties, more_slots = SUPPLEMENT[name]
        base = surface_of(base_name)
        return replace(
            base, name=name, properties={**base.properties, **more_properties}, slots=base.slots | set(more_slots)
        )
    if cls is None:
        raise KeyError(name)
    return _reflected(cls)


def _declared_signals(declared: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        signal: tuple(_declared_signature(text) for text in declared["signal_signatures"].get(signal, ()))
        for signal in declared["signals"]
    }


@cache
def enum_types(cls: type) -> dict[str, type[enum.Enum]]:
    """Enumerations declared in a PySide6 class and its bases, by name."""
    found: dict[str, type[enum.Enum]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, enum.EnumMeta):
                found[name] = value
    return found


def is_qobject(value: Any) -> bool:
    """Tell whether a PySide6 object is a QObject that still exists."""
    return isinstance(value, QtCore.QObject) and shiboken6.isValid(value)
