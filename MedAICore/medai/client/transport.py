"""How messages get to a worker and back: the interface, and the one that stays in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from medai.config.messages import Cancel, Request, decode_from_client
from medai.session import SessionFolder

Deliver = Callable[[bytes], None]


@dataclass(frozen=True)
class WorkerExit:
    """How a worker ended by itself: `returncode` as in `subprocess` (negative: signal), `log` the end of its stderr."""

    returncode: int
    log: str = ""


class Transport(Protocol):
    """Carries lines to one worker and back. No call blocks, no call uses a thread."""

    def start(self, session: SessionFolder) -> None:
        """Start a worker that finds its arrays in `session`; EnvironmentFailure where that is impossible."""

    @property
    def running(self) -> bool:
        """Whether a worker has been started and has neither ended nor been killed."""

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do for `poll`: no worker is dying, no line is waiting to be sent."""

    def send(self, line: bytes) -> None:
        """Send one line, at once or during the next `poll`."""

    def poll(self, deliver: Deliver) -> None:
        """Hand every line that has arrived to `deliver`, in order. What `deliver` raises comes out; no line is lost."""

    def take_exit(self) -> WorkerExit | None:
        """How the worker ended, once, after its last line was delivered; None while it runs or where it was killed."""

    def kill(self) -> None:
        """End the worker and all processes that it started, now."""

    def close(self) -> None:
        """End the worker and wait until it is gone."""


# Runs one request in this process: (request, emit a line, cancelled, session).
Run = Callable[[Request, Deliver, Callable[[], bool], SessionFolder], None]


class InProcessTransport:
    """Runs requests in this process, inside `poll`: for the command line and for tests.

    `run` answers one request, as `medai.worker.run_request` does with a table of operations; `hello` is the line that a
    worker would begin with. Progress is delivered while the operation runs; a callback may cancel it.
    """

    def __init__(self, run: Run, hello: bytes) -> None:
        self._run = run
        self._hello = hello
        self._session: SessionFolder | None = None
        self._requests: deque[Request] = deque()
        self._cancelled: set[int] = set()
        self._lines: deque[bytes] = deque()

    def start(self, session: SessionFolder) -> None:
        """Begin a connection: the `hello` line is delivered by the next `poll`."""
        self._session = session
        self._lines.append(self._hello)

    @property
    def running(self) -> bool:
        """Whether `start` was called, and neither `kill` nor `close` since."""
        return self._session is not None

    @property
    def idle(self) -> bool:
        """Whether no request and no line waits."""
        return not self._requests and not self._lines

    def send(self, line: bytes) -> None:
        """Take a request for the next `poll`, or a cancel, which counts at once."""
        message = decode_from_client(line)
        if isinstance(message, Cancel):
            self._cancelled.add(message.id)
        else:
            self._requests.append(message)

    def poll(self, deliver: Deliver) -> None:
        """Run the waiting requests; returns when they are done."""
        while self._lines:
            deliver(self._lines.popleft())
        while self._requests and self._session is not None:
            self._run_one(self._requests.popleft(), self._session, deliver)

    def take_exit(self) -> WorkerExit | None:
        """Always None: there is no other process."""
        return None

    def kill(self) -> None:
        """Forget the requests that wait. (A running one cannot be killed; it sees `cancelled`.)"""
        self._session = None
        self._requests.clear()
        self._lines.clear()

    def close(self) -> None:
        """As `kill`."""
        self.kill()

    def _run_one(self, request: Request, session: SessionFolder, deliver: Deliver) -> None:
        failures: list[BaseException] = []

        def emit(line: bytes) -> None:
            # A callback's exception must not look like a failure of the operation: it is raised after it.
            try:
                deliver(line)
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        self._run(request, emit, lambda: bool(failures) or request.id in self._cancelled, session)
        self._cancelled.discard(request.id)
        if failures:
            raise failures[0]
