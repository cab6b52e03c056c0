"""Values between Python and Qt by PythonQt's rules (exact pass first, then the loose one)."""

from __future__ import annotations

import collections.abc
import enum
import os
import types
import typing
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from . import enums, special, wrapper

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


class Refused(Exception):
    """This value does not fit this parameter."""


# A pointer parameter accepts None, a value parameter does not.
_POINTERS = (
    QtCore.QObject,
    QtWidgets.QLayoutItem,
    QtWidgets.QTableWidgetItem,
    QtWidgets.QListWidgetItem,
    QtWidgets.QTreeWidgetItem,
    QtGui.QStandardItem,
    QtCore.QEvent,
)

# Conversions that Qt's constructors do implicitly and PythonQt knows; all others are refused.
_IMPLICIT: dict[type, tuple[type, ...]] = {
    QtGui.QBrush: (QtGui.QColor, QtCore.Qt.GlobalColor),
    QtGui.QPen: (QtGui.QColor, QtCore.Qt.GlobalColor),
    QtGui.QColor: (QtCore.Qt.GlobalColor,),
    QtGui.QCursor: (QtCore.Qt.CursorShape,),
}


def unwrap(value: Any) -> Any:
    """Give the PySide6 side of any value, as a QVariant would hold it."""
    if isinstance(value, wrapper.PythonQtInstanceWrapper):
        return wrapper.native(value)
    if isinstance(value, enums.EnumValue):
        return int(value)
    if type(value) in (list, tuple):
        return [unwrap(v) for v in value]
    if type(value) is dict:
        return {str(k): unwrap(v) for k, v in value.items()}
    if isinstance(value, float) and type(value) is not float:  # numpy.float64 is a float to PythonQt
        return float(value)
    if type(value).__module__ == "numpy" and hasattr(value, "shape") and value.shape:
        return [unwrap(v) for v in value]
    return value


def wrap(value: Any) -> Any:
    """Give the Python side of a value that came from Qt."""
    if value is None or isinstance(value, (bool, str, bytes)):
        return value
    if isinstance(value, enum.Flag):
        return enums.wrap_flags(value, special.flags_name(type(value).__name__))
    if isinstance(value, enum.Enum):
        return enums.wrap_value(value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(wrap(v) for v in value)
    if type(value) is dict:
        return {k: wrap(v) for k, v in value.items()}
    if isinstance(value, QtCore.QByteArray) or wrapper.is_native(value):
        return wrapper.wrapper_of(value)
    return value


def _to_str(value: Any, loose: bool) -> str:
    if isinstance(value, str):
        return str(value)
    if not loose or isinstance(value, wrapper.PythonQtInstanceWrapper):
        raise Refused
    return str(value)


def _to_bool(value: Any, loose: bool) -> bool:
    if isinstance(value, bool):
        return value
    if not loose or isinstance(value, wrapper.PythonQtInstanceWrapper):
        raise Refused
    return bool(value)


def _to_int(value: Any, loose: bool, truncate_numpy_float: bool = False) -> int:
    if type(value) is int:
        return value
    if not loose:
        raise Refused
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and (type(value) is float or truncate_numpy_float):
        return int(value)
    if type(value).__module__ == "numpy" and not isinstance(value, float) and not getattr(value, "shape", ()):
        return int(value)
    raise Refused


def _to_float(value: Any, loose: bool) -> float:
    if type(value) is float or isinstance(value, float):
        return float(value)
    if not loose:
        raise Refused
    if isinstance(value, int) or (type(value).__module__ == "numpy" and not getattr(value, "shape", ())):
        return float(value)
    raise Refused


def _to_enum(value: Any, kind: type[enum.Enum], loose: bool) -> Any:
    if isinstance(value, enums.EnumValue) and value.qt_enum is kind:
        return enums.to_qt(value, kind)
    if loose and isinstance(value, int):
        try:
            return enums.to_qt(value, kind)
        except ValueError as error:
            raise Refused from error
    if loose and isinstance(value, float):
        raise Refused
    raise Refused


def string_list(value: Any) -> list[str]:
    """Convert to QStringList: any sequence, also a string (one entry per character)."""
    if isinstance(value, (list, tuple, str)):
        return [_to_str(v, True) for v in value]
    if isinstance(value, bytes) or (type(value).__module__ == "numpy" and getattr(value, "shape", ())):
        return [str(v) for v in value]
    raise Refused


def _to_sequence(value: Any, annotation: Any, loose: bool) -> list[Any]:
    arguments = typing.get_args(annotation)
    item = arguments[0] if arguments else Any
    if item is str:
        if not loose and not isinstance(value, (list, tuple)):
            raise Refused
        return string_list(value)
    if not isinstance(value, (list, tuple)):
        raise Refused
    return [convert(v, item, loose) for v in value]


def _to_bytes(value: Any, loose: bool) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return QtCore.QByteArray(bytes(value))
    native = wrapper.native(value) if isinstance(value, wrapper.PythonQtInstanceWrapper) else value
    if isinstance(native, QtCore.QByteArray):
        return native
    if loose and isinstance(value, str):
        return QtCore.QByteArray(value.encode())
    raise Refused


def _to_object(value: Any, kind: type, loose: bool) -> Any:
    if value is None:
        if issubclass(kind, _POINTERS):
            return None
        raise Refused
    if isinstance(value, wrapper.PythonQtInstanceWrapper):
        native = wrapper.native(value)
        if native is None and issubclass(kind, _POINTERS):
            return None  # the C++ object is gone: PythonQt passes a null pointer
        if isinstance(native, kind):
            return native
        if loose and any(isinstance(native, source) for source in _IMPLICIT.get(kind, ())):
            return kind(native)
        raise Refused
    if isinstance(value, kind):
        return value
    if loose and isinstance(value, enums.EnumValue) and value.qt_enum in _IMPLICIT.get(kind, ()):
        return kind(enums.to_qt(value, value.qt_enum))
    if loose and kind is QtCore.QByteArray:
        return _to_bytes(value, loose)
    raise Refused


def _to_callable(value: Any) -> Any:
    if not callable(value):
        raise Refused
    from . import signals

    return signals.trampoline(value)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def convert(value: Any, annotation: Any, loose: bool) -> Any:
    """Convert one argument to the parameter type that PySide6 declares; Refused when PythonQt would not."""
    if annotation in (Any, object) or isinstance(annotation, str):
        return unwrap(value)
    if _is_union(annotation):
        return _convert_union(value, typing.get_args(annotation), loose)
    if annotation is str:
        return _to_str(value, loose)
    if annotation is bool:
        return _to_bool(value, loose)
    if annotation is int:
        return _to_int(value, loose)
    if annotation is float:
        return _to_float(value, loose)
    if annotation in (bytes, bytearray, memoryview):
        return _to_bytes(value, loose)
    if isinstance(annotation, enum.EnumMeta):
        return _to_enum(value, annotation, loose)
    origin = typing.get_origin(annotation) or annotation
    if origin is collections.abc.Callable:
        return _to_callable(value)
    if (
        isinstance(origin, type)
        and issubclass(origin, (list, tuple, collections.abc.Iterable))
        and (typing.get_args(annotation) or origin in (list, tuple))
    ):
        return _to_sequence(value, annotation, loose)
    if isinstance(annotation, type) and wrapper.is_native_type(annotation):
        return _to_object(value, annotation, loose)
    return unwrap(value)


def _convert_union(value: Any, options: tuple[Any, ...], loose: bool) -> Any:
    if value is None and type(None) in options:
        return None
    if str in options and any(
        getattr(o, "__origin__", o) is os.PathLike for o in options
    ):  # a path: Qt's parameter is a QString
        return _to_str(value, loose)
    if any(o in (bytes, bytearray) for o in options):
        return _to_bytes(value, loose)
    kinds = [o for o in options if o is not type(None)]
    # PySide6 writes its own implicit conversions as unions (QIcon | QPixmap): only the first one is Qt's parameter.
    if not isinstance(kinds[0], type) or wrapper.is_native_type(kinds[0]):
        kinds = kinds[:1]
    for kind in kinds:
        try:
            return convert(value, kind, loose)
        except Refused:
            continue
    raise Refused


_PROPERTY_TYPES: dict[str, Any] = {
    "QString": str,
    "bool": bool,
    "int": int,
    "uint": int,
    "double": float,
    "float": float,
    "QStringList": collections.abc.Sequence[str],
    "QByteArray": bytes,
}


def to_property(value: Any, cpp_type: str, qt_enum: type[enum.Enum] | None) -> Any:
    """Convert for an assignment to a property of this C++ type; Refused when PythonQt would raise."""
    if cpp_type == "QVariant":
        if value is None:
            raise Refused
        return unwrap(value)
    if cpp_type in ("QVariantMap", "QVariantList"):
        return _to_variant_container(value, cpp_type)
    if cpp_type == "QString" and isinstance(value, wrapper.PythonQtInstanceWrapper):
        return str(value)
    if cpp_type == "bool":
        return bool(value)
    if cpp_type in ("int", "uint"):
        number = _to_int(value, True, truncate_numpy_float=True)
        return (number - INT_MIN) % 2**32 + INT_MIN if cpp_type == "int" else number % 2**32
    annotation = _PROPERTY_TYPES.get(cpp_type)
    if annotation is not None:
        return convert(value, annotation, True)
    kind = getattr(QtCore, cpp_type, None) or getattr(QtGui, cpp_type, None) or getattr(QtWidgets, cpp_type, None)
    if isinstance(kind, type):
        return _to_object(value, kind, cpp_type not in ("QCursor", "QKeySequence"))
    return _to_enum_property(value, qt_enum)


def _to_variant_container(value: Any, cpp_type: str) -> Any:
    wanted: tuple[type, ...] = (dict,) if cpp_type == "QVariantMap" else (list, tuple)
    if not isinstance(value, wanted):
        raise Refused
    return unwrap(value)


def _to_enum_property(value: Any, qt_enum: type[enum.Enum] | None) -> Any:
    if isinstance(value, str) and qt_enum is not None:
        names = value.replace("|", " ").split()
        if not names or any(n not in qt_enum.__members__ for n in names):
            raise Refused
        total = 0
        for name in names:
            total |= int(qt_enum[name].value)
        return total
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, bool):
        return int(value)
    raise Refused
