"""The parts of process handling for which Windows needs its own calls (ctypes; imported on Windows only)."""

from __future__ import annotations

import ctypes
import msvcrt
import os
from ctypes import wintypes
from pathlib import Path
from typing import Any

# A module for one platform: on the others the type checker knows neither WinDLL nor msvcrt's functions.
_WinDLL: Any = getattr(ctypes, "WinDLL")  # noqa: B009
_msvcrt: Any = msvcrt
_kernel32 = _WinDLL("kernel32", use_last_error=True)

_KILL_ON_JOB_CLOSE = 0x2000
_EXTENDED_LIMIT_INFORMATION = 9


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


_kernel32.CreateJobObjectW.restype = wintypes.HANDLE
_kernel32.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
_kernel32.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
_kernel32.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
_kernel32.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
_kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
_kernel32.PeekNamedPipe.argtypes = (
    wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
)  # fmt: skip
_kernel32.CreateFileW.restype = wintypes.HANDLE
_kernel32.CreateFileW.argtypes = (
    wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE,
)  # fmt: skip


class Job:
    """A Job Object: the processes in it end when it is terminated, and when its last handle closes (we crash)."""

    def __init__(self, process_handle: int) -> None:
        self._handle = _kernel32.CreateJobObjectW(None, None)
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
        done = _kernel32.SetInformationJobObject(
            self._handle, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
        ) and _kernel32.AssignProcessToJobObject(self._handle, process_handle)
        if not done:
            error = ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined,unused-ignore]
            self.close()
            raise error

    def kill(self) -> None:
        """End every process of the job."""
        _kernel32.TerminateJobObject(self._handle, 1)

    def close(self) -> None:
        """Give the handle back; what still runs in the job ends."""
        if self._handle:
            _kernel32.CloseHandle(self._handle)
            self._handle = None


def read_available(fd: int, most: int) -> bytes | None:
    """Up to `most` bytes that wait in the pipe `fd`; None where none has come, empty where its other end is closed."""
    available = wintypes.DWORD()
    handle = _msvcrt.get_osfhandle(fd)
    if not _kernel32.PeekNamedPipe(handle, None, 0, None, ctypes.byref(available), None):
        return b""
    return os.read(fd, min(most, available.value)) if available.value else None


def open_append(path: Path) -> int:
    """A file descriptor that appends for every process that inherits it, and lets the file be read, cut and deleted."""
    append_data, synchronize, share_all, open_always = 0x4, 0x100000, 0x7, 4
    handle = _kernel32.CreateFileW(str(path), append_data | synchronize, share_all, None, open_always, 0x80, None)
    if handle in (None, wintypes.HANDLE(-1).value):
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined,unused-ignore]
    descriptor: int = _msvcrt.open_osfhandle(handle, os.O_APPEND)
    return descriptor
