"""Qt properties that a stand-in only keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore


def stored(cpp_type: Any, default: Any, changed: Callable[[Any, Any], None] | None = None) -> Any:
    """Declare a property with this default; ``changed(self, value)`` runs when it is written with a new value."""
    key = object()

    def read(self: Any) -> Any:
        return self.__dict__.setdefault("_stored", {}).get(key, default)

    def write(self: Any, value: Any) -> None:
        if read(self) == value:
            return
        self.__dict__["_stored"][key] = value
        if changed is not None:
            changed(self, value)

    return QtCore.Property(cpp_type, read, write)
