"""One tile through the networks: eager torch on any device, with mirroring and an ensemble of folds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Protocol

import torch
from torch import nn

from medai.progress import CancelCheck, check_cancelled, never_cancelled


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
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        device: torch.device,
        dtype: torch.dtype | None = None,
        planar: bool = False,
    ) -> None:
        self.device = device
        self.engine = "cpu-eager" if device.type == "cpu" else device.type
        self._networks = [network.eval() for network in networks]
        self._dtype = dtype
        self._planar = planar

    @torch.inference_mode()
    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i)."""
        batch = tile.to(self.device, non_blocking=True)
        batch = batch.transpose(0, 1) if self._planar else batch[None]  # (k, c, j, i) or (1, c, k, j, i)
        logits: torch.Tensor | None = None
        for network in self._networks:
            with self._arithmetic(), _cancellable(network, cancelled):
                result = network(batch).float()
            logits = result if logits is None else logits.add_(result)
        if logits is None:
            raise ValueError("no networks")
        if len(self._networks) > 1:
            logits = logits.div_(len(self._networks))
        return logits.transpose(0, 1) if self._planar else logits[0]

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
    """Test-time augmentation: the mean of a predictor's logits over all mirrorings of the tile along `axes` (0: k)."""

    def __init__(self, predictor: Predictor, axes: Sequence[int]) -> None:
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
            total.add_(self._predictor(tile.flip(flip), cancelled).flip(flip))
        return total.div_(len(self._flips))
