"""Which process a pid means: a pid is given again to other processes, a pid with its start time is not."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ProcessIdentity:
    """A process: `pid` and `started`, its start time in the operating system's own unit (only ever compared)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The process that has this pid now; None where there is none."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        identity = cls.of(os.getpid())
        return identity or cls(os.getpid(), 0)

    def alive(self) -> bool:
        """Whether this very process still runs (not another one that was given its pid)."""
        return ProcessIdentity.of(self.pid) == self

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity | None:
        """The identity written by ``str``; None where `text` is none."""
        match = re.fullmatch(r"(\d+)-(\d+)", text)
        return cls(int(match[1]), int(match[2])) if match else None


def _start_time(pid: int) -> int | None:
    if sys.platform == "win32":
        return _start_time_windows(pid)
    if sys.platform == "darwin":
        return _start_time_macos(pid)
    return _start_time_linux(pid)


def _start_time_linux(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # proc(5): the name in parentheses may hold spaces and parentheses; behind it state is field 3, starttime field 22.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _start_time_macos(pid: int) -> int | None:
    # proc_pidinfo(PROC_PIDTBSDINFO) of <libproc.h>: struct proc_bsdinfo has 136 bytes, its last two fields are the
    # start time in seconds and microseconds.
    buffer = ctypes.create_string_buffer(136)
    libproc = ctypes.CDLL("/usr/lib/libproc.dylib", use_errno=True)
    size = libproc.proc_pidinfo(ctypes.c_int(pid), ctypes.c_int(3), ctypes.c_uint64(0), buffer, ctypes.c_int(136))
    if size != 136:
        return None
    seconds, microseconds = struct.unpack_from("<QQ", buffer.raw, 120)
    return int(seconds * 1_000_000 + microseconds)


def _start_time_windows(pid: int) -> int | None:
    kernel32: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel32.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel32.OpenProcess(0x1000, False, pid))  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    try:
        code = ctypes.c_ulong()
        times = [ctypes.c_uint64() for _ in range(4)]  # creation, exit, kernel, user: FILETIME
        if not kernel32.GetExitCodeProcess(handle, ctypes.byref(code)) or code.value != 259:  # STILL_ACTIVE
            return None
        if not kernel32.GetProcessTimes(handle, *(ctypes.byref(t) for t in times)):
            return None
        return int(times[0].value)
    finally:
        kernel32.CloseHandle(handle)
