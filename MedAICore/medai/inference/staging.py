"""Tiles on their way to a CUDA device while it computes the tile before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch

_AHEAD = 2


def _pinned(tile: torch.Tensor) -> torch.Tensor:
    return torch.empty(tile.shape, dtype=tile.dtype, pin_memory=True)


class PinnedStaging:
    """Copies tiles from the host to `device` on a stream of its own, out of two buffers in page-locked memory.

    From ordinary memory CUDA copies only once what was queued before has been computed, and the device then waits for
    the next tile. Here the copy of a tile runs beside the computation of the one before. The host is at most two tiles
    ahead, so that a cancelled run ends soon and progress tells the truth. `cuda` is torch.cuda, `allocate` makes a
    page-locked tensor like a tile.
    """

    def __init__(
        self, device: torch.device, cuda: Any = torch.cuda, allocate: Callable[[torch.Tensor], torch.Tensor] = _pinned
    ) -> None:
        self._device = device
        self._cuda = cuda
        self._allocate = allocate
        self._stream = cuda.Stream(device)
        self._free: deque[tuple[torch.Tensor, Any]] = deque()  # buffers, and what tells that they were copied
        self._computed: deque[Any] = deque()

    def to_device(self, tile: torch.Tensor) -> torch.Tensor:
        """`tile` on the device; what the current stream is given from now on waits for the copy."""
        while len(self._computed) >= _AHEAD:
            self._computed.popleft().synchronize()
        buffer, copied = self._buffer(tile)
        copied.synchronize()  # an event that was never recorded is over
        buffer.copy_(tile)
        compute = self._cuda.current_stream(self._device)
        with self._cuda.stream(self._stream):
            on_device = buffer.to(self._device, non_blocking=True)
            copied.record(self._stream)
        compute.wait_event(copied)
        # Else the allocator could give the tile's memory to the copy stream again while it is still read.
        on_device.record_stream(compute)
        self._free.append((buffer, copied))
        return on_device

    def computed(self) -> None:
        """The tile's computation has been queued on the current stream."""
        event = self._cuda.Event()
        event.record(self._cuda.current_stream(self._device))
        self._computed.append(event)

    def _buffer(self, tile: torch.Tensor) -> tuple[torch.Tensor, Any]:
        if len(self._free) >= _AHEAD:
            buffer, copied = self._free.popleft()
            if buffer.shape == tile.shape and buffer.dtype == tile.dtype:
                return buffer, copied
            copied.synchronize()
        return self._allocate(tile), self._cuda.Event()
