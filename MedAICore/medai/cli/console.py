"""What every command shares: exit codes, error texts, the JSON line, progress on the terminal, and Ctrl-C."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from medai.errors import Cancelled, MedAIError
from medai.progress import CancelCheck, Progress, ProgressCallback, no_progress

if TYPE_CHECKING:
    from rich.console import Console

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANCELLED = 130  # what a shell reports for a process that SIGINT ended

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a command found: `data` for ``--json`` (plain data), and `show`, which prints it for a person."""

    data: dict[str, Any]
    show: Callable[[Console], None]


@dataclass
class Session:
    """One run of a command: how it reports progress and how it learns that it was cancelled."""

    json_output: bool
    cancelled: CancelCheck
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Tell the person at once, and keep the text for the JSON result."""
        self.warnings.append(text)
        if not self.json_output:
            print(f"Warning: {text}", file=sys.stderr)

    @contextmanager
    def progress(self) -> Iterator[ProgressCallback]:
        """A progress bar on stderr; nothing where stderr is no terminal or the result is JSON."""
        if self.json_output or not sys.stderr.isatty():
            yield no_progress
            return
        with _progress_bar() as report:
            yield report


def execute(action: Callable[[Session], Outcome], json_output: bool, debug: bool) -> int:
    """Run `action`, print its outcome or its error, and return the exit code. No traceback without `debug`."""
    _set_up_logging(debug)
    with _interruptible() as cancelled:
        try:
            outcome = action(Session(json_output, cancelled))
        except MedAIError as error:
            return _failed(error, json_output, debug)
        except KeyboardInterrupt:
            return _failed(Cancelled(), json_output, debug)
        except MemoryError as error:
            return _failed(_out_of_memory(error), json_output, debug)
        except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a text for a person
            return _failed(_unexpected(error), json_output, debug)
    if json_output:
        print_json(outcome.data)
    else:
        from rich.console import Console

        outcome.show(Console())
    return EXIT_OK


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object as one line of stdout. NaN and infinity, which JSON lacks, become null."""
    sys.stdout.flush()
    print(json.dumps(json_data(data), allow_nan=False), flush=True)


def print_error_object(code: str, message: str, remedy: str) -> None:
    """Print the JSON object of an error: ``{"error": {"code", "message", "remedy"}}``."""
    print_json({"error": {"code": code, "message": message, "remedy": remedy}})


def json_data(value: Any) -> Any:
    """`value` as data that JSON can hold: numpy scalars as numbers, paths as text, NaN and infinity as None."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy here
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_data(item) for item in value]
    return value


def _failed(error: MedAIError, json_output: bool, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error.__cause__ if type(error) is MedAIError and error.__cause__ else error)
    print(f"Error: {error.message}" + (f"\n{error.remedy}" if error.remedy else ""), file=sys.stderr)
    if json_output:
        print_error_object(error.code, error.message, error.remedy)
    return EXIT_CANCELLED if isinstance(error, Cancelled) else EXIT_FAILED


def _unexpected(error: Exception) -> MedAIError:
    failure = MedAIError(
        f"Unexpected {type(error).__name__}: {error}",
        "This is a defect of MedAI: run the same command with --debug and report what it prints.",
    )
    failure.__cause__ = error
    return failure


def _out_of_memory(error: MemoryError) -> MedAIError:
    from medai.errors import OutOfMemoryError

    failure = OutOfMemoryError(
        f"There is too little memory ({error})." if str(error) else "There is too little memory.",
        "Close other programs, or segment a part with --roi.",
    )
    failure.__cause__ = error
    return failure


def _set_up_logging(debug: bool) -> None:
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("medai").setLevel(level)
    # Warnings of libraries are for developers; the commands say in their own words what a person must know.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(level if debug else logging.ERROR)


@contextmanager
def _interruptible() -> Iterator[CancelCheck]:
    """Ctrl-C and SIGTERM set a flag that the run checks, so that it can tidy up; a second Ctrl-C ends it at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print("Cancelling ... (press Ctrl-C again to stop at once)", file=sys.stderr)

    kinds = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(kind, ask) for kind in kinds]
    except ValueError:  # not in the main thread (a test): there are no signals to catch
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


@contextmanager
def _progress_bar() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Starting", total=1.0, left="")

        def report(progress: Progress) -> None:
            left = "" if progress.eta_s is None else f"{_clock(progress.eta_s)} left"
            bar.update(task, completed=progress.fraction, description=progress.stage, left=left)

        yield report


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))
