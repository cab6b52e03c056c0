"""Screenshots of widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtWidgets

from .binding import convert
from .event_loop import process_events


def grab(widget: Any, path: str | Path, width: int, height: int | None = None) -> Path:
    """Save a picture of a widget laid out at this width; the height is what it needs unless given."""
    target: QtWidgets.QWidget = convert.unwrap(widget)
    target.resize(width, height or max(target.sizeHint().height(), 50))
    target.show()
    for _ in range(3):
        process_events()
    if height is None:
        needed = target.heightForWidth(width) if target.hasHeightForWidth() else target.sizeHint().height()
        target.resize(width, max(needed, target.sizeHint().height(), 50))
        process_events()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not target.grab().save(str(path)):
        raise OSError(f"Could not write the picture {path}.")
    return path
