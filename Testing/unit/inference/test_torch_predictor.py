"""Eager torch's ways to a GPU, with a GPU that is only noted down; compiled networks that fail."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from medai.errors import Cancelled
from medai.inference import TorchPredictor
from medai.inference.staging import PinnedStaging

CPU = torch.device("cpu")


class RecordingCuda:
    """Stands for torch.cuda: notes what would be queued and waited for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.events = 0
        cuda = self

        class Event:
            def __init__(self) -> None:
                cuda.events += 1
                self.name = f"e{cuda.events}"
                self.recorded = False

            def record(self, stream: str) -> None:
                self.recorded = True
                cuda.log.append(f"record {self.name} on {stream}")

            def synchronize(self) -> None:
                if self.recorded:
                    cuda.log.append(f"host waits for {self.name}")

        class Compute:
            def wait_event(self, event: Event) -> None:
                cuda.log.append(f"compute waits for {event.name}")

            def __str__(self) -> str:
                return "compute"

        self.Event = Event
        self._compute = Compute()

    def Stream(self, _device) -> str:
        return "copy"

    def current_stream(self, _device):
        return self._compute

    @contextlib.contextmanager
    def stream(self, name: str):
        self.log.append(f"[{name}")
        yield
        self.log.append("]")


@pytest.fixture
def staging(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None, raising=False)
    cuda = RecordingCuda()
    allocated: list[torch.Tensor] = []

    def allocate(tile: torch.Tensor) -> torch.Tensor:
        allocated.append(torch.empty_like(tile))
        return allocated[-1]

    return PinnedStaging(CPU, cuda, allocate), cuda, allocated


def test_copies_go_beside_the_computation_and_two_buffers_are_enough(staging):
    stage, cuda, allocated = staging
    net = nn.Conv3d(1, 2, 1).eval()
    predictor = TorchPredictor([net], CPU, staging=stage)
    plain = TorchPredictor([net], CPU)
    for seed in range(6):
        tile = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(predictor(tile), plain(tile))
    assert len(allocated) == 2
    assert cuda.log[:4] == ["[copy", "record e1 on copy", "]", "compute waits for e1"]
    # Before the third tile is copied, the first has been computed (e2) and its buffer was read (e1).
    third = cuda.log.index("host waits for e2")
    assert cuda.log[third + 1] == "host waits for e1"
    assert cuda.log[:third].count("[copy") == 2


def test_a_tile_of_another_shape_gets_a_buffer_of_its_own(staging):
    stage, _, allocated = staging
    for shape in ((1, 2, 2, 2), (1, 2, 2, 2), (1, 3, 2, 2), (1, 3, 2, 2)):
        tile = torch.randn(shape)
        assert torch.equal(stage.to_device(tile), tile)
        stage.computed()
    assert [tuple(buffer.shape) for buffer in allocated] == [(1, 2, 2, 2), (1, 2, 2, 2), (1, 3, 2, 2), (1, 3, 2, 2)]


def compile_that_raises(monkeypatch, error: Exception) -> list[int]:
    """torch.compile gives functions that fail; the list gets one entry per call."""
    calls: list[int] = []

    def fail(_batch):
        calls.append(1)
        raise error

    monkeypatch.setattr(torch, "compile", lambda _network: fail)
    return calls


def test_where_compiling_fails_the_eager_network_goes_on(monkeypatch, caplog):
    calls = compile_that_raises(monkeypatch, OSError("no C++ compiler"))
    net, tile = nn.Conv3d(1, 2, 1).eval(), torch.randn(1, 4, 4, 4)
    predictor = TorchPredictor([net], CPU, compiled=True)
    expected = TorchPredictor([net], CPU)(tile)
    assert torch.equal(predictor(tile), expected)
    assert torch.equal(predictor(tile), expected)
    assert len(calls) == 1
    assert "no C++ compiler" in caplog.text


def test_out_of_memory_in_a_compiled_network_is_not_hidden_and_cancelling_works(monkeypatch):
    compile_that_raises(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    predictor = TorchPredictor([nn.Conv3d(1, 2, 1)], CPU, compiled=True)
    with pytest.raises(torch.OutOfMemoryError):
        predictor(torch.zeros(1, 4, 4, 4))
    with pytest.raises(Cancelled):
        predictor(torch.zeros(1, 4, 4, 4), lambda: True)


def test_without_networks_there_is_nothing_to_compute():
    with pytest.raises(ValueError, match="no networks"):
        TorchPredictor([], CPU)
