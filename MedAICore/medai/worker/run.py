"""One request: its arrays, progress and cancelling, and the one result or error that ends it."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from medai.config import to_json
from medai.config.messages import ErrorEvent, LogEvent, ProgressEvent, Request, ResultEvent, arguments_of, encode
from medai.config.requests import OPERATIONS, ArrayRef, array_refs
from medai.errors import Cancelled, InputError, MedAIError, OutOfMemoryError, is_out_of_memory
from medai.image import Image
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled
from medai.session import SessionFolder, array_ref
from medai.worker.warm_models import WarmModels

logger = logging.getLogger(__name__)
Emit = Callable[[bytes], None]
PROGRESS_INTERVAL_S = 0.1


@dataclass
class Run:
    """What an operation works with: `models` that stay loaded, `progress`, `cancelled`, and the request's arrays."""

    request_id: int
    session: SessionFolder
    models: WarmModels
    progress: ProgressCallback
    cancelled: CancelCheck
    _numbers: Any = field(default_factory=lambda: count(1))

    def take(self, ref: ArrayRef) -> Image:
        """The image that the client sent; its file is gone afterwards."""
        return self.session.take_image(ref)

    def put(self, image: Image) -> ArrayRef:
        """Write an image for the client."""
        return self.session.put_image(self.next_path().name, image)

    def next_path(self) -> Path:
        """The path of the request's next result file, for an operation that writes it itself."""
        return self.session.path / f"r{self.request_id}-{next(self._numbers)}.raw"

    def written(self, image: Image, path: Path) -> ArrayRef:
        """What the client is told about an image whose voxels lie in `path`, a file of `next_path`."""
        return array_ref(path.name, image.array, image.ijk_to_ras, image.name, image.modality)


# An operation gets its typed arguments and returns its typed value (`medai.config.requests`).
Operation = Callable[[Any, Run], Any]


class ProgressThrottle:
    """Emits progress at most every `interval_s`; the latest one that was held back is emitted by `flush`."""

    def __init__(self, request_id: int, emit: Emit, interval_s: float = PROGRESS_INTERVAL_S) -> None:
        self._id = request_id
        self._emit = emit
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._last_s = float("-inf")
        self._held: Progress | None = None
        self._closed = False

    def __call__(self, progress: Progress) -> None:
        """Report; emitted now or, where the last report was just now, later."""
        with self._lock:
            self._held = progress
            self._emit_if_due()

    def flush(self) -> None:
        """Emit what was held back, if it is due now (another thread calls this between two reports)."""
        with self._lock:
            self._emit_if_due()

    def close(self) -> None:
        """Emit nothing any more: the request has ended."""
        with self._lock:
            self._closed = True

    def _emit_if_due(self) -> None:
        now_s = time.monotonic()
        if self._held is None or self._closed or now_s - self._last_s < self._interval_s:
            return
        held, self._held, self._last_s = self._held, None, now_s
        fraction = min(max(held.fraction, 0.0), 1.0)
        self._emit(encode(ProgressEvent(self._id, fraction, held.stage, held.eta_s)))


def run_request(
    request: Request,
    operations: Mapping[str, Operation],
    emit: Emit,
    cancelled: CancelCheck,
    session: SessionFolder,
    models: WarmModels,
    throttle: ProgressThrottle | None = None,
) -> None:
    """Do what `request` asks and emit exactly one result or error, whatever happens; its input arrays are deleted."""
    throttle = throttle or ProgressThrottle(request.id, emit)
    try:
        args = _checked_arguments(request, operations)
        check_cancelled(cancelled)
        value = operations[request.op](args, Run(request.id, session, models, throttle, cancelled))
        last = encode(ResultEvent(request.id, to_json(value)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a worker answers, whatever happened, and lives on
        event = _event_of(error, request.id)
        last = encode(event)
        if event.code == OutOfMemoryError.code:
            models.forget_all()
        session.discard_results_of(request.id)
        # The frames hold the arrays of the failed run.
        traceback.clear_frames(error.__traceback__)
    throttle.close()
    _discard_inputs(request, session)
    emit(last)


def _checked_arguments(request: Request, operations: Mapping[str, Operation]) -> Any:
    if request.op in OPERATIONS and request.op not in operations:
        raise InputError(
            f"The operation '{request.op}' is not available in this version.", f"There is: {', '.join(operations)}."
        )
    return arguments_of(request)


def _discard_inputs(request: Request, session: SessionFolder) -> None:
    try:
        session.discard(*array_refs(request.args))
    except MedAIError as error:  # arguments that were refused above
        logger.debug("Nothing to delete: %s", error)


def _event_of(error: BaseException, request_id: int) -> ErrorEvent:
    if isinstance(error, MedAIError):
        if not isinstance(error, Cancelled):
            logger.info("Request %s failed.", request_id, exc_info=error)
        return _short(error.code, error.message, error.remedy, request_id)
    logger.error("Request %s failed.", request_id, exc_info=error)
    if is_out_of_memory(error):
        return _short(
            OutOfMemoryError.code,
            f"Not enough memory: {error or type(error).__name__}",
            "Close other programs, limit the run to a ROI, or choose another device.",
            request_id,
        )
    return _short(
        MedAIError.code,
        f"MedAI made a mistake: {type(error).__name__}: {error}",
        "Please report it with the log.",
        request_id,
    )


def _short(code: str, message: str, remedy: str, request_id: int) -> ErrorEvent:
    # Some libraries put whole arrays into their messages; a line has room for 1 MiB.
    return ErrorEvent(code, message[:20_000], remedy[:20_000], request_id)


class EventLogHandler(logging.Handler):
    """Sends warnings and errors of MedAI's own loggers to the client as `log` events."""

    def __init__(self, emit: Emit, current_request: Callable[[], int | None]) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit
        self._current_request = current_request

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record's message, without its traceback (that is in stderr)."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._emit(encode(LogEvent(level, record.getMessage()[:10_000], self._current_request())))  # type: ignore[arg-type]
