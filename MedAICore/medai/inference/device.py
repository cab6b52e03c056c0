"""Which processor runs the network, and what arithmetic it has."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from medai.errors import InputError


def available_devices() -> list[str]:
    """Names that `choose_device` takes on this machine, the best first."""
    devices = [f"cuda:{n}" for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name (auto, cpu, cuda, cuda:N, mps); auto takes CUDA, then MPS, then CPU.

    Raises InputError for an unknown name, and for a device that this machine does not have.
    """
    devices = available_devices()
    wanted = name.strip().lower()
    if wanted == "auto":
        return torch.device(devices[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise InputError(f"'{name}' is not a device.", "Use auto, cpu, cuda, cuda:N or mps.")
    if wanted == "cuda" and "cuda:0" in devices:
        return torch.device("cuda:0")
    if wanted not in devices:
        raise InputError(f"The device '{name}' is not available here.", f"Use auto or one of: {', '.join(devices)}.")
    return torch.device(wanted)


def cpu_flags() -> frozenset[str]:
    """Instruction sets that the system reports for its CPU; empty where it does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return frozenset()
    match = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo.read_text(encoding="utf-8", errors="replace"), re.M)
    return frozenset(match.group(1).split()) if match else frozenset()


def half_precision(device: torch.device, flags: frozenset[str] | None = None) -> torch.dtype | None:
    """The 16-bit type that is fast on `device`; None where there is none.

    bfloat16 on a CPU needs avx512_bf16 or amx_bf16: without them torch is a hundred times slower with it.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.float16
    known = cpu_flags() if flags is None else flags
    return torch.bfloat16 if known & {"avx512_bf16", "amx_bf16"} else None
