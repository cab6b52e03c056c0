"""Errors that a person can act on: each says what was wrong, with the value and the file, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import ClassVar


class MedAIError(Exception):
    """Base of every error that MedAI raises on purpose.

    `message` says what was wrong (with the value and the file), `remedy` what the person can do about it.
    `code` is the stable, machine-readable kind that travels over the worker's protocol.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}".strip())

    def __reduce__(self) -> tuple[type[MedAIError], tuple[str, str]]:
        return type(self), (self.message, self.remedy)


class InputError(MedAIError):
    """An image or an argument that cannot be used as it is."""

    code = "input"


class FileFormatError(InputError):
    """A file that is missing, unreadable, truncated or of an unknown format."""

    code = "file"


class GeometryError(InputError):
    """Positions that do not fit together: other grid, variable spacing, gantry tilt, missing slice."""

    code = "geometry"


class ModelError(MedAIError):
    """A model package that is missing, corrupt, changed, or does not fit the request."""

    code = "model"


class ConfigError(MedAIError):
    """A configuration, request or model.json with a wrong key, type or value."""

    code = "config"


class DatasetError(MedAIError):
    """A data set that cannot be trained or evaluated on."""

    code = "dataset"


class OutputError(MedAIError):
    """A result that could not be written; nothing half-written is left behind."""

    code = "output"


class ProtocolError(MedAIError):
    """A message between Slicer and the worker that breaks docs/protocol.md."""

    code = "protocol"


class OutOfMemoryError(MedAIError):
    """Too little memory on the device, after every planned degradation was tried."""

    code = "memory"


class ClickSessionError(MedAIError):
    """A click session that the worker does not have (any more); the client opens it again with its prompts."""

    code = "click-session"


class EnvironmentFailure(MedAIError):
    """The Python environment of the worker is missing, broken or of another version."""

    code = "environment"


class WorkerError(MedAIError):
    """The worker process crashed or ended without an answer; the next request starts a new one."""

    code = "worker"


class Cancelled(MedAIError):
    """The person cancelled the run; nothing was written."""

    code = "cancelled"

    def __init__(self, message: str = "Cancelled.", remedy: str = "") -> None:
        super().__init__(message, remedy)


def error_from_code(code: str, message: str, remedy: str = "") -> MedAIError:
    """The error of this `code` (as it came over the protocol); an unknown code gives a plain `MedAIError`."""
    pending: list[type[MedAIError]] = [MedAIError]
    while pending:
        kind = pending.pop()
        if kind.code == code:
            return kind(message, remedy)
        pending.extend(kind.__subclasses__())
    return MedAIError(message, remedy)


def output_error(path: Path, error: OSError) -> OutputError:
    """The OutputError for an `error` of the operating system while `path` was written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"The disk is full: '{path}' was not written.", "Free some space or choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"No permission to write '{path}'.", "Choose a folder that you may write to.")
    return OutputError(f"'{path}' was not written: {error.strerror or error}.", "Choose another folder or name.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out: Python's, numpy's, the system's, or torch's on any device."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # By name: torch may not be loaded, and its CPU allocator and Apple's raise plain RuntimeErrors.
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate", "bad_alloc")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)
