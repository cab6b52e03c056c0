"""Time and memory of one piece of work, measured inside the process that does it."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PROCESSORS = Path("/proc/stat")


def measure(work: Callable[[], T], first: Callable[[], object] | None = None) -> tuple[T, dict[str, float]]:
    """The result of `work`, and what it took: `seconds`, `cpu_s`, `extra_mb`, `warm_mb`, `first_s`, and more.

    `first` is done once before (a first tile: engines compile, libraries fill their caches); its time is `first_s`, not
    part of `seconds` (the clock on the wall) and `cpu_s` (of all threads of this process). `extra_mb` is the peak of
    the resident memory during both over what was resident before, so that nobody gains by allocating early;
    `warm_mb` is the peak during `work` over what was resident once `first` was done.
    `other_cores` is how many processor cores other processes used meanwhile: 0 on a quiet machine.
    """
    settle()
    before = resident_mb()
    started = time.perf_counter()
    if first is not None:
        first()
    first_s = time.perf_counter() - started
    first_peak = peak_mb()
    settle()
    warm = resident_mb()
    others = OtherWork()
    started, started_cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    return result, {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "extra_mb": max(first_peak, peak_mb()) - before,
        "warm_mb": peak_mb() - warm,
        "first_s": first_s if first is not None else 0.0,
        "other_cores": others.cores(),
    }


def settle() -> None:
    """Give freed memory back to the system and start the peak anew, where the system lets us."""
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)
    if _CLEAR.exists():
        _CLEAR.write_text("5", encoding="ascii")


def resident_mb() -> float:
    """Resident memory of this process, MiB."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def peak_mb() -> float:
    """Peak of the resident memory since `settle`, MiB; since the process began where the system cannot reset it."""
    if _STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
        if found:
            return int(found.group(1)) / 1024
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


class OtherWork:
    """Watches how busy other processes keep the processors from now on."""

    def __init__(self) -> None:
        self._begun = self._now()

    def cores(self) -> float:
        """Cores that others used on average since then; NaN where the system does not tell."""
        wall, busy, own = (b - a for a, b in zip(self._begun, self._now(), strict=True))
        return max(0.0, (busy - own) / wall) if wall > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        own = time.process_time()
        if not _PROCESSORS.is_file():
            return time.perf_counter(), float("nan"), own
        fields = [int(n) for n in _PROCESSORS.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
        idle = fields[3] + fields[4]  # idle and waiting for a disk
        busy = sum(fields[:8]) - idle
        return time.perf_counter(), busy / os.sysconf("SC_CLK_TCK"), own


def with_threads(threads: int) -> dict[str, Any]:
    """Let torch use this many threads; what it says about itself, for the report."""
    import torch

    torch.set_num_threads(threads)
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
