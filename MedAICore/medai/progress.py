"""Progress and cancelling of long work: passed down as two callables, never as global state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from medai.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """How far a run is: `fraction` in 0..1, a short `stage` for a person, `eta_s` seconds left (None: unknown)."""

    fraction: float
    stage: str
    eta_s: float | None = None


ProgressCallback = Callable[[Progress], None]
CancelCheck = Callable[[], bool]


def no_progress(progress: Progress) -> None:
    """A `ProgressCallback` for callers that do not show progress."""


def never_cancelled() -> bool:
    """A `CancelCheck` for callers that cannot cancel."""
    return False


def check_cancelled(cancelled: CancelCheck) -> None:
    """Raise `Cancelled` where the person has cancelled. Long work calls this at least once a second."""
    if cancelled():
        raise Cancelled()


def part_of(progress: ProgressCallback, start: float, end: float) -> ProgressCallback:
    """A callback whose 0..1 is `start`..`end` of the whole run."""

    def report(inner: Progress) -> None:
        progress(Progress(start + inner.fraction * (end - start), inner.stage, inner.eta_s))

    return report


class Stage:
    """One named part of a run, mapped to the range `start`..`end` of the whole run's fraction.

    Calling it with the part's own fraction (0..1) reports to `progress`. The time left is extrapolated from this part's
    speed and scaled to the whole run; it is given once 2 % of the part and 0.5 s have passed: earlier guesses jump.
    """

    def __init__(self, progress: ProgressCallback, name: str, start: float = 0.0, end: float = 1.0) -> None:
        self._progress = progress
        self._name = name
        self._start = start
        self._end = end
        self._started_s = time.monotonic()
        self(0.0)

    def __call__(self, fraction: float) -> None:
        """Report that this part is done by `fraction`; values outside of 0..1 are clipped."""
        fraction = min(max(fraction, 0.0), 1.0)
        whole = self._start + fraction * (self._end - self._start)
        self._progress(Progress(whole, self._name, self._eta_s(fraction, whole)))

    def _eta_s(self, fraction: float, whole: float) -> float | None:
        elapsed_s = time.monotonic() - self._started_s
        if fraction < 0.02 or elapsed_s < 0.5 or self._end <= self._start:
            return None
        seconds_per_fraction = elapsed_s / (fraction * (self._end - self._start))
        return max(0.0, (1.0 - whole) * seconds_per_fraction)
