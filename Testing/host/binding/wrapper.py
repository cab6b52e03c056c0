"""The wrapper objects: one per Qt object, without Qt's inheritance, strict about members."""

from __future__ import annotations

import sys
import weakref
from typing import Any

import shiboken6
from PySide6 import QtCore, QtWidgets

from . import calls, convert, enums, signals, special, surface, virtuals

# Classes implemented by stand-ins (ctk, qMRML, qSlicer): name -> PySide6 class.
implementations: dict[str, type] = {}
_classes: dict[str, PythonQtClassWrapper] = {}

# After these calls Qt (or PySide6 in its name) owns the arguments.
PASSES_OWNERSHIP = {
    "addWidget", "insertWidget", "addLayout", "insertLayout", "addRow", "insertRow", "addTab", "insertTab",
    "setWidget", "setItem", "addItem", "insertItem", "setCellWidget", "setCentralWidget", "addDockWidget",
    "setLayout", "addPermanentWidget", "setIndexWidget", "setItemWidget", "setCornerWidget", "setTitleBarWidget",
    "addTopLevelItem", "appendRow", "setMenuBar", "setStatusBar", "addToolBar", "setParent", "setVerticalHeaderItem",
    "setHorizontalHeaderItem", "takeItem", "addChild", "replaceWidget", "addPanel",
}  # fmt: skip


def is_native_type(kind: type) -> bool:
    """Tell whether this class comes from PySide6 (or is a stand-in)."""
    return isinstance(kind, type) and issubclass(kind, shiboken6.Object)


def is_native(value: Any) -> bool:
    """Tell whether this is a PySide6 object."""
    return isinstance(value, shiboken6.Object)


def native(wrapped: PythonQtInstanceWrapper) -> Any:
    """Give the PySide6 object, or None where it was never created or is destroyed."""
    found = wrapped.__dict__.get("_qt")
    return found if found is not None and shiboken6.isValid(found) else None


def surface_for(wrapped: PythonQtInstanceWrapper) -> surface.Surface:
    """Members of the wrapped class."""
    return type(wrapped)._surface


def native_class(name: str) -> type | None:
    """PySide6 class behind a wrapper class."""
    return implementations.get(name) or surface.pyside_class(name)


def class_for(name: str) -> PythonQtClassWrapper:
    """Give the wrapper class of this name; KeyError when neither facts nor Qt know it."""
    known = _classes.get(name)
    if known is None:
        cls = native_class(name)
        if cls is None:
            raise KeyError(name)
        known = PythonQtClassWrapper(name, (PythonQtInstanceWrapper,), {})
        known._surface = surface.surface_of(name)
        known._native = cls
        known.__module__ = _module_of(name)
        _classes[name] = known
    return known


def _module_of(name: str) -> str:
    cls = surface.pyside_class(name)
    if name.startswith("ctk"):
        return "PythonQt.CTKWidgets"
    module = cls.__module__.rsplit(".", 1)[-1] if cls else "private"
    return "PythonQt." + {"QtWidgets": "QtGui"}.get(module, module)


def _class_of_native(value: Any) -> PythonQtClassWrapper:
    for base in type(value).__mro__:
        name = base.__name__
        if implementations.get(name) is base or surface.pyside_class(name) is base:
            return class_for(name)
        if base.__module__.startswith("PySide6."):
            return class_for(name)
    raise KeyError(type(value).__name__)


def wrapper_of(value: Any) -> PythonQtInstanceWrapper:
    """Give the one wrapper of a PySide6 object."""
    reference = value.__dict__.get("_pythonqt_wrapper") if hasattr(value, "__dict__") else None
    found = reference() if reference is not None else None
    if found is not None:
        return found
    cls = _class_of_native(value)
    made = cls.__new__(cls)
    _attach(made, value, owned=False)
    return made


def _attach(wrapped: PythonQtInstanceWrapper, value: Any, owned: bool) -> None:
    wrapped.__dict__["_qt"] = value
    wrapped.__dict__["_owned"] = owned
    wrapped.__dict__["_address"] = shiboken6.getCppPointer(value)[0] if isinstance(value, QtCore.QObject) else id(value)
    if hasattr(value, "__dict__"):
        value.__dict__["_pythonqt_wrapper"] = weakref.ref(wrapped)


def pass_ownership(arguments: tuple[Any, ...]) -> None:
    """Note that Qt owns these now: they survive their last Python reference."""
    for argument in arguments:
        if isinstance(argument, PythonQtInstanceWrapper):
            value = native(argument)
            argument.__dict__["_owned"] = False
            if value is not None and is_extended(argument):
                value.__dict__["_pythonqt_strong"] = argument


def is_extended(wrapped: PythonQtInstanceWrapper) -> bool:
    """Tell whether the object's class was derived in Python (its attributes outlive the reference)."""
    return type(wrapped) is not _classes.get(type(wrapped)._surface.name)


def _layout_item(value: Any) -> PythonQtInstanceWrapper:
    """PythonQt gives the items of a layout as plain QLayoutItem, whatever they are."""
    cls = class_for("QLayoutItem")
    made = cls.__new__(cls)
    made.__dict__.update(_qt=value, _owned=False, _address=id(value))
    return made


class UnboundSlot:
    """``qt.QLabel.setText``: call with the object first, or a static function."""

    def __init__(self, cls: PythonQtClassWrapper, name: str) -> None:
        self._cls = cls
        self.__name__ = name

    def __call__(self, *arguments: Any, **kwargs: Any) -> Any:
        name, cls = self.__name__, self._cls
        calls.no_keywords(name, kwargs)
        handler = special.static_function(cls._surface.name, name)
        if handler is not None:
            return handler(*arguments)
        function = getattr(cls._native, special.renamed(name), None)
        if _is_static(cls._native, special.renamed(name)):
            return convert.wrap(calls.call(function, name, arguments))
        if not arguments or not isinstance(arguments[0], PythonQtInstanceWrapper):
            raise TypeError(f"descriptor '{name}' requires a '{cls.__name__}' object")
        if name not in surface_for(arguments[0]).slots:
            raise ValueError(f"'{name}' needs a {cls._surface.name}, not a {surface_for(arguments[0]).name}")
        return BoundSlot(arguments[0], name)(*arguments[1:])

    def __repr__(self) -> str:
        return f"<unbound qt slot {self.__name__} of {self._cls._surface.name} type>"


UnboundSlot.__name__ = "builtin_qt_slot"


def _is_static(cls: type | None, name: str) -> bool:
    for base in cls.__mro__ if cls else ():
        if name in vars(base):
            return type(vars(base)[name]).__name__ in ("staticmethod", "builtin_function_or_method")
    return False


class BoundSlot:
    """``label.setText``: a method of one object."""

    def __init__(self, owner: PythonQtInstanceWrapper, name: str) -> None:
        self._owner = owner
        self.__name__ = name

    def __call__(self, *arguments: Any, **kwargs: Any) -> Any:
        owner, name = self._owner, self.__name__
        calls.no_keywords(name, kwargs)
        value = native(owner)
        if value is None:
            raise ValueError(f"Trying to call '{name}' on a destroyed {surface_for(owner).name} object")
        handler = special.method(surface_for(owner), name, value)
        if handler is not None:
            result = handler(owner, value, *arguments)
        else:
            result = self._call_qt(value, arguments)
        if name in PASSES_OWNERSHIP:
            pass_ownership(arguments)
        if name in ("itemAt", "takeAt") and isinstance(result, QtWidgets.QLayoutItem):
            return _layout_item(result)
        return convert.wrap(result)

    def _call_qt(self, value: Any, arguments: tuple[Any, ...]) -> Any:
        name = special.renamed(self.__name__)
        cls = type(self._owner)._native
        function = getattr(cls, name, None)
        if function is None:
            raise NotImplementedError(
                f"The test host's {surface_for(self._owner).name} does not implement '{self.__name__}', "
                "which Slicer has."
            )
        if _in_python(cls, name):
            return _call_stand_in(function, self.__name__, value, arguments)
        if name in vars(type(value)) and "_pythonqt_own_signals" in vars(
            type(value)
        ):  # a virtual that Python overrides: Qt's own is meant
            return calls.call(function, self.__name__, arguments, self_object=value)
        return calls.call(function, self.__name__, arguments, bound=getattr(value, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundSlot) and (other._owner, other.__name__) == (self._owner, self.__name__)

    def __hash__(self) -> int:
        return hash((self.__name__, hash(self._owner)))

    def __repr__(self) -> str:
        name = surface_for(self._owner).name
        return f"<qt slot {self.__name__} of {name} instance at {id(self):#x}>"


BoundSlot.__name__ = "builtin_qt_slot"


def _in_python(cls: type, name: str) -> bool:
    for base in cls.__mro__:
        if name in vars(base):
            return not base.__module__.startswith("PySide6.")
    return False


def _call_stand_in(function: Any, name: str, value: Any, arguments: tuple[Any, ...]) -> Any:
    import inspect

    signature = inspect.signature(function)
    try:
        signature.bind(value, *arguments)
    except TypeError as error:
        raise ValueError(f"Called {name} with wrong number of arguments: {arguments!r}") from error
    converted = special.stand_in_arguments(signature, name, arguments)
    return function(value, *converted)


class PythonQtClassWrapper(type):
    """Type of the wrapper classes: gives unbound slots, enumerations and static functions."""

    _surface: surface.Surface
    _native: type

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or "_surface" not in {k for c in cls.__mro__ for k in vars(c)}:
            raise AttributeError(name)
        found = _enum_member(cls, name)
        if found is not None:
            return found
        constant = special.class_constant(cls._surface.name, name)
        if constant is not None:
            return constant
        if name in cls._surface.slots or _is_static(cls._native, special.renamed(name)):
            return UnboundSlot(cls, name)
        if name in cls._surface.properties:
            return None
        if name in cls._surface.signals:
            return UnboundSlot(cls, name)
        raise AttributeError(f"{cls._surface.name} has no attribute named '{name}'")

    def __dir__(cls) -> list[str]:
        names = set(super().__dir__())
        if hasattr(cls, "_surface"):
            names |= {*cls._surface.properties, *cls._surface.slots, *cls._surface.signals}
        return sorted(names)


def _enum_member(cls: PythonQtClassWrapper, name: str) -> Any:
    types = surface.enum_types(cls._native)
    if name in types:
        return enums.wrap_enum_type(types[name])
    for kind in types.values():
        if name in kind.__members__:
            return enums.wrap_value(kind[name])
    flag = special.flag_alias(name)
    if flag in types:
        return enums.wrap_enum_type(types[flag])
    return _declared_enum_value(cls._surface, name)


def _declared_enum_value(class_surface: surface.Surface, name: str) -> Any:
    for values in class_surface.enums.values():
        number = 0
        known: dict[str, int] = {}
        for entry in values:
            key, _, expression = (part.strip() for part in entry.partition("="))
            if expression:
                number = _evaluate(expression, known)
            known[key] = number
            if key == name:
                return number
            number += 1
    return None


def _evaluate(expression: str, known: dict[str, int]) -> int:
    total = 0
    for word in expression.split("|"):
        text = word.strip()
        total |= known[text] if text in known else int(text, 0)
    return total


class PythonQtInstanceWrapper(metaclass=PythonQtClassWrapper):
    """One Qt object as Python sees it in Slicer."""

    __module__ = "PythonQt"

    def __init__(self, *arguments: Any, **kwargs: Any) -> None:
        cls = type(self)
        name = cls._surface.name
        calls.no_keywords(name, kwargs)
        maker = special.constructor(name)
        target = virtuals.shell_class(cls) if is_extended(self) else cls._native
        if maker is not None and not is_extended(self):
            value = maker(*arguments)
        elif name in implementations:
            value = _construct_stand_in(target, name, arguments)
        else:
            special.check_constructor(name, arguments)
            value = calls.call(cls._native, name, arguments, constructor=target)
        _attach(self, value, owned=True)
        if name in special.TAKES_PARENT_OWNERSHIP or _has_parent(value):
            self.__dict__["_owned"] = not _has_parent(value)

    def className(self) -> str:
        return type(self).__name__

    def inherits(self, name: str) -> bool:
        cls = type(self)._native
        return any(base.__name__ == name for base in cls.__mro__)

    def delete(self) -> None:
        value = native(self)
        if value is not None:
            shiboken6.delete(value)

    def help(self) -> str:
        return f"--- {surface_for(self).name} ---"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        cls = type(self)
        members = cls._surface
        if name == "name" and "objectName" in members.properties:
            name = "objectName"
        if name in special.PROPERTY_AS_STATIC.get(members.name, ()):
            return UnboundSlot(cls, name)
        if name in members.properties:
            return _read_property(self, name)
        if name in members.slots:
            return BoundSlot(self, name)
        if name in members.signals:
            return signals.Signal(self, name)
        found = _enum_member(cls, name)
        if found is not None:
            return found
        value = native(self)
        if isinstance(value, QtCore.QObject):
            if name in getattr(type(value), "_pythonqt_own_signals", ()):
                return signals.Signal(self, name)
            if name in [bytes(n.data()).decode() for n in value.dynamicPropertyNames()]:
                return convert.wrap(value.property(name))
            for child in value.children():
                if child.objectName() == name:
                    return wrapper_of(child)
        raise AttributeError(f"{cls.__name__} has no attribute named '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        members = surface_for(self)
        if name == "name" and "objectName" in members.properties:
            name = "objectName"
        if name in special.PROPERTY_AS_STATIC.get(members.name, ()) or (
            name in members.slots and name not in members.properties
        ):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {type(self).__name__} object")
        if name in members.properties:
            _write_property(self, name, value)
        elif name in members.signals:
            raise AttributeError(f"Signal '{name}' can not be overwritten on {type(self).__name__} object")
        elif _has_dynamic_property(self, name):
            _write_dynamic(self, name, value)
        elif is_extended(self):
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(
                f"'{name}' does not exist on {type(self).__name__} and creating new attributes on C++ objects is not "
                "allowed"
            )

    def __dir__(self) -> list[str]:
        members = surface_for(self)
        extra = {"className", "delete", "help", "inherits", "__dict__"}
        own = set(object.__dir__(self)) if is_extended(self) else set()
        types = set(surface.enum_types(type(self)._native))
        return sorted({*members.properties, *members.slots, *members.signals, *extra, *own, *types} - {"_qt", "_owned"})

    def __bool__(self) -> bool:
        value = native(self)
        return value is not None and special.truth(value)

    def __eq__(self, other: object) -> bool:
        mine = native(self)
        if other is None:
            return mine is None
        if not isinstance(other, PythonQtInstanceWrapper):
            return False
        theirs = native(other)
        if mine is None or theirs is None or isinstance(mine, QtCore.QObject):
            return mine is theirs
        return bool(mine == theirs)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self.__dict__.get("_address", 0)) if native(self) is not None else 0

    def __repr__(self) -> str:
        return special.representation(self, native(self))

    def __str__(self) -> str:
        return special.text(self, native(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")

    def __len__(self) -> int:
        raise TypeError(f"object of type '{type(self).__name__}' has no len()")

    def _arithmetic(self, operator: str, other: Any) -> Any:
        left = native(self)
        right = convert.unwrap(other)
        function = getattr(left, operator, None)
        result = function(right) if function is not None else NotImplemented
        return NotImplemented if result is NotImplemented else convert.wrap(result)

    def __add__(self, other: Any) -> Any:
        return self._arithmetic("__add__", other)

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic("__sub__", other)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic("__mul__", other)

    def __truediv__(self, other: Any) -> Any:
        return self._arithmetic("__truediv__", other)

    def __lt__(self, other: Any) -> Any:
        if isinstance(native(self), QtCore.QObject) or not isinstance(other, PythonQtInstanceWrapper):
            return NotImplemented
        return native(self) < native(other)

    def __del__(self) -> None:
        if sys is None or shiboken6 is None or sys.is_finalizing():
            return
        value = self.__dict__.get("_qt")
        if value is None or not shiboken6.isValid(value):
            return
        if not isinstance(value, QtCore.QObject):
            return
        if _has_parent(value):
            if is_extended(self):
                value.__dict__["_pythonqt_strong"] = self  # its attributes live as long as the Qt object
                value.__dict__["_pythonqt_wrapper"] = weakref.ref(self)
        elif self.__dict__.get("_owned") and QtCore.QCoreApplication.instance() is not value:
            shiboken6.delete(value)


def _has_parent(value: Any) -> bool:
    return isinstance(value, QtCore.QObject) and value.parent() is not None


def _construct_stand_in(target: type, name: str, arguments: tuple[Any, ...]) -> Any:
    if len(arguments) > 1 or (arguments and not _is_widget_or_none(arguments[0])):
        raise ValueError(
            f"Could not find matching overload for given arguments:\n{arguments!r} ({name} takes a parent)"
        )
    return target(*[convert.unwrap(a) for a in arguments])


def _is_widget_or_none(value: Any) -> bool:
    return value is None or (
        isinstance(value, PythonQtInstanceWrapper) and isinstance(native(value), QtWidgets.QWidget)
    )


def _enum_of_property(value: QtCore.QObject, name: str) -> Any:
    meta = value.metaObject()
    index = meta.indexOfProperty(name)
    if index < 0:
        return None
    entry = meta.property(index)
    if not entry.isEnumType():
        return None
    return surface.enum_types(type(value)).get(entry.enumerator().enumName())


def _read_property(wrapped: PythonQtInstanceWrapper, name: str) -> Any:
    members = surface_for(wrapped)
    value = native(wrapped)
    if value is None:
        raise ValueError(f"Trying to read property '{name}' from a destroyed {members.name} object")
    if name in members.reads_none:
        return None
    handler = special.property_reader(members, name, value)
    found = handler(value) if handler is not None else _property_value(value, members, name)
    result = convert.wrap(found)
    return int(result) if isinstance(result, enums.EnumValue) else result


def _property_value(value: QtCore.QObject, members: surface.Surface, name: str) -> Any:
    if value.metaObject().indexOfProperty(name) < 0:
        raise NotImplementedError(f"The test host's {members.name} does not implement property '{name}'.")
    return value.property(name)


def _write_property(wrapped: PythonQtInstanceWrapper, name: str, new: Any) -> None:
    members = surface_for(wrapped)
    value = native(wrapped)
    if value is None:
        raise AttributeError(f"Trying to set property '{name}' on a destroyed {members.name} object")
    cpp_type, writable = members.properties[name]
    if not writable:
        raise AttributeError(f"Property '{name}' of type '{cpp_type}' is not writable")
    handler = special.property_writer(members, name, value)
    if handler is None and value.metaObject().indexOfProperty(name) < 0:
        raise NotImplementedError(f"The test host's {members.name} does not implement property '{name}'.")
    kind = _enum_of_property(value, name)
    try:
        converted = convert.to_property(new, cpp_type, kind)
    except convert.Refused:
        raise AttributeError(
            f"Property '{name}' of type '{cpp_type}' does not accept an object of type {type(new).__name__} ({new!r})"
        ) from None
    if handler is not None:
        handler(value, converted)
    else:
        value.setProperty(name, converted)


def _has_dynamic_property(wrapped: PythonQtInstanceWrapper, name: str) -> bool:
    value = native(wrapped)
    return isinstance(value, QtCore.QObject) and name.encode() in [
        bytes(n.data()) for n in value.dynamicPropertyNames()
    ]


def _write_dynamic(wrapped: PythonQtInstanceWrapper, name: str, new: Any) -> None:
    if new is None:
        raise AttributeError(f"Dynamic property '{name}' does not accept an object of type NoneType (None)")
    native(wrapped).setProperty(name, convert.unwrap(new))
    if is_extended(wrapped):
        wrapped.__dict__[name] = new
