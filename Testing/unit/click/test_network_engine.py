"""The network's engine: OpenVINO and torch agree, and a session works on it as on any engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from unit.click.phantoms import dice, phantom, point

from medai.click import ClickSession, load_model, network_engine
from medai.click.prompts import PromptMaps
from medai.config.model_card import InputSpec, ModelCard, NetworkSpec
from medai.errors import ModelError
from medai.models import UNWRITTEN_WEIGHTS, open_model, write_package
from medai.networks import build_network
from medai.networks.click_channels import CHANNELS

ARGUMENTS = {
    "in_channels": len(CHANNELS),
    "out_channels": 1,
    "channels": [4, 8],
    "strides": [[1, 1, 1], [2, 2, 2]],
    "normalization": "group",
}


def card(**changes):
    made = ModelCard(
        1,
        "click-test",
        "1.0.0",
        "Test",
        "click",
        NetworkSpec("unet", ARGUMENTS),
        UNWRITTEN_WEIGHTS,
        (InputSpec("image"),),
        "Apache-2.0",
        (1.0, 1.0, 1.0),
        (32, 32, 32),
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A network that gives back grow-cut's channel: what it segments is known."""
    torch.manual_seed(0)
    network = build_network("unet", ARGUMENTS)
    state = network.state_dict()
    for name, tensor in state.items():
        if name.startswith("up."):
            tensor.zero_()
        if "decoder.0.blocks" in name and tensor.ndim == 5:
            # The first skip channel of 4 + 4 goes straight through.
            tensor.zero_()
            tensor[0, 4 if tensor.shape[1] == 8 else 0, 1, 1, 1] = 1.0
        if "encoder.0.blocks" in name and tensor.ndim == 5:
            tensor[0] = 0.0
            tensor[0, CHANNELS.index("grown") if tensor.shape[1] == len(CHANNELS) else 0, 1, 1, 1] = 1.0
        if name == "heads.0.weight":
            tensor.zero_()
            tensor[0, 0] = 5.0
        if name == "heads.0.bias":
            tensor.fill_(-1.0)
    path = tmp_path_factory.mktemp("click") / "click-test.medai"
    write_package(path, card(), [state])
    return path


@pytest.fixture
def engines_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(network_engine, "user_folder", lambda: tmp_path / "models")


def test_a_session_on_a_network(package, monkeypatch):
    monkeypatch.setattr(network_engine, "is_available", lambda: False)
    image, first, _ = phantom(noise=8.0)
    model = load_model(open_model(package), "cpu")
    session = ClickSession.open(image, model)
    assert session.engine == model.engine().name
    session.prompt(point(image, (13, 30, 28)))
    assert dice(session.mask, first) > 0.8
    # Another session on the same model does not compile it anew.
    assert model.engine() is model.engine()


@pytest.mark.usefixtures("engines_folder")
def test_openvino_and_torch_agree(package, monkeypatch):
    pytest.importorskip("openvino")
    generator = np.random.default_rng(0)
    image = generator.random((32, 32, 32), np.float32)
    maps = PromptMaps(*(np.zeros((32, 32, 32), np.float32) for _ in range(3)), np.ones((32, 32, 32), bool))
    maps.positive[15:18, 15:18, 15:18] = 1.0
    fast = load_model(open_model(package), "cpu").engine()
    assert fast.name == "cpu-openvino"
    monkeypatch.setattr(network_engine, "is_available", lambda: False)
    plain = load_model(open_model(package), "cpu").engine()
    assert plain.name == "cpu-eager"
    previous = np.zeros_like(image)
    difference = fast.predict(image, previous, maps) - plain.predict(image, previous, maps)
    assert np.abs(difference).max() < 1e-3


def test_models_that_are_no_click_models(package, tmp_path):
    state = open_model(package).weights(0)
    flat = write_package(tmp_path / "flat.medai", card(patch=(16, 32, 32)), [state])
    with pytest.raises(ModelError, match="cube"):
        load_model(flat, "cpu")
