"""Single members that need more than the general rules: Qt 5 names, search functions, dialogs, texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import calls, convert, surface

_RENAMED = {"exec_": "exec", "raise": "raise_"}
TAKES_PARENT_OWNERSHIP: frozenset[str] = frozenset()
PROPERTY_AS_STATIC: dict[str, set[str]] = {"QTimer": {"singleShot"}}
_FLAGS = {
    "Alignment": "AlignmentFlag", "StandardButtons": "StandardButton", "ItemFlags": "ItemFlag",
    "WindowFlags": "WindowType", "KeyboardModifiers": "KeyboardModifier", "MouseButtons": "MouseButton",
    "Options": "Option", "OpenMode": "OpenModeFlag", "Filters": "Filter",
}  # fmt: skip


def renamed(name: str) -> str:
    """Spell a method as PySide6 does."""
    return _RENAMED.get(name, name)


def flag_alias(name: str) -> str | None:
    """Give the PySide6 enumeration of a Qt 5 flags class."""
    return _FLAGS.get(name)


def flags_name(enum_name: str) -> str:
    """Give the name of the flags class that Qt 5 has for a flag enumeration of Qt 6."""
    return next((flags for flags, name in _FLAGS.items() if name == enum_name), f"{enum_name}s")


def class_constant(class_name: str, name: str) -> Any:
    """Constants of Qt 5 that Qt 6 dropped."""
    return _CONSTANTS.get((class_name, name))


_CONSTANTS: dict[tuple[str, str], Any] = {
    ("Qt", "MidButton"): 4,
    ("QPalette", "Background"): 10,
    ("QPalette", "Foreground"): 0,
}


# --- methods -------------------------------------------------------------------------------------------------------


def _children_of_type(value: QtCore.QObject, kind: Any, name: str) -> list[QtCore.QObject]:
    wanted = kind if isinstance(kind, str) else kind._surface.name
    found = []
    for child in value.children():
        if _inherits(child, wanted) and (not name or child.objectName() == name):
            found.append(child)
        found.extend(_children_of_type(child, kind, name))
    return found


def _inherits(value: QtCore.QObject, name: str) -> bool:
    return value.inherits(name) or any(base.__name__ == name for base in type(value).__mro__)


def _find_kind(arguments: tuple[Any, ...], name: str) -> tuple[Any, Any]:
    from .wrapper import PythonQtClassWrapper

    if not 1 <= len(arguments) <= 2 or not isinstance(arguments[0], (str, PythonQtClassWrapper)):
        raise ValueError(f"Could not find matching overload for given arguments:\n{arguments!r} ({name})")
    pattern = arguments[1] if len(arguments) == 2 else ""
    return arguments[0], pattern


def _find_child(_owner: Any, value: QtCore.QObject, *arguments: Any) -> Any:
    kind, name = _find_kind(arguments, "findChild")
    found = _matching(value, kind, name)
    return found[0] if found else None


def _find_children(_owner: Any, value: QtCore.QObject, *arguments: Any) -> Any:
    kind, name = _find_kind(arguments, "findChildren")
    return _matching(value, kind, name)


def _matching(value: QtCore.QObject, kind: Any, name: Any) -> list[QtCore.QObject]:
    if isinstance(name, str):
        return _children_of_type(value, kind, name)
    expression = convert.unwrap(name)
    if not isinstance(expression, QtCore.QRegularExpression):
        raise ValueError(f"Could not find matching overload for given arguments:\n{(kind, name)!r}")
    return [c for c in _children_of_type(value, kind, "") if expression.match(c.objectName()).hasMatch()]


def _connect(owner: Any, value: QtCore.QObject, *arguments: Any) -> bool:
    from . import signals

    if len(arguments) == 2 and isinstance(arguments[0], (str, bytes)):
        return signals.connect(owner, arguments[0], arguments[1])
    if len(arguments) >= 3 and isinstance(arguments[0], (str, bytes)) and not callable(arguments[1]):
        return _connect_slot(value, arguments[0], convert.unwrap(arguments[1]), arguments[2])
    raise ValueError(f"Could not find matching overload for given arguments:\n{arguments!r}")


def _connect_slot(sender: QtCore.QObject, signal: Any, receiver: Any, slot: Any) -> bool:
    signal_text = str(signal).removeprefix("2")
    prefix, member = (str(slot)[0], str(slot)[1:]) if str(slot)[:1] in "12" else ("1", str(slot))
    source = sender.metaObject().indexOfSignal(surface.normalized(signal_text))
    target = receiver.metaObject().indexOfMethod(surface.normalized(member)) if receiver is not None else -1
    if source < 0 or target < 0 or not isinstance(receiver, QtCore.QObject):
        return False
    return bool(
        QtCore.QObject.connect(
            sender,
            QtCore.SIGNAL(signal_text),
            receiver,
            QtCore.SIGNAL(member) if prefix == "2" else QtCore.SLOT(member),
        )
    )


def _disconnect(owner: Any, _value: QtCore.QObject, *arguments: Any) -> bool:
    from . import signals

    if not 1 <= len(arguments) <= 2 or not isinstance(arguments[0], (str, bytes)):
        raise ValueError(f"Could not find matching overload for given arguments:\n{arguments!r}")
    return signals.disconnect(owner, *arguments)


def _set_margin(_owner: Any, value: QtWidgets.QLayout, margin: int) -> None:
    value.setContentsMargins(margin, margin, margin, margin)


def _set_property(_owner: Any, value: QtCore.QObject, name: Any, new: Any) -> bool:
    return bool(value.setProperty(str(name), convert.unwrap(new)))


def _ui_load(_owner: Any, _value: Any, device: Any, parent: Any = None) -> Any:
    from host.ui_loader import load

    return load(convert.unwrap(device), convert.unwrap(parent))


def _exec_int(_owner: Any, value: Any, *arguments: Any) -> Any:
    result = value.exec(*[convert.unwrap(a) for a in arguments])
    return int(result) if isinstance(result, int) else result


def _item_data(_owner: Any, value: Any, *arguments: Any) -> Any:
    return calls.call(type(value).itemData, "itemData", arguments, self_object=value)


def _read_line(_owner: Any, value: Any, *arguments: Any) -> Any:
    return value.readLine(*arguments)


def _settings_value(_owner: Any, value: QtCore.QSettings, *arguments: Any) -> Any:
    if not 1 <= len(arguments) <= 2:
        raise ValueError(f"Could not find matching overload for given arguments:\n{arguments!r}")
    return value.value(str(arguments[0]), *[convert.unwrap(a) for a in arguments[1:]])


_METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    ("QObject", "findChild"): _find_child,
    ("QObject", "findChildren"): _find_children,
    ("QObject", "connect"): _connect,
    ("QObject", "disconnect"): _disconnect,
    ("QObject", "setProperty"): _set_property,
    ("QLayout", "setMargin"): _set_margin,
    ("QUiLoader", "load"): _ui_load,
    ("QSettings", "value"): _settings_value,
}


def method(_members: surface.Surface, name: str, value: Any) -> Callable[..., Any] | None:
    """Give the special implementation of a method, searched along Qt's inheritance."""
    for base in type(value).__mro__:
        found = _METHODS.get((base.__name__, name))
        if found is not None:
            return found
    return None


# --- static functions ----------------------------------------------------------------------------------------------


def _first_of_pair(cls: type, name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        result = calls.call(getattr(cls, name), name, arguments[:5] if name.startswith("get") else arguments)
        return convert.wrap(result[0] if isinstance(result, tuple) else result)

    return call


def _single_shot(*arguments: Any) -> None:
    from . import signals
    from .wrapper import PythonQtInstanceWrapper

    if len(arguments) == 3 and isinstance(arguments[1], PythonQtInstanceWrapper):
        member = arguments[2] if isinstance(arguments[2], str) else arguments[2].decode()
        if member[:1] not in "12":
            QtCore.qWarning("QTimer::singleShot: Invalid slot specification")
            return
        receiver = convert.unwrap(arguments[1])
        name = member[1:].split("(")[0]
        QtCore.QTimer.singleShot(int(arguments[0]), receiver, getattr(receiver, name))
        return
    if len(arguments) != 2 or not isinstance(arguments[0], (int, float)):
        raise ValueError(f"Could not find matching overload for given arguments:\n{arguments!r}")
    QtCore.QTimer.singleShot(int(arguments[0]), signals.trampoline(arguments[1]))


def _static_connect(*arguments: Any) -> bool:
    owner = arguments[0]
    return _connect(owner, convert.unwrap(owner), *arguments[1:])


_STATICS: dict[tuple[str, str], Callable[..., Any]] = {
    ("QTimer", "singleShot"): _single_shot,
    ("QObject", "connect"): _static_connect,
    **{
        ("QFileDialog", n): _first_of_pair(QtWidgets.QFileDialog, n)
        for n in ("getOpenFileName", "getOpenFileNames", "getSaveFileName")
    },
    **{
        ("QInputDialog", n): _first_of_pair(QtWidgets.QInputDialog, n)
        for n in ("getText", "getInt", "getDouble", "getItem", "getMultiLineText")
    },
}


def static_function(class_name: str, name: str) -> Callable[..., Any] | None:
    """Give the special implementation of a static function."""
    return _STATICS.get((class_name, name))


# --- construction ---------------------------------------------------------------------------------------------------


def constructor(_name: str) -> Callable[..., Any] | None:
    """Give a special constructor (none at present)."""
    return _CONSTRUCTORS.get(_name)


def _application(*_arguments: Any) -> Any:
    raise ValueError("The application exists already.")


_CONSTRUCTORS: dict[str, Callable[..., Any]] = {"QApplication": _application}


def check_constructor(_name: str, _arguments: tuple[Any, ...]) -> None:
    """Hook for constructors that PythonQt refuses although Qt 6 has them."""


def stand_in_arguments(signature: inspect.Signature, name: str, arguments: tuple[Any, ...]) -> list[Any]:
    """Convert arguments of a stand-in's method by its annotations."""
    parameters = list(signature.parameters.values())[1:]
    converted = []
    for parameter, argument in zip(parameters, arguments, strict=False):
        annotation = {
            "str": str,
            "bool": bool,
            "int": int,
            "float": float,
            "list[str]": list[str],
            "bytes": bytes,
            "QObject": QtCore.QObject,
            "QWidget": QtWidgets.QWidget,
        }.get(str(parameter.annotation), Any)
        try:
            converted.append(convert.convert(argument, annotation, True))
        except convert.Refused:
            raise ValueError(f"Called {name} with wrong arguments: {arguments!r}") from None
    return converted


# --- properties ------------------------------------------------------------------------------------------------------


def property_reader(members: surface.Surface, name: str, value: Any) -> Callable[[Any], Any] | None:
    """Give the reader of a property that Qt 6 lacks."""
    return _READERS.get((members.name, name)) or next(
        (r for base in type(value).__mro__ if (r := _READERS.get((base.__name__, name)))), None
    )


def property_writer(members: surface.Surface, name: str, value: Any) -> Callable[[Any, Any], None] | None:
    """Give the writer of a property that Qt 6 lacks."""
    return _WRITERS.get((members.name, name)) or next(
        (w for base in type(value).__mro__ if (w := _WRITERS.get((base.__name__, name)))), None
    )


_READERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("QComboBox", "autoCompletion"): lambda w: w.completer() is not None,
    ("QLayout", "margin"): lambda w: w.contentsMargins().left(),
}
_WRITERS: dict[tuple[str, str], Callable[[Any, Any], None]] = {
    ("QLayout", "margin"): lambda w, v: w.setContentsMargins(v, v, v, v),
}


# --- texts and truth -------------------------------------------------------------------------------------------------


def truth(value: Any) -> bool:
    """Python truth of a wrapped object: False for an empty or null value (a trap that PythonQt has)."""
    if isinstance(value, QtWidgets.QLayout):
        return value.count() > 0
    if isinstance(value, (QtWidgets.QWidget, QtCore.QAbstractItemModel)) and not isinstance(value, QtWidgets.QMenu):
        return True
    for test, empty in (("isNull", True), ("isEmpty", True), ("isValid", False)):
        function = getattr(value, test, None)
        if function is not None:
            try:
                if bool(function()) is empty:
                    return False
            except TypeError:
                continue
    return True


def representation(wrapped: Any, value: Any) -> str:
    """What repr() prints."""
    python, qt_name = type(wrapped).__name__, type(wrapped)._surface.name
    if value is None:
        return f"{python} ({qt_name} at: 0x(nil))"
    address = f"{shiboken6.getCppPointer(value)[0]:#x}"
    if isinstance(value, QtCore.QMargins):
        return f"QMargins({value.left()}, {value.top()}, {value.right()}, {value.bottom()}) "
    if isinstance(value, QtWidgets.QWidget):
        named = f', name="{value.objectName()}"' if value.objectName() else ""
        plain = f"{qt_name}({address}{named}) "
        return plain if python == qt_name else f"{python} ({plain}, at: {address})"
    if isinstance(value, QtCore.QObject):
        return f"{python} ({qt_name} at: {address})"
    return f"{python} ({_value_text(value)}, at: {address})"


def text(wrapped: Any, value: Any) -> str:
    """What str() gives."""
    if value is None:
        return f"{type(wrapped).__name__} (QObject 0x(nil))"
    if isinstance(value, QtCore.QByteArray):
        return str(bytes(value.data()))
    if isinstance(value, QtCore.QObject):
        return representation(wrapped, value)
    return _value_text(value)


def _value_text(value: Any) -> str:
    if isinstance(value, QtCore.QByteArray):
        return bytes(value.data()).decode(errors="replace")
    if isinstance(value, (QtCore.QSize, QtCore.QSizeF)):
        return f"{_number(value.width())}, {_number(value.height())}"
    if isinstance(value, (QtCore.QPoint, QtCore.QPointF)):
        return f"{_number(value.x())}, {_number(value.y())}"
    if isinstance(value, (QtCore.QRect, QtCore.QRectF)):
        return ", ".join(_number(v) for v in (value.x(), value.y(), value.width(), value.height()))
    if isinstance(value, QtGui.QPixmap):
        return f"Pixmap {value.width()}, {value.height()}"
    return repr(value)


def _number(value: float) -> str:
    return f"{value:g}"
