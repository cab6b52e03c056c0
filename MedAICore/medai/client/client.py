"""The client: a queue of requests, one worker, and what happens when either goes away."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import medai
from medai.client.exits import explain_exit
from medai.client.transport import Transport
from medai.config import to_json
from medai.config.messages import (
    PROTOCOL_VERSION,
    Cancel,
    ErrorEvent,
    Hello,
    LogEvent,
    ProgressEvent,
    Request,
    ResultEvent,
    WorkerMessage,
    arguments_of,
    decode_from_worker,
    encode,
    value_of,
)
from medai.config.requests import ArrayRef, array_refs
from medai.errors import Cancelled, EnvironmentFailure, MedAIError, ProtocolError, WorkerError, error_from_code
from medai.progress import Progress, ProgressCallback, no_progress
from medai.session import SessionFolder, sweep

logger = logging.getLogger(__name__)
OnResult = Callable[[Any], None]
OnError = Callable[[MedAIError], None]
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@dataclass
class _Pending:
    """A request that has not ended."""

    id: int
    op: str
    line: bytes
    arrays: list[ArrayRef]
    on_progress: ProgressCallback
    on_result: OnResult | None
    on_error: OnError | None
    sent: bool = False
    cancelled: bool = False
    kill_at_s: float = field(default=float("inf"))


class Client:
    """Sends requests to one worker and calls back with their progress, result or error. See `medai.client`.

    All callbacks come from `poll`, on the thread that calls it; each request ends with exactly one of `on_result` and
    `on_error` (none after `drop` or `close`). Requests run one after the other. The worker is started by the first
    request and again by the next one after it ended. `session_parent` is where the session folder is made (default: the
    temporary folder). A cancelled request has `cancel_grace_s` to end by itself before the worker is killed.
    """

    def __init__(
        self,
        transport: Transport,
        session_parent: Path | None = None,
        cancel_grace_s: float = 0.7,
        hello_timeout_s: float = 60.0,
    ) -> None:
        sweep(session_parent)
        self.session = SessionFolder.create(session_parent)
        self._transport = transport
        self._cancel_grace_s = cancel_grace_s
        self._hello_timeout_s = hello_timeout_s
        self._ids = count(1)
        self._queue: deque[_Pending] = deque()
        self._active: _Pending | None = None
        self._ended: deque[tuple[_Pending, MedAIError]] = deque()
        self._hello: Hello | None = None
        self._hello_until_s = float("inf")
        self._polling = False
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether `poll` has to be called: a request is open, or a killed worker has not gone yet."""
        return bool(self._active or self._queue or self._ended) or not self._transport.idle

    @property
    def hello(self) -> Hello | None:
        """What the running worker said about itself, None where there is none."""
        return self._hello

    def request(
        self,
        op: str,
        args: Any = None,
        on_progress: ProgressCallback = no_progress,
        on_result: OnResult | None = None,
        on_error: OnError | None = None,
    ) -> int:
        """Queue operation `op`; returns its id. `args` is its dataclass of `medai.config.requests` or plain data.

        `on_result` gets the typed value (e.g. `SegmentValue`). Files of arrays in `args` now belong to the request.
        Raises ConfigError or ProtocolError, before anything is sent, where op or args are wrong.
        """
        if self._closed:
            raise WorkerError("The connection to the worker is closed.", "Reload the module.")
        data = {} if args is None else to_json(args)
        request = Request(next(self._ids), op, data)
        arrays = array_refs(arguments_of(request))
        pending = _Pending(request.id, op, encode(request), arrays, on_progress, on_result, on_error)
        self._queue.append(pending)
        return request.id

    def cancel(self, request_id: int) -> None:
        """End a request: `on_error` is called with `Cancelled` within a second. An id that has ended is ignored."""
        for pending in list(self._queue):
            if pending.id == request_id:
                self._queue.remove(pending)
                self._ended.append((pending, Cancelled()))
        active = self._active
        if active is None or active.id != request_id or active.cancelled:
            return
        active.cancelled = True
        active.kill_at_s = time.monotonic() + self._cancel_grace_s
        if active.sent:
            self._transport.send(encode(Cancel(request_id)))
        else:
            self._finish(Cancelled())

    def drop(self, request_id: int | None = None) -> None:
        """Cancel one request (or all of them) without calling back any more, as after the scene was closed."""
        everything = [*self._queue, *(pending for pending, _ in self._ended), *([self._active] if self._active else [])]
        for pending in everything:
            if request_id is None or pending.id == request_id:
                pending.on_progress, pending.on_result, pending.on_error = no_progress, None, None
                self.cancel(pending.id)

    def poll(self) -> None:
        """Move everything on, and call back. Never blocks; call it every 15 ms or so while `busy`.

        An exception of a callback comes out of here; what else has arrived is handled by the next call. A call from
        within a callback does nothing.
        """
        if self._polling or self._closed:
            return
        self._polling = True
        try:
            self._transport.poll(self._receive)
            self._check_end()
            self._check_times()
            self._call_back()
            self._start_next()
        finally:
            self._polling = False

    def close(self) -> None:
        """End the worker with all its processes, forget the requests, delete the session folder."""
        if self._closed:
            return
        self._closed = True
        self._transport.close()
        self._queue.clear()
        self._ended.clear()
        self._active = None
        self._hello = None
        self.session.remove()

    # what comes from the worker

    def _receive(self, line: bytes) -> None:
        try:
            event = decode_from_worker(line)
        except ProtocolError as error:
            self._give_up(ProtocolError(f"The worker sent something else than a message. {error.message}", _RESTART))
            return
        if self._closed:
            return
        self._handle(event)

    def _handle(self, event: WorkerMessage) -> None:
        if isinstance(event, Hello):
            self._greet(event)
        elif isinstance(event, LogEvent):
            logger.log(_LEVELS[event.level], "worker: %s", event.message)
        elif isinstance(event, ErrorEvent) and event.id is None:
            logger.error("worker: %s %s", event.message, event.remedy)
        elif self._active is None or event.id != self._active.id:
            logger.debug("An event of request %s, which has ended.", event.id)
            if isinstance(event, ResultEvent):
                self.session.discard_results_of(event.id)
        elif isinstance(event, ProgressEvent):
            if not self._active.cancelled:
                self._active.on_progress(Progress(event.fraction, event.stage, event.eta_s))
        elif isinstance(event, ResultEvent):
            self._take_result(self._active, event)
        else:
            self._finish(error_from_code(event.code, event.message, event.remedy))
            self._call_back()

    def _greet(self, hello: Hello) -> None:
        if (hello.protocol, hello.medai) != (PROTOCOL_VERSION, medai.__version__):
            self._give_up(
                ProtocolError(
                    f"The worker is MedAI {hello.medai} (protocol {hello.protocol}), "
                    f"Slicer has MedAI {medai.__version__} (protocol {PROTOCOL_VERSION}).",
                    "Restart Slicer; if that does not help, install the extension again.",
                )
            )
            return
        self._hello = hello
        self._hello_until_s = float("inf")

    def _take_result(self, active: _Pending, event: ResultEvent) -> None:
        if active.cancelled:
            self._finish(Cancelled())
            return
        try:
            value = value_of(active.op, event.value)
        except ProtocolError as error:
            self._finish(error)
            return
        self._active = None
        self.session.discard(*active.arrays)
        if active.on_result is None:
            self.session.discard_results_of(active.id)
            return
        try:
            active.on_result(value)
        except BaseException:
            self.session.discard_results_of(active.id)
            raise

    # what becomes of requests

    def _finish(self, error: MedAIError) -> None:
        """The active request ends with `error`; it is told by `_call_back`."""
        if self._active is not None:
            self._ended.append((self._active, self._own_cancel(self._active, error)))
            self._active = None

    def _own_cancel(self, pending: _Pending, error: MedAIError) -> MedAIError:
        return Cancelled() if pending.cancelled else error

    def _call_back(self) -> None:
        while self._ended:
            pending, error = self._ended.popleft()
            self.session.discard(*pending.arrays)
            self.session.discard_results_of(pending.id)
            if pending.on_error is not None:
                pending.on_error(error)
            elif not isinstance(error, Cancelled):
                logger.error("Request %s (%s) failed: %s", pending.id, pending.op, error)

    def _give_up(self, error: MedAIError) -> None:
        """Kill the worker; the active request ends with `error`."""
        self._transport.kill()
        self._hello = None
        self._hello_until_s = float("inf")
        if self._active is None:
            logger.error("%s", error)
        self._finish(error)

    def _check_end(self) -> None:
        ended = self._transport.take_exit()
        if ended is None:
            return
        error = explain_exit(ended, had_greeted=self._hello is not None)
        self._hello = None
        self._hello_until_s = float("inf")
        logger.warning("%s\n%s", error, ended.log[-4000:])
        self._finish(error)

    def _check_times(self) -> None:
        now_s = time.monotonic()
        if self._active is not None and now_s >= self._active.kill_at_s:
            self._give_up(Cancelled())
        elif now_s >= self._hello_until_s:
            self._give_up(
                EnvironmentFailure(
                    f"The worker did not answer within {self._hello_timeout_s:.0f} s of its start.",
                    "Choose another interpreter in the settings, or repair the environment.",
                )
            )

    def _start_next(self) -> None:
        if self._active is None and self._queue and not self._closed:
            self._active = self._queue.popleft()
            if not self._transport.running:
                self._start_worker()
        if self._active is not None and not self._active.sent and self._hello is not None:
            self._active.sent = True
            self._transport.send(self._active.line)

    def _start_worker(self) -> None:
        self._hello = None
        try:
            self._transport.start(self.session)
        except MedAIError as error:
            self._finish(error)
            return
        self._hello_until_s = time.monotonic() + self._hello_timeout_s


_RESTART = "Press Apply again: the worker starts anew by itself. If it happens again, report it with the log."
