"""The host's event loop can run for long: PySide6's own call loses a reference to None each time."""

from __future__ import annotations

import sys


def test_processing_events_keeps_the_references_to_none(host):
    from host.event_loop import process_events, send_deferred_deletes

    before = sys.getrefcount(None)
    for _ in range(1000):
        process_events()
        send_deferred_deletes()
    assert abs(sys.getrefcount(None) - before) < 200
