"""Messages of the binding and of Qt; the host's log collector listens and fails the test."""

from __future__ import annotations

import sys
from collections.abc import Callable

from PySide6 import QtCore

_listeners: list[Callable[[str, str], None]] = []


def report(text: str, level: str = "warning") -> None:
    """Tell the listeners; without any the text goes to stderr, as from the real binding."""
    if not _listeners:
        sys.stderr.write(text + "\n")
    for listener in list(_listeners):
        listener(level, text)


def listen(listener: Callable[[str, str], None]) -> None:
    """Add a listener (level, text)."""
    _listeners.append(listener)


def unlisten(listener: Callable[[str, str], None]) -> None:
    """Remove a listener."""
    _listeners.remove(listener)


def _from_qt(kind: QtCore.QtMsgType, _context: QtCore.QMessageLogContext, text: str) -> None:
    if kind in (QtCore.QtMsgType.QtCriticalMsg, QtCore.QtMsgType.QtFatalMsg):
        report(f"Qt: {text}", "error")
    elif kind == QtCore.QtMsgType.QtWarningMsg:
        report(f"qWarning: {text}", "warning")


def capture_qt_messages() -> None:
    """Route qWarning and above through ``report``."""
    QtCore.qInstallMessageHandler(_from_qt)
