"""A client with a real worker process, and what remains of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from medai.client import ArrayWriter, ChildProcessTransport, Client
from medai.config.requests import SegmentArgs
from medai.config.segment import SegmentConfig

STUB = Path(__file__).with_name("stub_worker.py")
# Generous: the machines that run these tests may be busy. No test measures time.
LIMIT_S = 120.0


class Desk:
    """A person at Slicer: asks for things and waits for what comes, polling as the timer does."""

    def __init__(self, client: Client, transport: ChildProcessTransport):
        self.client, self.transport = client, transport
        self.progress, self.results, self.errors = [], [], []
        self.pids: set[int] = set()

    def image(self, shape=(3, 4, 5)):
        array = np.random.default_rng(1).integers(0, 9, shape).astype(np.uint8)
        writer = ArrayWriter(self.client.session, array, np.diag([1.0, 2.0, 3.0, 1.0]))
        while not writer.step():
            pass
        return array, writer.ref

    def ask(self, deed, shape=(3, 4, 5), model="stub"):
        self.progress, self.results, self.errors = [], [], []
        array, ref = self.image(shape)
        number = self.client.request(
            "segment",
            SegmentArgs(model, (ref,), SegmentConfig(labels=(deed,))),
            self.progress.append,
            self.results.append,
            self.errors.append,
        )
        return number, array

    def wait(self, until=None):
        """Poll until `until()` holds (default: nothing is open any more)."""
        deadline = time.monotonic() + LIMIT_S
        while not until() if until else self.client.busy:
            assert time.monotonic() < deadline, f"nothing for {LIMIT_S} s; log:\n{self.transport.log_tail()}"
            self.client.poll()
            if self.transport.pid:
                self.pids.add(self.transport.pid)
            time.sleep(0.005)

    def wait_for_stage(self):
        self.wait(lambda: self.progress or self.errors)
        assert self.progress, self.errors
        return self.progress[-1].stage

    def files(self):
        return sorted(p.name for p in self.client.session.path.iterdir() if not p.name.endswith(".log"))


def gone(pid):
    """Wait until a process has ended (a zombie that nobody reaps counts as ended)."""
    deadline = time.monotonic() + LIMIT_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


@pytest.fixture
def desk(tmp_path):
    transport = ChildProcessTransport(sys.executable, script=STUB)
    client = Client(transport, session_parent=tmp_path, hello_timeout_s=LIMIT_S)
    desk = Desk(client, transport)
    yield desk
    client.close()
    for pid in desk.pids:
        gone(pid)
    assert list(tmp_path.iterdir()) == []
