"""Slicer's light and dark theme as palettes, and how well the texts of a widget can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6 import QtGui, QtWidgets

from .binding import convert
from .event_loop import process_events

_DARK = {
    "Window": "#353535", "WindowText": "#ffffff", "Base": "#191919", "AlternateBase": "#353535", "Text": "#ffffff",
    "Button": "#353535", "ButtonText": "#ffffff", "BrightText": "#ff0000", "Highlight": "#2a82da",
    "HighlightedText": "#000000", "ToolTipBase": "#353535", "ToolTipText": "#ffffff", "PlaceholderText": "#a0a0a0",
}  # fmt: skip
# Icons with less ink than this cannot be judged by their pixels.
_FEWEST_PIXELS = 12


def use_theme(dark: bool) -> None:
    """Give the application a dark palette, or its usual one."""
    palette = QtWidgets.QApplication.style().standardPalette()
    if dark:
        for name, color in _DARK.items():
            palette.setColor(getattr(QtGui.QPalette.ColorRole, name), QtGui.QColor(color))
        for role in (QtGui.QPalette.ColorRole.Text, QtGui.QPalette.ColorRole.ButtonText):
            palette.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor("#808080"))
    QtWidgets.QApplication.setPalette(palette)
    process_events()


def contrast_of_texts(widget: Any) -> dict[str, float]:
    """{object name: contrast} of the visible, enabled labels, buttons and text fields: WCAG's ratio, 1 to 21.

    Taken from their pixels: the one that differs most from the colour that covers most of the widget.
    """
    root: QtWidgets.QWidget = convert.unwrap(widget)
    kinds = (QtWidgets.QLabel, QtWidgets.QAbstractButton, QtWidgets.QTextBrowser, QtWidgets.QComboBox)
    found = {}
    for target in root.findChildren(QtWidgets.QWidget):
        if not isinstance(target, kinds) or not _text(target) or not target.isVisibleTo(root) or not target.isEnabled():
            continue
        luminance = _luminance(target)
        values, counts = np.unique(luminance.round(3), return_counts=True)
        ground = values[counts.argmax()]
        ratios = np.maximum(luminance, ground) + 0.05
        ratios /= np.minimum(luminance, ground) + 0.05
        if (ratios > 1.2).sum() >= _FEWEST_PIXELS:
            found[target.objectName() or type(target).__name__] = float(ratios.max())
    return found


def _text(target: Any) -> str:
    for getter in ("text", "toPlainText", "currentText"):
        if hasattr(target, getter):
            return str(getattr(target, getter)())
    return ""


def _luminance(target: QtWidgets.QWidget) -> np.ndarray:
    """Relative luminance (WCAG) of each pixel of the widget."""
    image = target.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    rgb = pixels[:, : image.width(), 2::-1].astype(np.float64) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ [0.2126, 0.7152, 0.0722])
