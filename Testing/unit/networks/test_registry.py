from __future__ import annotations

import json

import pytest
import torch

from medai.errors import ConfigError, ModelError
from medai.networks import available, build_network, load_weights, size_divisor, without_deep_supervision

ARGUMENTS = {
    "unet": {"in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]],
             "deep_supervision": True},
    "dynunet": {"in_channels": 1, "out_channels": 3, "filters": [4, 8, 8], "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                "kernel_sizes": [[3, 3, 3]] * 3, "deep_supervision": True},
    "segresnet": {"in_channels": 1, "out_channels": 3, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
}  # fmt: skip


def test_the_table_is_complete() -> None:
    assert set(available("segment")) == set(ARGUMENTS)


@pytest.mark.parametrize("name", available("segment"))
def test_arguments_are_plain_data(name: str) -> None:
    arguments = json.loads(json.dumps(ARGUMENTS[name]))
    network = build_network(name, arguments).eval()
    size = [8 * step for step in size_divisor(name, arguments)]
    assert network(torch.zeros(1, 1, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("name", available("segment"))
def test_weights_of_training_predict_without_its_extra_heads(name: str) -> None:
    torch.manual_seed(0)
    trained = build_network(name, ARGUMENTS[name]).eval()
    network = build_network(name, without_deep_supervision(name, ARGUMENTS[name])).eval()
    weights = trained.state_dict()
    load_weights(network, {key: weights[key] for key in network.state_dict()})
    x = torch.randn(1, 1, *(8 * step for step in size_divisor(name, ARGUMENTS[name])))
    assert torch.equal(network(x), trained(x))


@pytest.mark.parametrize("name", ["unet", "dynunet"])
def test_deep_supervision_lists_the_highest_resolution_first(name: str) -> None:
    network = build_network(name, ARGUMENTS[name]).train()
    outputs = network(torch.zeros(2, 1, 16, 16, 16))
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert outputs[0].shape == (2, 3, 16, 16, 16)


def test_an_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'vnet'.*unet, dynunet, segresnet"):
        build_network("vnet", {})


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="dilation"):
        build_network("unet", {**ARGUMENTS["unet"], "dilation": 2})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dynunet", {"filters": [4, 8]}),
        ("dynunet", {"strides": [[1, 1], [2, 2], [2, 2]]}),
        ("segresnet", {"init_filters": 12}),
        ("segresnet", {"blocks_up": [1]}),
        ("segresnet", {"dropout": 1.5}),
    ],
)
def test_arguments_that_monai_could_not_build(name: str, change: dict) -> None:
    with pytest.raises(ConfigError):
        build_network(name, {**ARGUMENTS[name], **change})


def test_weights_of_another_network_are_refused() -> None:
    network = build_network("unet", ARGUMENTS["unet"])
    with pytest.raises(ModelError, match="do not fit"):
        load_weights(network, build_network("segresnet", ARGUMENTS["segresnet"]).state_dict())
