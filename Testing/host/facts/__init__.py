"""Facts about the Python interface of Qt, CTK and Slicer as PythonQt exposes it (see ``build.py`` for the source)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@cache
def load(name: str) -> Any:
    """Read one of the JSON files beside this one: ``qt``, ``slicer`` or ``records``."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
