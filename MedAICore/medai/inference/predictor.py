"""One tile through the networks: eager torch on any device, with mirroring and an ensemble of folds."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Protocol

import torch
from torch import nn

from medai.errors import is_out_of_memory
from medai.inference.staging import PinnedStaging
from medai.progress import CancelCheck, check_cancelled, never_cancelled

_log = logging.getLogger(__name__)


class Predictor(Protocol):
    """Gives the logits of one tile."""

    @property
    def engine(self) -> str:
        """Name of what computes, for the result: cpu-eager, cpu-openvino, cuda, mps."""

    @property
    def device(self) -> torch.device:
        """Where the tiles are wanted and the logits are."""

    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i). Raises Cancelled within a second of a request.

        They may lie in memory that the next call overwrites: use them at once, or copy them.
        """


class TorchPredictor:
    """Eager torch. `networks` are the folds, whose logits are averaged; `dtype` turns autocast on.

    Cancelling works inside of a tile too: before every layer that computes, the request is looked at, so that even a
    large network on a slow CPU answers after one layer, not after one tile. A 2D network gets one slice at a time.

    On CUDA tiles are copied beside the computation, and 3D networks work on channels-last tensors, which its half
    precision convolutions want. `compiled` lets torch.compile make the networks faster (its first tile takes a minute
    and needs a C++ compiler); where that fails, the eager networks go on.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        device: torch.device,
        dtype: torch.dtype | None = None,
        planar: bool = False,
        compiled: bool = False,
        staging: PinnedStaging | None = None,
    ) -> None:
        if not networks:
            raise ValueError("no networks")
        self.device = device
        self.engine = "cpu-eager" if device.type == "cpu" else device.type
        self._networks = [network.eval() for network in networks]
        self._dtype = dtype
        self._planar = planar
        self._staging = PinnedStaging(device) if staging is None and device.type == "cuda" else staging
        self._channels_last = device.type == "cuda" and not planar
        if self._channels_last:
            for network in self._networks:
                network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._compiled: list[Any] = [torch.compile(network) for network in self._networks] if compiled else []

    @torch.inference_mode()
    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i)."""
        on_device = tile.to(self.device) if self._staging is None else self._staging.to_device(tile)
        batch = on_device.transpose(0, 1) if self._planar else on_device[None]  # (k, c, j, i) or (1, c, k, j, i)
        if self._channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last_3d)
        logits: torch.Tensor | None = None
        for number in range(len(self._networks)):
            with self._arithmetic():
                result = self._forward(number, batch, cancelled).float()
            logits = result if logits is None else logits.add_(result)
        assert logits is not None
        if len(self._networks) > 1:
            logits = logits.div_(len(self._networks))
        if self._staging is not None:
            self._staging.computed()
        return logits.transpose(0, 1) if self._planar else logits[0]

    def _forward(self, number: int, batch: torch.Tensor, cancelled: CancelCheck) -> torch.Tensor:
        if self._compiled:
            check_cancelled(cancelled)
            try:
                result: torch.Tensor = self._compiled[number](batch)
                return result
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                _log.warning("torch.compile cannot run this network, which goes on without it: %s", error)
                self._compiled = []
        network = self._networks[number]
        with _cancellable(network, cancelled):
            result = network(batch)
        return result

    @contextlib.contextmanager
    def _arithmetic(self) -> Iterator[None]:
        # TF32 keeps 10 bits of 23: not what a person asked for who asked for 32-bit arithmetic.
        with contextlib.ExitStack() as stack:
            if self._dtype is not None:
                stack.enter_context(torch.autocast(self.device.type, dtype=self._dtype))
            elif self.device.type == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(allow_tf32=False))
            yield


@contextlib.contextmanager
def _cancellable(network: nn.Module, cancelled: CancelCheck) -> Iterator[None]:
    if cancelled is never_cancelled:
        yield
        return

    def check(_module: nn.Module, _inputs: Any) -> None:
        check_cancelled(cancelled)

    layers = [module for module in network.modules() if next(module.children(), None) is None]
    handles = [layer.register_forward_pre_hook(check) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class MirroredPredictor:
    """Test-time augmentation: the mean of a predictor's logits over all mirrorings of the tile along `axes` (0: k).

    `other_side` names for each class that of the same structure on the other side of the body: the classes that a tile
    mirrored from left to right (the last axis) gives are exchanged so.
    """

    def __init__(self, predictor: Predictor, axes: Sequence[int], other_side: Sequence[int] = ()) -> None:
        self._other_side = torch.tensor(tuple(other_side), dtype=torch.int64)
        self._predictor = predictor
        self.engine = predictor.engine
        self.device = predictor.device
        self._flips = [flip for n in range(len(axes) + 1) for flip in combinations([a + 1 for a in axes], n)]

    @torch.inference_mode()
    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i)."""
        total = self._predictor(tile, cancelled).clone()
        for flip in self._flips[1:]:
            check_cancelled(cancelled)
            logits = self._predictor(tile.flip(flip), cancelled).flip(flip)
            if len(self._other_side) and 3 in flip:
                logits = logits[self._other_side.to(logits.device)]
            total.add_(logits)
        return total.div_(len(self._flips))
