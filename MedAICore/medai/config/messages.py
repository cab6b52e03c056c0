"""The lines between Slicer and the worker (docs/protocol.md): requests one way, events the other, JSON objects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from medai.config.requests import ARGUMENTS, OPERATIONS, VALUES, Device
from medai.config.validation import from_json, to_json
from medai.errors import ConfigError, ProtocolError

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1 << 20  # with the line's end


@dataclass(frozen=True)
class Request:
    """Client to worker: do `op`. `args` are the plain data of the dataclass in `ARGUMENTS`."""

    id: int
    op: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancel:
    """Client to worker: end the request with this id."""

    id: int


@dataclass(frozen=True)
class Hello:
    """Worker to client, first of all: who it is and what it serves."""

    protocol: int
    medai: str
    pid: int
    ops: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True)
class ProgressEvent:
    """Worker to client: how far request `id` is."""

    id: int
    fraction: float
    stage: str
    eta_s: float | None = None


@dataclass(frozen=True)
class LogEvent:
    """Worker to client: a line for the log, of request `id` if any."""

    level: Literal["debug", "info", "warning", "error"]
    message: str
    id: int | None = None


@dataclass(frozen=True)
class ResultEvent:
    """Worker to client: request `id` is done. `value` is the plain data of the dataclass in `VALUES`."""

    id: int
    value: dict[str, Any]


@dataclass(frozen=True)
class ErrorEvent:
    """Worker to client: request `id` failed; `code` is that of a MedAIError."""

    code: str
    message: str
    remedy: str = ""
    id: int | None = None


ClientMessage = Request | Cancel
WorkerMessage = Hello | ProgressEvent | LogEvent | ResultEvent | ErrorEvent
_CLIENT_TYPES: dict[str, type] = {"request": Request, "cancel": Cancel}
_WORKER_TYPES: dict[str, type] = {
    "hello": Hello,
    "progress": ProgressEvent,
    "log": LogEvent,
    "result": ResultEvent,
    "error": ErrorEvent,
}
_NAMES: dict[type, str] = {cls: name for name, cls in (*_CLIENT_TYPES.items(), *_WORKER_TYPES.items())}


def encode(message: ClientMessage | WorkerMessage) -> bytes:
    """The message as one line; ProtocolError where it is longer than 1 MiB or holds NaN, infinity or no plain data."""
    name = _NAMES[type(message)]
    try:
        text = json.dumps({"type": name, **to_json(message)}, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ProtocolError(
            f"A '{name}' message is not plain JSON data: {error}.", "Send numbers and texts."
        ) from error
    line = text.encode("ascii") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(
            f"A '{name}' message has {len(line)} bytes, more than {MAX_LINE_BYTES}.", "Send big data as array files."
        )
    return line


def decode_from_client(line: bytes) -> ClientMessage:
    """The request or cancel of this line; ProtocolError otherwise (`id_of_line` may still find its id)."""
    message: ClientMessage = _decode(line, _CLIENT_TYPES)
    return message


def decode_from_worker(line: bytes) -> WorkerMessage:
    """The event of this line; ProtocolError otherwise."""
    message: WorkerMessage = _decode(line, _WORKER_TYPES)
    return message


def arguments_of(request: Request) -> Any:
    """The typed arguments of a request; ProtocolError for an unknown operation, ConfigError for wrong arguments."""
    if request.op not in ARGUMENTS:
        raise ProtocolError(f"There is no operation '{request.op}'.", f"Operations: {', '.join(OPERATIONS)}.")
    return from_json(ARGUMENTS[request.op], request.args, f"{request.op}:")


def value_of(op: str, value: dict[str, Any]) -> Any:
    """The typed value of operation `op`'s result; ProtocolError where the worker sent something else."""
    try:
        return from_json(VALUES[op], value, f"result of {op}:")
    except ConfigError as error:
        raise ProtocolError(error.message, "Restart Slicer; if it happens again, report it with the log.") from error


def id_of_line(line: bytes) -> int | None:
    """The request id in a line that could not be decoded, where it is JSON enough to have one."""
    try:
        data = json.loads(line)
    except ValueError:
        return None
    number = data.get("id") if isinstance(data, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _decode(line: bytes, kinds: dict[str, type]) -> Any:
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(
            f"A line of {len(line)} bytes, more than {MAX_LINE_BYTES}.", "Send big data as array files."
        )
    try:
        data = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ProtocolError("A line is nested too deeply.", "Send plain messages.") from error
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise ProtocolError(f"A line is not UTF-8 JSON: {error}: {_shown(line)}.", "Send one object a line.") from error
    name = data.pop("type", None) if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in kinds:
        raise ProtocolError(f"A line is no message: {_shown(line)}.", f"Send a type of {', '.join(kinds)}.")
    try:
        return from_json(kinds[name], data, f"{name}:")
    except ConfigError as error:
        raise ProtocolError(error.message, error.remedy) from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("utf-8", "replace"))
