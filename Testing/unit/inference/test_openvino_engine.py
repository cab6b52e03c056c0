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

import openvino

from medai.inference import conversion, openvino_engine
from medai.inference.conversion import ConversionError, convert, convert_apart, smaller_shape
from medai.inference.openvino_engine import flops_per_tile

CPU = torch.device("cpu")


def network(dims: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    arguments = {
        "in_channels": 1, "out_channels": 4, "channels": [4, 8], "spatial_dims": dims,
        "strides": [[1] * dims, [2] * dims],
    }  # fmt: skip
    return build_network("unet", arguments).eval()


def OpenVinoPredictor(*args, convert=convert, **named):
    """The engine with networks converted in this process: a child for each test would take seconds."""
    return openvino_engine.OpenVinoPredictor(*args, convert=convert, **named)


def test_labels_are_those_of_torch(tmp_path):
    net = network()
    array = np.random.default_rng(0).normal(size=(1, 21, 30, 25)).astype(np.float32)
    by_torch = SlidingWindow(TorchPredictor([net], CPU), (16, 16, 16)).logits(array)
    engine = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path)
    assert engine.engine == "cpu-openvino"
    result = SlidingWindow(engine, (16, 16, 16)).logits(array)
    assert torch.allclose(result, by_torch, atol=1e-3)
    assert (result.argmax(0) != by_torch.argmax(0)).float().mean() < 1e-4


def test_the_second_start_converts_nothing(tmp_path):
    net, tile = network(), torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    first = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path / "engines")(tile).clone()

    def fail(*_arguments):
        raise AssertionError("converted again")

    again = OpenVinoPredictor([net], 1, (16, 16, 16), "key", cache_folder=tmp_path / "engines", convert=fail)(tile)
    assert torch.equal(first, again)
    with pytest.raises(AssertionError, match="converted again"):
        OpenVinoPredictor([net], 1, (16, 16, 16), "other weights", cache_folder=tmp_path / "engines", convert=fail)
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
    expected = engine(torch.ones(1, 48, 48, 48)).clone()
    with pytest.raises(Cancelled):
        engine(torch.zeros(1, 48, 48, 48), lambda: True)
    assert torch.equal(engine(torch.ones(1, 48, 48, 48)), expected)  # usable again


def test_a_wrong_conversion_is_refused(monkeypatch, tmp_path):
    other = openvino.convert_model(
        network(seed=5), example_input=torch.zeros(1, 1, 16, 16, 16), input=[[1, 1, -1, -1, -1]]
    )
    monkeypatch.setattr(openvino, "convert_model", lambda *_arguments, **_named: other)
    with pytest.raises(ConversionError, match="differ from torch's"):
        convert(network(seed=0), (1, 1, 16, 16, 16), tmp_path / "model.xml")


class Strange(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.fft.fft(x.numpy()).real)


class Frozen(nn.Module):
    """Tracing takes a size for a constant here."""

    def forward(self, x):
        return nn.functional.interpolate(x[..., ::2], size=[int(n) for n in x.shape[2:]])


@pytest.mark.parametrize("net", [Strange(), Frozen()])
def test_what_cannot_be_converted_is_a_conversion_error(net, tmp_path):
    with pytest.raises(ConversionError):
        convert(net, (1, 1, 32, 32, 32), tmp_path / "model.xml")
    assert not (tmp_path / "model.xml").exists()


def test_a_process_of_its_own_converts():
    net, tile = network(), torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    engine = OpenVinoPredictor([net], 1, (16, 16, 16), "key", convert=convert_apart)
    assert torch.allclose(engine(tile), TorchPredictor([net], CPU)(tile), atol=1e-3)


def test_why_a_process_of_its_own_refuses_comes_back(tmp_path):
    with pytest.raises(ConversionError, match="OpenVINO cannot convert the network"):
        convert_apart(network(), (1, 2, 16, 16, 16), tmp_path / "model.xml")  # the network has one channel
    assert not (tmp_path / "model.xml").exists()


def test_a_network_that_is_not_of_the_registry_is_converted_here(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion.subprocess, "Popen", None)
    convert_apart(nn.Conv3d(1, 2, 3, padding=1), (1, 1, 16, 16, 16), tmp_path / "model.xml")
    assert (tmp_path / "model.xml").is_file()


def test_the_process_that_converts_is_ended_when_cancelled(tmp_path):
    asked: list[int] = []
    with pytest.raises(Cancelled):
        convert_apart(network(), (1, 1, 16, 16, 16), tmp_path / "model.xml", lambda: len(asked.append(1) or asked) > 2)
    assert not (tmp_path / "model.xml").exists()


def test_small_tiles_are_found_where_the_network_takes_them():
    assert smaller_shape(network(), (1, 1, 64, 48, 32)) == (1, 1, 16, 12, 8)
    assert smaller_shape(network(), (1, 1, 12, 20, 12)) == (1, 1, 12, 20, 12)


def test_without_concatenations_the_figures_stay_and_memory_shrinks():
    from medai.inference.concat_rewrite import without_concatenations

    torch.manual_seed(0)
    arguments = {
        "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16], "strides": [[1] * 3, [2] * 3, [2] * 3],
    }  # fmt: skip
    net = build_network("unet", arguments).eval()
    tile = torch.randn(1, 1, 16, 24, 32)
    model = openvino.convert_model(net, example_input=tile, input=[list(tile.shape)])
    assert without_concatenations(model) == 2
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert "Concat" not in kinds
    order = [op.get_type_name() for op in model.get_ordered_ops() if "Convolution" in op.get_type_name()]
    # The finest skip's part is computed before the last upsampling.
    assert order[-1 - order[::-1].index("ConvolutionBackpropData") - 1] == "Convolution"
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        expected = net(tile)
    assert torch.allclose(torch.from_numpy(compiled(tile.numpy())[0]), expected, atol=1e-3)


def test_concatenations_that_something_else_reads_stay():
    from medai.inference.concat_rewrite import without_concatenations

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv3d(1, 2, 3, padding=1), nn.Conv3d(3, 3, 3, padding=1)

        def forward(self, x):
            joined = torch.cat((x, self.first(x)), 1)
            return self.second(joined) + joined

    model = openvino.convert_model(Dense().eval(), example_input=torch.zeros(1, 1, 8, 8, 8), input=[[1, 1, 8, 8, 8]])
    assert without_concatenations(model) == 0


def test_flops_are_counted_without_computing():
    # 3x3x3 convolution of 2 to 5 channels over 8^3 voxels: 2 * 27 * 2 * 5 operations a voxel.
    assert flops_per_tile(nn.Conv3d(2, 5, 3, padding=1), (1, 2, 8, 8, 8)) == 2 * 27 * 2 * 5 * 512


def test_flops_of_a_u_net_do_not_depend_on_the_tile_they_are_counted_on():
    net = network()
    assert flops_per_tile(net, (1, 1, 64, 48, 32)) == 6 * flops_per_tile(net, (1, 1, 16, 32, 32))
