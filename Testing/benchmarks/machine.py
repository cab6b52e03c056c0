"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.child import REPOSITORY

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "neon", "asimd")
_PACKAGES = ("torch", "monai", "openvino", "SimpleITK", "slicer-core", "vtk", "numpy")


def description() -> list[str]:
    """Lines about processor, memory, system, versions and the state of the sources."""
    import psutil

    from medai.inference.device import cpu_flags
    from medai.machine import processor_name

    flags = cpu_flags()
    sets = " ".join(flag for flag in _TELLING if flag in flags) or "instruction sets not told by the system"
    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    return [
        f"Processor: {processor_name()}, {cores} cores, {os.cpu_count()} threads ({sets})",
        f"Memory: {psutil.virtual_memory().total / 2**30:.0f} GiB",
        f"GPU: {_gpu()}",
        f"System: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "MedAI's environment: " + ", ".join(_versions(_PACKAGES)),
        f"Sources: {_commit()}",
    ]


def has_half_precision() -> bool:
    """Whether this processor computes fast in 16 bits; where it does not, MedAI's fast runs are its exact ones."""
    import torch

    from medai.inference.device import half_precision

    return half_precision(torch.device("cpu")) is not None


@dataclass(frozen=True)
class Conditions:
    """When a section was measured and what else the machine did."""

    when: str
    load: float

    @classmethod
    def now(cls) -> Conditions:
        """The conditions before a section begins."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        return cls(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), load)


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def _versions(names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return found


def _commit() -> str:
    if not (REPOSITORY / ".git").exists():
        return "not a checkout"
    sha = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "MedAICore", "Testing/benchmarks")
    return f"commit {sha}" + (", with uncommitted changes" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(REPOSITORY)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
