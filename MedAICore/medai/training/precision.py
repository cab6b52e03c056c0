"""Which device and which arithmetic a training or an inference uses."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from medai.errors import EnvironmentFailure


@dataclass(frozen=True)
class Compute:
    """Device, arithmetic and memory layout of a run."""

    device: torch.device
    bfloat16: bool
    channels_last: bool

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context in which the forward pass runs; nothing in float32."""
        if not self.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def memory_format(self, spatial_dims: int) -> torch.memory_format:
        """Layout of the network's weights and inputs."""
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (avx512_bf16 or amx_bf16).

    Elsewhere torch emulates it, a hundred times slower than float32, so bfloat16 must never be a default.
    """
    flags = torch.cpu.get_capabilities()
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))


def choose_compute(device: str) -> Compute:
    """The compute for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; EnvironmentFailure where there is no such."""
    name = _best_device() if device == "auto" else device
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise EnvironmentFailure(f"'{device}' is not a device.", "Use auto, cpu, cuda, cuda:N or mps.") from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available() or (chosen.index or 0) >= torch.cuda.device_count():
            raise EnvironmentFailure(
                f"The device '{device}' is not there: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs.",
                "Use --device cpu, or install a GPU build of torch and its driver.",
            )
        return Compute(chosen, torch.cuda.is_bf16_supported(), True)
    if chosen.type == "mps":
        if not torch.backends.mps.is_available():
            raise EnvironmentFailure("The device 'mps' is not there.", "Use --device cpu.")
        return Compute(chosen, False, False)
    # In float32 channels_last gives nothing on a CPU (0.94 to 1.04 of the time), with bfloat16 a tenth.
    fast = cpu_has_bfloat16()
    return Compute(torch.device("cpu"), fast, fast)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
