"""OpenVINO against eager torch: same labels, cached, cancellable, and given up where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medai.errors import Cancelled
from medai.inference import SlidingWindow, TorchPredictor
from medai.networks import build_network

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from medai.inference import openvino_engine
from medai.inference.openvino_engine import ConversionError, OpenVinoPredictor, flops_per_tile

CPU = torch.device("cpu")


def network(dims: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    arguments = {
        "in_channels": 1, "out_channels": 4, "channels": [4, 8], "spatial_dims": dims,
        "strides": [[1] * dims, [2] * dims],
    }  # fmt: skip
    return build_network("unet", arguments).eval()


def test_labels_are_those_of_torch(tmp_path):
    net = network()
    array = np.random.default_rng(0).normal(size=(1, 21, 30, 25)).astype(np.float32)
    by_torch = SlidingWindow(TorchPredictor([net], CPU), (16, 16, 16)).logits(array)
    engine = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path)
    assert engine.engine == "cpu-openvino"
    result = SlidingWindow(engine, (16, 16, 16)).logits(array)
    assert torch.allclose(result, by_torch, atol=1e-3)
    assert (result.argmax(0) != by_torch.argmax(0)).float().mean() < 1e-4


def test_the_second_start_converts_nothing(tmp_path, monkeypatch):
    net, tile = network(), torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    first = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path / "engines")(tile)

    def fail(*_arguments):
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino_engine, "_converted", fail)
    again = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path / "engines")(tile)
    assert torch.equal(first, again)
    with pytest.raises(AssertionError, match="converted again"):
        OpenVinoPredictor([net], 1, (16, 16, 16), "other weights", cache_folder=tmp_path / "engines")
    assert not list((tmp_path / "engines").glob(".new-*"))


def test_a_broken_cache_is_made_anew(tmp_path):
    net, tile = network(), torch.randn(1, 16, 16, 16)
    first = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path)(tile)
    (kept,) = tmp_path.iterdir()
    (kept / "model.xml").write_text("no network")
    assert torch.equal(OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path)(tile), first)
    assert "no network" not in (kept / "model.xml").read_text()


def test_folds_and_planar_networks():
    nets = [network(2, seed) for seed in (1, 2)]
    tile = torch.randn(1, 1, 16, 24)
    result = OpenVinoPredictor(nets, 1, (1, 16, 24), "key")(tile)
    assert torch.allclose(result, TorchPredictor(nets, CPU, planar=True)(tile), atol=1e-3)


def test_cancel_while_a_tile_is_computed(monkeypatch):
    monkeypatch.setattr(openvino_engine, "_CANCEL_POLL_MS", 1)
    layers = [nn.Conv3d(16 if n else 1, 16, 3, padding=1) for n in range(6)]
    engine = OpenVinoPredictor([nn.Sequential(*layers)], 1, (48, 48, 48), "key")
    expected = engine(torch.ones(1, 48, 48, 48))
    with pytest.raises(Cancelled):
        engine(torch.zeros(1, 48, 48, 48), lambda: True)
    assert torch.equal(engine(torch.ones(1, 48, 48, 48)), expected)  # usable again


def test_a_wrong_conversion_is_refused(monkeypatch):
    other = openvino_engine._converted(network(seed=5), (1, 1, 16, 16, 16))
    monkeypatch.setattr(openvino_engine, "_converted", lambda *_: other)
    with pytest.raises(ConversionError, match="differ from torch's"):
        OpenVinoPredictor([network(seed=0)], 1, (16, 16, 16), "key")


def test_what_cannot_be_converted_is_a_conversion_error():
    class Strange(nn.Module):
        def forward(self, x):
            return torch.from_numpy(np.fft.fft(x.numpy()).real)

    with pytest.raises(ConversionError):
        OpenVinoPredictor([Strange()], 1, (16, 16, 16), "key")


def test_flops_are_counted_without_computing():
    # 3x3x3 convolution of 2 to 5 channels over 8^3 voxels: 2 * 27 * 2 * 5 operations a voxel.
    assert flops_per_tile(nn.Conv3d(2, 5, 3, padding=1), (1, 2, 8, 8, 8)) == 2 * 27 * 2 * 5 * 512
