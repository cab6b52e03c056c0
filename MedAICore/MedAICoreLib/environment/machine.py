"""Which machine this is: the lock that fits it, whether torch runs on it at all, and whether it has an NVIDIA GPU."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

_X86 = ("x86_64", "amd64")
_ARM = ("arm64", "aarch64")
# What the wheels of the locked torch ask for: macosx_14_0, manylinux_2_28.
_OLDEST = {"macos": (14,), "linux": (2, 28)}


@dataclass(frozen=True)
class Machine:
    """`system` (linux, windows, macos), `processor` of the hardware (x86_64, arm64, ...), `bits` of this process,
    the C library (`libc`, Linux only), its version or that of macOS, and whether an NVIDIA driver is there."""

    system: str
    processor: str
    bits: int = 64
    libc: str = "glibc"
    nvidia: bool = False
    version: tuple[int, ...] = ()

    @property
    def tag(self) -> str:
        """Name of the lock for this machine."""
        return f"{self.system}-{self.processor}"

    def problem(self) -> tuple[str, str]:
        """Why no environment can be built here, and what to do; ("", "") where it can. Nothing is downloaded for it."""
        if self.system == "macos" and self.processor == "x86_64":
            return (
                "This Mac has an Intel processor, and there is no current torch for it.",
                "Use a Mac with Apple silicon, or a Linux or Windows computer. Nothing was downloaded.",
            )
        if self.bits != 64:
            return (f"This is a {self.bits} bit system; torch needs 64 bit.", "Use the 64 bit Slicer and system.")
        if self.system == "linux" and self.libc != "glibc":
            return (
                f"This Linux uses the C library '{self.libc}', and there is no torch for it.",
                "Use a Linux with glibc 2.28 or newer (Debian 10, Ubuntu 20.04, RHEL 8 or newer).",
            )
        oldest = _OLDEST.get(self.system)
        if oldest is not None and self.version and self.version < oldest:
            name = "macOS" if self.system == "macos" else "The C library of this Linux, glibc"
            has, needs = (".".join(str(part) for part in version) for version in (self.version, oldest))
            return (f"{name} {has} is too old for torch, which needs {needs}.", "Use a newer system.")
        if self.tag not in ("linux-x86_64", "windows-x86_64", "macos-arm64"):
            return (
                f"MedAI has no tested set of packages for {self.system} on '{self.processor}'.",
                "Choose a Python 3.11 or newer that has torch and MONAI, if there is one on this machine.",
            )
        return "", ""


def this_machine() -> Machine:
    """The machine that this process runs on. Starts nothing."""
    processor = platform.machine().lower()
    if sys.platform == "win32":
        # A 64 bit processor under a 32 bit process is told by the second variable.
        processor = (os.environ.get("PROCESSOR_ARCHITEW6432") or processor).lower()
        system = "windows"
    elif sys.platform == "darwin":
        system = "macos"
        if processor in _X86 and _runs_translated():
            processor = "arm64"
    else:
        system = "linux"
    processor = "x86_64" if processor in _X86 else "arm64" if processor in _ARM else processor
    return Machine(system, processor, struct.calcsize("P") * 8, _libc(), _has_nvidia_driver(), _version(system))


def _version(system: str) -> tuple[int, ...]:
    text = platform.mac_ver()[0] if system == "macos" else platform.libc_ver()[1] if system == "linux" else ""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _runs_translated() -> bool:
    # An x86_64 Slicer on Apple silicon (Rosetta 2) is told that it runs on x86_64; sysctl knows better.
    value, size = ctypes.c_int(0), ctypes.c_size_t(4)
    libc = ctypes.CDLL("/usr/lib/libSystem.dylib")
    found = libc.sysctlbyname(b"sysctl.proc_translated", ctypes.byref(value), ctypes.byref(size), None, 0) == 0
    return found and value.value == 1


def _libc() -> str:
    if not sys.platform.startswith("linux"):
        return ""
    if platform.libc_ver()[0] == "glibc":
        return "glibc"
    return "musl" if list(Path("/lib").glob("ld-musl-*")) else "unknown"


def _has_nvidia_driver() -> bool:
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").is_file()
    if sys.platform == "darwin":
        return False
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
