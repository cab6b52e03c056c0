"""``parameterPack`` of ``slicer.parameterNodeWrapper``: several parameters as one typed object.

A pack that a parameter node gives out is *observed*: writing to one of its members writes to the node. It holds the
values of the moment when it was read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from .parameter_field import Field, fields_of, is_pack


def isParameterPack(value: Any) -> bool:
    """Whether a class or an object is a parameter pack."""
    return is_pack(value if isinstance(value, type) else type(value))


def parameterPack(cls: type | None = None) -> Any:
    """Class decorator: the annotated members become validated properties."""
    return _make_pack if cls is None else _make_pack(cls)


def _make_pack(cls: type) -> type:
    fields = fields_of(cls)
    if not fields:
        raise ValueError("Unable to find any members in parameterPack")
    for field in fields.values():
        field.validate(field.default)
    own_init = vars(cls).get("__init__")
    for name, field in fields.items():
        setattr(cls, name, _member(field))
    reserved = {"allParameters", "getValue", "setValue", "dataType"} & set(vars(cls))
    if reserved:
        raise ValueError(f"Cannot use reserved name {sorted(reserved)} in a parameterPack")
    cls.__init__ = _init_after_defaults(own_init) if own_init else _init  # type: ignore[misc]
    methods: dict[str, Any] = {"__eq__": _equal, "__str__": _text, "__repr__": _text}
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    cls._host_pack = fields  # type: ignore[attr-defined]
    cls.allParameters = {name: field.kind for name, field in fields.items()}  # type: ignore[attr-defined]
    cls.getValue, cls.setValue, cls.dataType = _get, _set, staticmethod(_data_type(cls))  # type: ignore[attr-defined]
    return cls


def _member(field: Field) -> property:
    def read(self: Any) -> Any:
        return vars(self)["_values"][field.name]

    def write(self: Any, value: Any) -> None:
        field.validate(value)
        vars(self).setdefault("_values", {})[field.name] = value
        save = vars(self).get("_save")
        if save is not None:
            save(self)

    return property(read, write)


def _init(self: Any, *arguments: Any, **named: Any) -> None:
    fields = type(self)._host_pack
    if len(arguments) > len(fields):
        raise TypeError(f"__init__() takes {len(fields)} arguments but {len(arguments)} were given")
    given = dict(zip(fields, arguments, strict=False))
    for name in named:
        if name not in fields:
            raise TypeError(f"__init__() got an unexpected keyword argument '{name}'")
        if name in given:
            raise TypeError(f"__init__() got multiple values for argument '{name}'")
    given |= named
    for name, field in fields.items():
        setattr(self, name, given[name] if name in given else copy.deepcopy(field.default))


def _init_after_defaults(own_init: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        _init(self)
        own_init(self, *arguments, **named)

    return init


def _equal(self: Any, other: Any) -> bool:
    return type(self) is type(other) and _same_values(self, other)


def _observed_equal(self: Any, other: Any) -> bool:
    """An observed pack also equals a plain one."""
    return type(other) in (type(self), type(self).__mro__[1]) and _same_values(self, other)


def _same_values(self: Any, other: Any) -> bool:
    return all(getattr(self, name) == getattr(other, name) for name in type(self)._host_pack)


def _text(self: Any) -> str:
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self)._host_pack)
    return f"{type(self).__name__}({values})"


def _owner_of(pack: Any, name: str) -> tuple[Any, str]:
    *packs, last = name.split(".")
    for part in packs:
        pack = _get(pack, part)
    if not isParameterPack(pack) or last not in type(pack)._host_pack:
        raise ValueError(f"{pack} has no member '{last}'")
    return pack, last


def _get(self: Any, name: str) -> Any:
    """``getValue``: read a member by its name, dotted for a pack in the pack."""
    return getattr(*_owner_of(self, name))


def _set(self: Any, name: str, value: Any) -> None:
    """``setValue``: write a member by its name."""
    pack, last = _owner_of(self, name)
    setattr(pack, last, value)
    if pack is not self and "_save" in vars(self):
        vars(self)["_save"](self)


def _data_type(cls: type) -> Callable[[str], Any]:
    def data_type(name: str) -> Any:
        """``dataType``: kind of a member."""
        kind: Any = cls
        for part in name.split("."):
            if not is_pack(kind) or part not in kind._host_pack:
                raise ValueError(f"{kind} has no member '{part}'")
            kind = kind._host_pack[part].kind
        return kind

    return data_type


_observed_classes: dict[type, type] = {}


def observed(cls: type, values: dict[str, Any], save: Callable[[Any], None]) -> Any:
    """Make a pack with these values that calls ``save(pack)`` after each change and takes no new attributes."""
    if cls not in _observed_classes:
        _observed_classes[cls] = type(
            f"Observed{cls.__name__}", (cls,), {"__setattr__": _set_known, "__eq__": _observed_equal, "__hash__": None}
        )
    pack = object.__new__(_observed_classes[cls])
    _init(pack, **values)
    vars(pack)["_save"] = save
    return pack


def _set_known(self: Any, name: str, value: Any) -> None:
    if not hasattr(type(self), name):
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'")
    object.__setattr__(self, name, value)
