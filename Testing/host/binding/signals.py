"""Connections as PythonQt makes them: by signature string, arguments trimmed, exceptions printed and swallowed."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import convert, messages, surface, wrapper


class Connection:
    """One Python callable on one signal; Qt holds the trampoline, the sender holds this."""

    def __init__(self, signature: str, target: Any, function: Any) -> None:
        self.signature = signature
        self.target = target
        self.function = function


def wanted_arguments(target: Any) -> int | None:
    """How many arguments PythonQt passes to this callable; None for all (no trimming)."""
    function, bound = target, 0
    if inspect.ismethod(target):
        function, bound = target.__func__, 1
    if not inspect.isfunction(function):
        return None
    code = function.__code__
    if code.co_flags & inspect.CO_VARARGS:
        return None
    return max(code.co_argcount - bound, 0)


def deliver(target: Any, arguments: tuple[Any, ...]) -> Any:
    """Call a Python callable for an emission; an exception is reported, never raised into Qt."""
    limit = wanted_arguments(target)
    try:
        return target(*arguments[:limit])
    except SystemExit:
        raise
    except BaseException:  # noqa: BLE001 - PythonQt prints whatever a slot raises
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return None


def trampoline(target: Any) -> Any:
    """Wrap a Python callable for a Qt function that takes a functor."""

    def call(*arguments: Any) -> None:
        deliver(target, tuple(convert.wrap(a) for a in arguments))

    return call


def _qt_signature(sender: QtCore.QObject, text: str) -> str | None:
    """Find the signature in the sender's meta object; VTK pointers are plain Python objects there."""
    wanted = surface.normalized(text)
    meta = sender.metaObject()
    for candidate in (wanted, *_python_spellings(wanted)):
        if meta.indexOfSignal(candidate) >= 0:
            return candidate
    return None


def _python_spellings(signature: str) -> list[str]:
    name, _, rest = signature.partition("(")
    arguments = [a for a in rest.rstrip(")").split(",") if a]
    replaced = ["PyObject" if "vtk" in a or a.endswith("*") else a for a in arguments]
    flags = ["int" if "::" in a else a for a in replaced]
    return [f"{name}({','.join(replaced)})", f"{name}({','.join(flags)})"]


def allowed_signature(class_surface: surface.Surface, text: str) -> str | None:
    """Spell a signature as the facts list it; None when the class has no such signal."""
    try:
        raw = text.decode() if isinstance(text, bytes) else str(text)
    except UnicodeDecodeError:
        return None
    if raw[:1] == "2":
        raw = raw[1:]
    wanted = surface.normalized(raw)
    name = wanted.split("(")[0]
    signatures = class_surface.signals.get(name)
    if signatures is None:
        return None
    return wanted if wanted in signatures else None


def _connections(sender: QtCore.QObject) -> list[Connection]:
    return sender.__dict__.setdefault("_pythonqt_connections", [])


def connect(owner: Any, text: Any, target: Any) -> bool:
    """Connect a signal, given by its signature, to a Python callable (or to anything: the call fails later)."""
    sender = wrapper.native(owner)
    own = _custom_signal(sender, text)
    signature = own or allowed_signature(wrapper.surface_for(owner), text)
    qt_signature = _qt_signature(sender, signature) if signature else None
    legacy = _LEGACY.get((wrapper.surface_for(owner).name, signature)) if signature else None
    if legacy is not None:
        qt_signature, target_function = legacy[0], _adapted(sender, target, legacy[1])
    else:
        target_function = trampoline(target)
    if signature is None or qt_signature is None:
        messages.report(
            f"PythonQt: QObject::connect() signal '{_shown(text)}' does not exist on {wrapper.surface_for(owner).name}"
        )
        return False
    QtCore.QObject.connect(sender, QtCore.SIGNAL(qt_signature), target_function)
    _connections(sender).append(Connection(signature, target, (qt_signature, target_function)))
    return True


def _custom_signal(sender: QtCore.QObject, text: Any) -> str | None:
    """A signal that a Python subclass declared with qt.Signal."""
    raw = text.decode() if isinstance(text, bytes) else str(text)
    wanted = surface.normalized(raw.removeprefix("2"))
    own = getattr(type(sender), "_pythonqt_own_signals", ())
    return wanted if wanted.split("(")[0] in own and sender.metaObject().indexOfSignal(wanted) >= 0 else None


# Signals of Qt 5 that Qt 6 no longer has: the Qt 6 signal to listen to and how its arguments translate.
_LEGACY: dict[tuple[str, str | None], tuple[str, Any]] = {
    ("QComboBox", "currentIndexChanged(QString)"): ("currentTextChanged(QString)", None),
    ("QComboBox", "activated(QString)"): ("textActivated(QString)", None),
    ("QComboBox", "highlighted(QString)"): ("textHighlighted(QString)", None),
    ("ctkComboBox", "currentIndexChanged(QString)"): ("currentTextChanged(QString)", None),
    ("QSpinBox", "valueChanged(QString)"): ("textChanged(QString)", None),
    ("QDoubleSpinBox", "valueChanged(QString)"): ("textChanged(QString)", None),
    ("QButtonGroup", "buttonClicked(int)"): ("idClicked(int)", None),
    ("QButtonGroup", "buttonToggled(int,bool)"): ("idToggled(int,bool)", None),
    ("QProcess", "finished(int)"): ("finished(int,QProcess::ExitStatus)", lambda sender, code, status: (code,)),
    ("QProcess", "error(QProcess::ProcessError)"): ("errorOccurred(QProcess::ProcessError)", None),
}


def _adapted(sender: QtCore.QObject, target: Any, translate: Any) -> Any:
    def call(*arguments: Any) -> None:
        values = translate(sender, *arguments) if translate else arguments
        deliver(target, tuple(convert.wrap(a) for a in values))

    return call


def _shown(text: Any) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def disconnect(owner: Any, text: Any, target: Any = None) -> bool:
    """Undo one connection (or, without target, all Python ones of this signal)."""
    sender = wrapper.native(owner)
    signature = _custom_signal(sender, text) or allowed_signature(wrapper.surface_for(owner), text)
    found = [c for c in _connections(sender) if c.signature == signature and (target is None or c.target == target)]
    if not found:
        return False
    for connection in found if target is None else found[:1]:
        _connections(sender).remove(connection)
        qt_signature, function = connection.function
        if shiboken6.isValid(sender):
            QtCore.QObject.disconnect(sender, QtCore.SIGNAL(qt_signature), function)
    return True


class Signal:
    """``button.clicked``: the first overload of a signal."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self._name = name

    @property
    def _signature(self) -> str:
        spelled = wrapper.surface_for(self._owner).signals.get(self._name, ())
        own = _own_signature(wrapper.native(self._owner), self._name)
        if own:
            return own
        with_arguments = [s for s in spelled if not s.endswith("()")]
        # The meta object lists the full signature first and the clones without default arguments after it.
        if self._name in ("clicked", "triggered", "toggled", "destroyed") and with_arguments:
            return with_arguments[0]
        integers = [s for s in spelled if s.endswith("(int)")]
        if integers and len(spelled) > 1:
            return integers[0]
        return spelled[0]

    def connect(self, target: Any, *more: Any) -> bool:
        """Connect to a callable, or to (receiver, slot)."""
        return connect(self._owner, self._signature, target)

    def disconnect(self, *targets: Any) -> bool:
        """Disconnect one callable, or all."""
        return disconnect(self._owner, self._signature, *targets)

    def emit(self, *arguments: Any) -> None:
        """Emit; wrong number of arguments raises ValueError."""
        sender = wrapper.native(self._owner)
        count = len([a for a in self._signature.partition("(")[2].rstrip(")").split(",") if a])
        if not arguments and self._name in ("clicked", "triggered"):
            arguments = (False,)  # the declared default value
        if len(arguments) != count:
            raise ValueError(f"Called {self._signature} -> void with wrong number of arguments: {tuple(arguments)!r}")
        emitter = getattr(sender, self._name)
        values = [convert.unwrap(a) for a in arguments]
        try:
            emitter = _overload(emitter, self._signature)
            emitter.emit(*values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Called {self._signature} -> void with wrong arguments: {tuple(arguments)!r}") from error

    __call__ = emit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signal) and (other._owner, other._name) == (self._owner, self._name)

    def __hash__(self) -> int:
        return hash((self._owner, self._name))

    def __repr__(self) -> str:
        return f"<qt signal {self._name} of {wrapper.surface_for(self._owner).name} instance at {id(self):#x}>"


_PYTHON_TYPES: dict[str, type] = {"bool": bool, "int": int, "QString": str, "double": float}


def _overload(emitter: Any, signature: str) -> Any:
    """Choose PySide6's overload of a signal (its default one of ``clicked`` takes no argument)."""
    types = [_PYTHON_TYPES.get(t) for t in signature.partition("(")[2].rstrip(")").split(",") if t]
    if not types or None in types:
        return emitter
    try:
        return emitter[types[0] if len(types) == 1 else tuple(types)]
    except (IndexError, KeyError, TypeError):
        return emitter


def _own_signature(sender: QtCore.QObject | None, name: str) -> str | None:
    if sender is None or name not in getattr(type(sender), "_pythonqt_own_signals", ()):
        return None
    meta = sender.metaObject()
    for i in range(meta.methodCount()):
        method = meta.method(i)
        if bytes(method.name().data()).decode() == name:
            return bytes(method.methodSignature().data()).decode()
    return None
