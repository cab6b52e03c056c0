"""What this computer is: processor, memory. Standard library only, so that it can be told before torch is loaded."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import sys
from pathlib import Path
from typing import Any

MIB = float(1 << 20)


def processor_name() -> str:
    """Model name of the processor, as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def system_memory_mb() -> tuple[float | None, float | None]:
    """Memory of the computer and what of it programs can still get, in MiB; None where the system does not say."""
    if sys.platform == "win32":
        return _system_memory_windows()
    try:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MIB, None
    kib = {name: float(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    return kib["MemTotal"] / 1024, kib["MemAvailable"] / 1024


def process_memory_mb() -> float | None:
    """Resident memory of this process in MiB; None where the system does not say."""
    if sys.platform == "win32":
        return _process_memory_windows()
    if sys.platform == "darwin":
        return _process_memory_macos()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / MIB


def _process_memory_macos() -> float | None:
    # proc_pidinfo(PROC_PIDTASKINFO) of <libproc.h>: struct proc_taskinfo has 96 bytes, pti_resident_size is its second.
    buffer = ctypes.create_string_buffer(96)
    libproc = ctypes.CDLL("/usr/lib/libproc.dylib")
    size = libproc.proc_pidinfo(os.getpid(), 4, ctypes.c_uint64(0), buffer, 96)
    return float(struct.unpack_from("<Q", buffer.raw, 8)[0]) / MIB if size == 96 else None


def _system_memory_windows() -> tuple[float | None, float | None]:
    # MEMORYSTATUSEX: two DWORDs (length, load), then seven DWORDLONGs, of which the first two are total and available.
    status = (ctypes.c_uint64 * 8)()
    ctypes.cast(status, ctypes.POINTER(ctypes.c_uint32))[0] = 64
    kernel32: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    if not kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return status[1] / MIB, status[2] / MIB


def _process_memory_windows() -> float | None:
    # PROCESS_MEMORY_COUNTERS: two DWORDs (size, page faults), then eight SIZE_Ts, the second is the working set.
    counters = (ctypes.c_size_t * 9)()
    ctypes.cast(counters, ctypes.POINTER(ctypes.c_uint32))[0] = 72
    kernel32: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel32.GetCurrentProcess())
    done = kernel32.K32GetProcessMemoryInfo(process, ctypes.byref(counters), ctypes.c_uint32(72))
    return counters[2] / MIB if done else None


def release_free_memory() -> None:
    """Give memory that was freed, but that the C library keeps for later, back to the system (glibc has this)."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
