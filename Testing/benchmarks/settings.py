"""What every section is told: full or quick, how often, on how many threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """`full` measures at the real sizes; otherwise everything is so small that it only shows that all parts work."""

    full: bool = True
    rounds: int = 2
    threads: int = os.cpu_count() or 1

    def choose(self, full: T, quick: T) -> T:
        """One of two sizes."""
        return full if self.full else quick
