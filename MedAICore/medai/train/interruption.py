"""SIGTERM as a cancel."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from medai.progress import CancelCheck


@contextmanager
def stopped_by_sigterm(cancelled: CancelCheck) -> Iterator[CancelCheck]:
    """A cancel check that also obeys SIGTERM; signals can be caught in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield cancelled
        return
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    try:
        yield lambda: asked.is_set() or cancelled()
    finally:
        signal.signal(signal.SIGTERM, before)
