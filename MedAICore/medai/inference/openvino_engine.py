"""CPU inference by OpenVINO where it is installed: 2 and more times faster than eager torch in float32.

Networks are converted from torch once, in a process of its own (see `conversion`); the converted and the compiled
network are kept in a cache folder under a key of weights, architecture, tile, versions and CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from medai.inference.conversion import ConversionError, convert_apart, smaller_shape
from medai.inference.tiles import Shape
from medai.machine import processor_name
from medai.progress import CancelCheck, check_cancelled, never_cancelled

__all__ = ["WORTHWHILE_FLOPS", "ConversionError", "OpenVinoPredictor", "flops_per_tile", "is_available"]

_log = logging.getLogger(__name__)

Arithmetic = Literal["f32", "bf16"]

# Converting and compiling takes some seconds: less work than this (floating-point operations) is done sooner in eager
# torch. The limit looks at the work alone, not at what is cached, so that equal runs take equal ways.
WORTHWHILE_FLOPS = 500e9
_CANCEL_POLL_MS = 100
# Part of the cache's key: other rewriting gives other files.
_REWRITING = "2"
_MODEL = "model.xml"
_COUNTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

# What was counted: a worker asks for the same network and tile in every run.
_counted: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = weakref.WeakKeyDictionary()

Convert = Callable[[nn.Module, tuple[int, ...], Path], None]


def is_available() -> bool:
    """Whether OpenVINO is installed. That it is not is no error: eager torch does the same."""
    return importlib.util.find_spec("openvino") is not None


def flops_per_tile(network: nn.Module, tile: Sequence[int]) -> int:
    """Floating-point operations of the convolutions and linear layers in one pass of a tile (b, c, ...) on the CPU.

    Counted on a smaller tile where the network takes one, and scaled: tensors without data would do for the shapes,
    but torch loads its compiler for them, which takes 8 seconds.
    """
    known = _counted.setdefault(network, {})
    if tuple(tile) in known:
        return known[tuple(tile)]
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        # A transposed convolution reads each input voxel, the others write each output voxel, once per weight.
        voxels = inputs[0] if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d) else output
        counts.append(2 * weight.numel() * (voxels.numel() // voxels.shape[1 if weight.dim() > 2 else -1]))

    small = smaller_shape(network, tuple(tile))
    handles = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, _COUNTED)]
    try:
        with torch.inference_mode():
            network(torch.zeros(small))
    finally:
        for handle in handles:
            handle.remove()
    known[tuple(tile)] = sum(counts) * math.prod(tile) // math.prod(small)
    return known[tuple(tile)]


class OpenVinoPredictor:
    """One tile through the networks by OpenVINO; logits of several networks (folds) are averaged.

    `key` identifies weights and architecture for the cache in `cache_folder` (None: nothing is kept). The logits that
    a call returns lie in the engine's own memory: the next call overwrites them. Raises ConversionError where a network
    cannot be converted or its logits are not those of torch. `convert` writes a network for tiles of a shape to a file.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        channels: int,
        patch: Shape,
        key: str,
        arithmetic: Arithmetic = "f32",
        cache_folder: Path | None = None,
        convert: Convert = convert_apart,
    ) -> None:
        self.engine = "cpu-openvino" if arithmetic == "f32" else f"cpu-openvino-{arithmetic}"
        self.device = torch.device("cpu")
        self._planar = patch[0] == 1
        # A 2D network gets the slices of its tile as a batch; tiles of planar models are one slice thick.
        shape = (1, channels, *(patch[1:] if self._planar else patch))
        compiler = _Compiler(shape, arithmetic, cache_folder, convert)
        self._compiled = [compiler.compiled(network, f"{key}-{n}") for n, network in enumerate(networks)]
        if not self._compiled:
            raise ValueError("no networks")
        self._requests = [compiled.create_infer_request() for compiled in self._compiled]

    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i); the next call overwrites them."""
        batch = (tile.transpose(0, 1) if self._planar else tile[None]).contiguous()
        total = _infer(self._requests[0], batch, cancelled)
        for request in self._requests[1:]:
            total.add_(_infer(request, batch, cancelled))
        if len(self._requests) > 1:
            total.div_(len(self._requests))
        return total.transpose(0, 1) if self._planar else total[0]


def _infer(request: Any, batch: torch.Tensor, cancelled: CancelCheck) -> torch.Tensor:
    import openvino

    request.set_input_tensor(openvino.Tensor(batch.numpy(), shared_memory=True))
    request.start_async()
    while not request.wait_for(_CANCEL_POLL_MS):
        if cancelled():
            request.cancel()
            # The cancelled request reports its end as an error; what matters is that it has ended.
            with contextlib.suppress(RuntimeError):
                request.wait()
            check_cancelled(cancelled)
    return torch.from_numpy(request.get_output_tensor(0).data)


class _Compiler:
    """Compiles networks for one tile shape; what was converted comes from the cache where it is there."""

    def __init__(self, shape: tuple[int, ...], arithmetic: str, cache_folder: Path | None, convert: Convert) -> None:
        self._shape = shape
        self._folder = cache_folder
        self._convert = convert
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": arithmetic,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }

    def compiled(self, network: nn.Module, key: str) -> Any:
        """The network, ready to run. Raises ConversionError."""
        import openvino

        core = openvino.Core()
        folder = None
        if self._folder is not None:
            folder = self._folder / _cache_name(key, self._shape, openvino.__version__)
            if (folder / _MODEL).is_file():
                try:
                    settings = self._settings | {"CACHE_DIR": str(folder)}
                    return core.compile_model(folder / _MODEL, "CPU", settings)
                except RuntimeError as error:
                    _log.warning("The cached network '%s' cannot be used and is made anew: %s", folder, error)
        with tempfile.TemporaryDirectory(prefix="medai-engine-", ignore_cleanup_errors=True) as temporary:
            path = Path(temporary) / _MODEL
            self._convert(network, self._shape, path)
            if folder is not None and _keep(path, folder):
                return core.compile_model(folder / _MODEL, "CPU", self._settings)
            # Read into memory: the folder goes, and the weights must not be mapped from it.
            model = core.read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())
            return core.compile_model(model, "CPU", self._settings)


def _cache_name(key: str, shape: tuple[int, ...], version: str) -> str:
    parts = [key, "x".join(map(str, shape)), version, str(torch.__version__), processor_name(), _REWRITING]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _keep(model: Path, folder: Path) -> bool:
    """Put the converted network into the cache; one that cannot be written costs time at the next start, nothing else.

    Another process may do the same at the same time: the folder appears whole or not at all.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        try:
            for name in (_MODEL, Path(_MODEL).with_suffix(".bin").name):
                shutil.copyfile(model.with_name(name), temporary / name)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        _log.warning("The converted network is not kept in '%s': %s", folder, error)
        return False
    return True
