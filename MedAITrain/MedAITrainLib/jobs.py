"""Long work in slices: a generator that a timer drives, so that the window never freezes. No Qt."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

# A tick may take so long before the event loop gets its turn again.
SLICE_S = 0.03


class Job:
    """Work whose generator yields how much is done (0 to 1) and returns its result.

    `whenDone(result)` is called at its end. `name` is for the panel's buttons, `title` for a person.
    """

    def __init__(
        self, name: str, title: str, steps: Generator[float, None, Any], whenDone: Callable[[Any], None]
    ) -> None:
        self.name = name
        self.title = title
        self.fraction = 0.0
        self._steps = steps
        self._whenDone = whenDone

    def advance(self) -> bool:
        """Work for a moment; False once it is done. Raises the MedAIError that ended it."""
        end = time.monotonic() + SLICE_S
        while True:
            try:
                self.fraction = min(max(next(self._steps), 0.0), 1.0)
            except StopIteration as stopped:
                self._whenDone(stopped.value)
                return False
            if time.monotonic() >= end:
                return True

    def cancel(self) -> None:
        """Stop: the generator cleans up after itself."""
        self._steps.close()


def resultOf(steps: Generator[float, None, Any]) -> Any:
    """Do all of the work at once; what the generator returns. For scripts."""
    while True:
        try:
            next(steps)
        except StopIteration as stopped:
            return stopped.value
