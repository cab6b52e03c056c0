"""What a worker's exit code means for a person."""

from __future__ import annotations

import signal

from medai.client.transport import WorkerExit
from medai.errors import EnvironmentFailure, MedAIError, OutOfMemoryError, WorkerError

# Exit codes of Windows are NTSTATUS values: no memory, commitment limit, working set quota.
_WINDOWS_NO_MEMORY = {0xC0000017, 0xC000012D, 0xC00000A1}
_WINDOWS_ACCESS_VIOLATION = 0xC0000005
_LESS_MEMORY = (
    "Close other programs, limit the run to a ROI, or choose another device; then press Apply again: "
    "the worker starts anew by itself."
)


def explain_exit(ended: WorkerExit, had_greeted: bool) -> MedAIError:
    """The error of a request whose worker ended; `had_greeted`: it had come as far as its first message."""
    code = ended.returncode & 0xFFFFFFFF if ended.returncode > 0 else ended.returncode
    if code == -int(getattr(signal, "SIGKILL", 9)):
        return OutOfMemoryError(
            "The operating system ended the worker (signal 9), most often because memory ran out.", _LESS_MEMORY
        )
    if code in _WINDOWS_NO_MEMORY:
        return OutOfMemoryError(f"The worker ended because memory ran out (0x{code:08X}).", _LESS_MEMORY)
    last = _last_line(ended.log)
    if not had_greeted:
        return EnvironmentFailure(
            f"The worker could not start ({_code_text(code)}){last}",
            "Choose another interpreter in the settings, or repair the environment.",
        )
    return WorkerError(
        f"The worker ended unexpectedly ({_code_text(code)}){last}",
        "Press Apply again: the worker starts anew by itself. If it happens again, report it with the log.",
    )


def _code_text(code: int) -> str:
    if code == _WINDOWS_ACCESS_VIOLATION:
        return "access violation, 0xC0000005"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else "."
