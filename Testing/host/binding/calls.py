"""Calls of Qt methods: overloads by PythonQt's rules, its exceptions."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from shibokensupport.signature import get_signature  # type: ignore[import-not-found]

from . import convert

_PYSIDE_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


@cache
def _signatures(function: Any, is_constructor: bool) -> tuple[tuple[tuple[Any, ...], int, str], ...]:
    """Give (annotations, number of required ones, text) for every overload."""
    found = get_signature(function)
    if found is None:
        return ()
    result = []
    for signature in found if isinstance(found, list) else [found]:
        parameters = [p for p in signature.parameters.values() if p.name != "self" and p.kind != _PYSIDE_KEYWORD_ONLY]
        if any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in parameters):
            return ()
        required = sum(p.default is inspect.Parameter.empty for p in parameters)
        text = ", ".join(f"{_type_name(p.annotation)} {p.name}" for p in parameters)
        result.append((tuple(p.annotation for p in parameters), required, text))
    return tuple(result)


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))


def no_keywords(name: str, kwargs: dict[str, Any]) -> None:
    """Refuse keyword arguments as PythonQt does everywhere."""
    if kwargs:
        raise ValueError(f"Called {name} with keyword arguments, but called slot does not support kwargs.")


def _refusal(name: str, overloads: Any, arguments: tuple[Any, ...]) -> ValueError:
    shown = tuple(arguments)
    if len(overloads) == 1:
        kinds, required, text = overloads[0]
        count = "" if required <= len(arguments) <= len(kinds) else "number of "
        return ValueError(f"Called {name}({text}) with wrong {count}arguments: {shown!r}")
    listing = "\n".join(f"{name}({text})" for _, _, text in overloads)
    return ValueError(
        f"Could not find matching overload for given arguments:\n{shown!r}\n The following slots are available:\n"
        f"{listing}"
    )


def call(
    function: Any,
    name: str,
    arguments: tuple[Any, ...],
    self_object: Any = None,
    constructor: Any = None,
    bound: Any = None,
) -> Any:
    """Call a PySide6 function with PythonQt's conversions.

    ``self_object`` is passed first where given; ``constructor`` is the class to instantiate in place of ``function``.
    ``bound`` is the method of the object (PySide6's functions that are both static and not crash when called unbound).
    """
    overloads = _signatures(function, constructor is not None)
    target = constructor if constructor is not None else bound if bound is not None else function
    first = () if self_object is None else (self_object,)
    if not overloads:
        return _invoke(target, name, (*first, *[convert.unwrap(a) for a in arguments]), (), arguments)
    for loose in (False, True):
        for kinds, required, _text in _ordered(overloads, loose):
            if not required <= len(arguments) <= len(kinds):
                continue
            try:
                converted = [convert.convert(a, k, loose) for a, k in zip(arguments, kinds, strict=False)]
            except convert.Refused:
                continue
            return _invoke(target, name, (*first, *converted), overloads, arguments)
    raise _refusal(name, overloads, arguments)


def _ordered(overloads: Any, loose: bool) -> Any:
    """Put overloads with QString last but one in the loose pass: a string accepts anything."""
    if not loose:
        return overloads
    return sorted(overloads, key=lambda o: 1 if str in o[0] else 0)


def _invoke(target: Any, name: str, converted: tuple[Any, ...], overloads: Any, shown: tuple[Any, ...]) -> Any:
    try:
        return target(*converted)
    except (TypeError, OverflowError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "None passed" not in str(error):
            raise
        if isinstance(error, RuntimeError):
            return None  # Qt itself only warns about a null pointer
        if overloads:
            raise _refusal(name, overloads, shown) from error
        raise ValueError(f"Called {name} with wrong arguments: {shown!r}") from error
