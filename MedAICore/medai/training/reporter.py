"""The curve of a run in progress.jsonl: mean loss, learning rate, speed, memory and time left, every few seconds."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future
from typing import TypeVar

import torch

from medai.training.run_folder import RunFolder

Drawn = TypeVar("Drawn")
_REPORT_EVERY_S = 10.0


class Reporter:
    """Gathers the steps since the last event; an event covers the steps behind ``from_step`` up to ``step``.

    `samples` counts the patches of one step, `device` is the one whose memory is watched.
    """

    def __init__(self, folder: RunFolder, step: int, samples: int, device: torch.device) -> None:
        self._folder, self._samples, self._device = folder, samples, device
        self._last: tuple[int, float, float, float] | None = None
        self._start(step)

    def _start(self, step: int) -> None:
        self._since, self._from_step = time.perf_counter(), step
        self._losses: list[torch.Tensor] = []
        self._waited_s = 0.0

    def wait_for(self, upcoming: Future[Drawn]) -> Drawn:
        """The next batch; the time until it is there counts as waiting for data."""
        started = time.perf_counter()
        batch = upcoming.result()
        self._waited_s += time.perf_counter() - started
        return batch

    def step(self, step: int, seconds: float, fraction: float, rate: float, loss: torch.Tensor) -> None:
        """One step was done; every few seconds, and at the end, what has come together is written."""
        self._losses.append(loss)
        self._last = step, seconds, fraction, rate
        if time.perf_counter() - self._since >= _REPORT_EVERY_S or fraction >= 1.0:
            self.flush()

    def flush(self) -> None:
        """Write what has come together, if anything: before a checkpoint, so that a resumed curve has no gap."""
        if not self._losses or self._last is None:
            return
        step, seconds, fraction, rate = self._last
        passed = max(time.perf_counter() - self._since, 1e-6)
        self._folder.report(
            "step",
            step=step,
            from_step=self._from_step,
            seconds=round(seconds, 1),
            fraction=round(fraction, 5),
            loss=round(float(torch.stack(self._losses).mean()), 5),
            learning_rate=rate,
            samples_per_s=round((step - self._from_step) * self._samples / passed, 3),
            data_wait=round(self._waited_s / passed, 4),
            memory_mb=memory_mb(self._device),
            eta_s=_rounded(remaining_s(fraction, seconds)),
        )
        self._start(step)


def remaining_s(fraction: float, seconds: float) -> float | None:
    """Seconds that the rest of a run will take at the speed so far; None while that is a guess."""
    return None if fraction < 0.005 else seconds * (1.0 - fraction) / fraction


def memory_mb(device: torch.device) -> int | None:
    """The most memory in MiB that this training has taken: on the GPU, or of this process; None where unknown."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_reserved(device) / 2**20)
    if device.type == "mps":
        return round(torch.mps.driver_allocated_memory() / 2**20)
    return _process_peak_mb()


def _process_peak_mb() -> int | None:
    if sys.platform == "win32":
        return _windows_peak_mb()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _windows_peak_mb() -> int | None:
    import ctypes

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of <psapi.h>."""

        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            *((f"other{n}", ctypes.c_size_t) for n in range(7)),
        )

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel32 = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009 - other systems' ctypes has none
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    kernel32.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    found = kernel32.K32GetProcessMemoryInfo(kernel32.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
    return round(counters.PeakWorkingSetSize / 2**20) if found else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
