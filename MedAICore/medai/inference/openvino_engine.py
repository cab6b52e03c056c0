"""CPU inference by OpenVINO where it is installed: 2 and more times faster than eager torch in float32.

Networks are converted from torch once; the converted and the compiled network are kept in a cache folder under a key of
weights, architecture, tile, versions and CPU. What is converted is checked against torch before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from medai.inference.tiles import Shape
from medai.machine import processor_name
from medai.progress import CancelCheck, check_cancelled, never_cancelled

_log = logging.getLogger(__name__)

Arithmetic = Literal["f32", "bf16"]

# OpenVINO's figures for a tile may differ from torch's by this part of their spread; more means a wrong conversion.
_LARGEST_DIFFERENCE = 1e-3
# Converting and compiling takes some seconds: less work than this (floating-point operations) is done sooner in eager
# torch. The limit looks at the work alone, not at what is cached, so that equal runs take equal ways.
WORTHWHILE_FLOPS = 500e9
_CANCEL_POLL_MS = 100


class ConversionError(Exception):
    """OpenVINO cannot run this network, or runs it wrongly."""


def is_available() -> bool:
    """Whether OpenVINO is installed. That it is not is no error: eager torch does the same."""
    return importlib.util.find_spec("openvino") is not None


def flops_per_tile(network: nn.Module, tile: Sequence[int]) -> int:
    """Floating-point operations of one pass of a tile (b, c, ...), counted without computing it."""
    from torch.utils.flop_counter import FlopCounterMode

    state = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        torch.func.functional_call(network, state, (torch.empty(tuple(tile), device="meta"),))
    return int(counter.get_total_flops())


class OpenVinoPredictor:
    """One tile through the networks by OpenVINO; logits of several networks (folds) are averaged.

    `key` identifies weights and architecture for the cache in `cache_folder` (None: nothing is kept). Raises
    ConversionError where a network cannot be converted or its logits are not those of torch.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        channels: int,
        patch: Shape,
        key: str,
        arithmetic: Arithmetic = "f32",
        cache_folder: Path | None = None,
    ) -> None:
        self.engine = "cpu-openvino" if arithmetic == "f32" else f"cpu-openvino-{arithmetic}"
        self.device = torch.device("cpu")
        self._planar = patch[0] == 1
        # A 2D network gets the slices of its tile as a batch; tiles of planar models are one slice thick.
        shape = (1, channels, *(patch[1:] if self._planar else patch))
        self._requests = [
            _compiled(network, shape, f"{key}-{n}", arithmetic, cache_folder).create_infer_request()
            for n, network in enumerate(networks)
        ]

    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i)."""
        batch = tile.transpose(0, 1) if self._planar else tile[None]
        total: torch.Tensor | None = None
        for request in self._requests:
            logits = _infer(request, batch.contiguous(), cancelled)
            total = logits if total is None else total.add_(logits)
        if total is None:
            raise ValueError("no networks")
        if len(self._requests) > 1:
            total = total.div_(len(self._requests))
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
    # The request's own memory is written again by the next tile.
    return torch.from_numpy(request.get_output_tensor(0).data.copy())


def _compiled(
    network: nn.Module, shape: tuple[int, ...], key: str, arithmetic: Arithmetic, cache_folder: Path | None
) -> Any:
    import openvino

    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": arithmetic,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    folder = None if cache_folder is None else cache_folder / _cache_name(key, shape, openvino.__version__)
    if folder is not None and (folder / "model.xml").is_file():
        try:
            return core.compile_model(folder / "model.xml", "CPU", settings | {"CACHE_DIR": str(folder)})
        except RuntimeError as error:
            _log.warning("The cached network '%s' cannot be used and is made anew: %s", folder, error)
    model = _converted(network, shape)
    compiled = core.compile_model(model, "CPU", settings)
    if arithmetic == "f32":
        _check(compiled, network, shape)
    if folder is not None:
        _store(model, folder)
    return compiled


def _converted(network: nn.Module, shape: tuple[int, ...]) -> Any:
    import openvino

    try:
        # Tracing warns about Python code in torch's own layers; `_check` tells whether the result is right.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return openvino.convert_model(network.eval(), example_input=torch.zeros(shape), input=list(shape))
    except Exception as error:  # the converter raises errors of many kinds for what it does not know
        raise ConversionError(f"OpenVINO cannot convert the network: {error}") from error


def _check(compiled: Any, network: nn.Module, shape: tuple[int, ...]) -> None:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(noise)
    result = torch.from_numpy(compiled(noise.numpy())[0])
    difference = float((result - expected).abs().max() / expected.std().clamp_min(1e-12))
    # The comparison is written so that NaN fails, too.
    if not difference <= _LARGEST_DIFFERENCE:
        raise ConversionError(f"OpenVINO's logits differ from torch's by {difference:.2g} of their spread")


def _cache_name(key: str, shape: tuple[int, ...], version: str) -> str:
    parts = [key, "x".join(map(str, shape)), version, str(torch.__version__), processor_name()]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _store(model: Any, folder: Path) -> None:
    """Keep the converted network; a cache that cannot be written costs time at the next start, nothing else."""
    import openvino

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        try:
            openvino.save_model(model, temporary / "model.xml", compress_to_fp16=False)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, RuntimeError) as error:
        _log.warning("The converted network is not kept in '%s': %s", folder, error)
