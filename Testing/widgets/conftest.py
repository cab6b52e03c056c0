"""Fixtures of the widget tests: they run in a process of their own (see Testing/host/README.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6", reason="the widget tests need PySide6-Essentials")
pytest.importorskip("slicer", reason="the widget tests need the slicer-core wheel")

from host import Host, start

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def host() -> Iterator[Host]:
    """The stand-in application with an empty scene; errors that it logged fail the test."""
    running = start()
    running.reset()
    running.log.take()
    yield running
    running.reset()
    errors = running.log.take()
    if errors:
        pytest.fail("The host logged errors:\n" + "\n".join(errors), pytrace=False)


@pytest.fixture
def module_widget(host: Host) -> Callable[[str], Any]:
    """Open a module's panel: ``widget = module_widget("MedAISeg")``."""

    def open_panel(name: str) -> Any:
        return host.module_widget(ROOT / name / f"{name}.py")

    return open_panel
