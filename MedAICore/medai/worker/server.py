"""The worker's main loop: read requests, run one after the other, watch the parent."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import medai
from medai.config.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    Cancel,
    ErrorEvent,
    Hello,
    Request,
    decode_from_client,
    encode,
    id_of_line,
)
from medai.config.requests import Device
from medai.errors import ProtocolError
from medai.machine import processor_name, system_memory_mb
from medai.process_identity import ProcessIdentity
from medai.session import SessionFolder
from medai.worker.run import EventLogHandler, Operation, ProgressThrottle, run_request
from medai.worker.warm_models import WarmModels

logger = logging.getLogger(__name__)
_WATCH_INTERVAL_S = 0.5
_END_GRACE_S = 0.5
_BUDGET_SHARE = 0.25
_BUDGET_LARGEST_MB = 8192.0


class Server:
    """Serves one client over two file descriptors until the client goes away.

    The main thread computes (torch's thread pools belong to the thread that made them); one thread reads, so that a
    cancel is seen during a computation, and one watches the parent and the progress that was held back.
    """

    def __init__(
        self,
        requests: int,
        events: int,
        session: SessionFolder,
        parent: ProcessIdentity | None,
        operations: Mapping[str, Operation],
        models: WarmModels,
    ) -> None:
        self._requests, self._events = requests, events
        self._session = session
        self._parent = parent
        self._operations = operations
        self._models = models
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._write_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._open: set[int] = set()
        self._cancelled: set[int] = set()
        self._current: Request | None = None
        self._throttle: ProgressThrottle | None = None
        self._leaving = threading.Event()

    def run(self, hello: Hello) -> None:
        """Greet, then serve; returns when stdin was closed and nothing runs any more."""
        self.emit(encode(hello))
        for target in (self._read_requests, self._watch):
            threading.Thread(target=target, daemon=True, name=target.__name__.strip("_")).start()
        while (request := self._queue.get()) is not None:
            self._run_one(request)

    def emit(self, line: bytes) -> None:
        """Write one line to the client; where nobody reads any more the worker ends."""
        with self._write_lock:
            try:
                while line:
                    line = line[os.write(self._events, line) :]
            except OSError:
                self.end()

    def current_request(self) -> int | None:
        """The id of the request that runs, if any."""
        current = self._current
        return current.id if current else None

    def end(self) -> None:
        """End this process and all that it started, now, and leave no file."""
        self._session.remove()
        if sys.platform != "win32" and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def _run_one(self, request: Request) -> None:
        throttle = ProgressThrottle(request.id, self.emit)
        self._current, self._throttle = request, throttle
        try:
            run_request(
                request,
                self._operations,
                self.emit,
                lambda: request.id in self._cancelled,
                self._session,
                self._models,
                throttle,
            )
        finally:
            self._current = self._throttle = None
            with self._state_lock:
                self._open.discard(request.id)
                self._cancelled.discard(request.id)

    def _read_requests(self) -> None:
        try:
            for line in _lines(self._requests):
                self._take(line)
        except OSError:
            logger.info("The pipe of the requests is broken.")
        self._leave()

    def _take(self, line: bytes) -> None:
        try:
            message = decode_from_client(line)
        except ProtocolError as error:
            self.emit(encode(ErrorEvent(error.code, error.message, error.remedy, id_of_line(line))))
            return
        with self._state_lock:
            if isinstance(message, Cancel):
                if message.id in self._open:
                    self._cancelled.add(message.id)
                return
            self._open.add(message.id)
        self._queue.put(message)

    def _leave(self) -> None:
        # stdin is closed: the client has gone. What runs may end by itself for a moment, then it is ended.
        with self._state_lock:
            self._cancelled |= self._open
        self._queue.put(None)
        if not self._leaving.wait(_END_GRACE_S):
            self.end()

    def leave(self) -> None:
        """End in good order, after `run` has returned: no file stays."""
        self._leaving.set()
        self.end()

    def _watch(self) -> None:
        waited_s = 0.0
        while True:
            throttle = self._throttle
            interval_s = 0.1 if throttle else _WATCH_INTERVAL_S
            threading.Event().wait(interval_s)
            waited_s += interval_s
            if throttle:
                throttle.flush()
            if waited_s >= _WATCH_INTERVAL_S:
                waited_s = 0.0
                if self._parent is not None and not self._parent.alive():
                    self.end()


def serve(
    requests: int, events: int, arguments: Sequence[str], operations: Mapping[str, Operation] | None = None
) -> None:
    """Serve the client at the other ends of `requests` and `events` until it goes away; never returns.

    `arguments` are those of the command line. `operations` (default: all that this version has) is for tests.
    """
    options = _options(arguments)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    if operations is None:
        from medai.worker.operations import OPERATIONS_SERVED

        operations = OPERATIONS_SERVED
    total_mb, free_mb = system_memory_mb()
    budget_mb = options.model_budget_mb or min(_BUDGET_SHARE * (total_mb or _BUDGET_LARGEST_MB), _BUDGET_LARGEST_MB)
    # None where the parent is gone already: stdin then ends at once.
    parent = ProcessIdentity.of(options.parent)
    server = Server(requests, events, SessionFolder(options.session), parent, operations, WarmModels(budget_mb))
    logging.getLogger("medai").addHandler(EventLogHandler(server.emit, server.current_request))
    cpu = Device("cpu", "cpu", processor_name(), total_mb, free_mb)
    server.run(Hello(PROTOCOL_VERSION, medai.__version__, os.getpid(), tuple(operations), (cpu,)))
    server.leave()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("medai worker", description="Computes for Slicer; see docs/protocol.md.")
    parser.add_argument("--session", type=Path, required=True, help="folder for arrays, made by the client")
    parser.add_argument("--parent", type=int, required=True, help="process without which the worker ends")
    parser.add_argument("--model-budget-mb", type=float, help="memory for loaded models")
    return parser.parse_args(arguments)


def _lines(descriptor: int) -> Iterator[bytes]:
    """Lines with their end. One longer than the limit comes cut, just over the limit, and is skipped up to its end."""
    partial = bytearray()
    skipping = False
    while data := os.read(descriptor, 1 << 16):
        *whole, rest = data.split(b"\n")
        for part in whole:
            if not skipping:
                yield bytes(partial) + part + b"\n"
            partial.clear()
            skipping = False
        if not skipping:
            partial += rest
        if len(partial) > MAX_LINE_BYTES:
            yield bytes(partial)
            partial.clear()
            skipping = True
