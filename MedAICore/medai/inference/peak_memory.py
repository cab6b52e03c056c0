"""The largest memory that this process held during a run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Starts to measure when it is made; `mb` is the peak of the resident memory since then.

    Linux can reset its high-water mark: a run in a worker is not charged with the runs before it. Elsewhere, and
    where that is not allowed, the mark since the process started is all there is.
    """

    def __init__(self) -> None:
        if _CLEAR.exists():
            try:
                _CLEAR.write_text("5", encoding="ascii")
            except OSError:
                return  # a hardened system: `mb` is then the peak of the process, an upper bound

    @property
    def mb(self) -> float | None:
        """Peak in MiB; None where the system does not tell (Windows)."""
        if _STATUS.is_file():
            match = re.search(
                r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE
            )
            return int(match.group(1)) / 1024 if match else None
        if sys.platform == "win32":
            return None
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024
