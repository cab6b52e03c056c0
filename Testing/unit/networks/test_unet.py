from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medai.errors import ConfigError
from medai.networks import UNet, UNetArguments
from medai.networks.blocks import ACTIVATIONS, NORMALIZATIONS
from medai.networks.stages import BLOCKS

SMALL = UNetArguments(in_channels=2, out_channels=3, channels=(4, 8, 16), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)))


def test_logits_have_the_size_of_the_image() -> None:
    network = UNet(SMALL).eval()
    assert network(torch.zeros(1, 2, 6, 12, 20)).shape == (1, 3, 6, 12, 20)


def test_two_dimensions() -> None:
    arguments = UNetArguments(in_channels=1, out_channels=2, channels=(4, 8), strides=((1, 1), (2, 2)), spatial_dims=2)
    assert UNet(arguments)(torch.zeros(3, 1, 10, 14)).shape == (3, 2, 10, 14)


def test_deep_supervision_gives_a_list_in_training_only() -> None:
    network = UNet(replace(SMALL, deep_supervision=True))
    x = torch.zeros(2, 2, 6, 12, 20)
    sizes = [tuple(y.shape) for y in network.train()(x)]
    assert sizes == [(2, 3, 6, 12, 20), (2, 3, 6, 6, 10)]  # highest resolution first
    assert network.eval()(x).shape == (2, 3, 6, 12, 20)


def test_divisor_is_the_product_of_the_strides() -> None:
    assert SMALL.divisor == (2, 4, 4)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("residual", [False, True])
def test_every_weight_learns(block: str, residual: bool) -> None:
    network = UNet(replace(SMALL, block=block, residual=residual, deep_supervision=True)).train()
    sum(y.square().sum() for y in network(torch.randn(2, 2, 6, 12, 20))).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias in front of a norm would be among these; the transposed convolutions' biases are not.
    assert without == []


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_normalization_and_activation(normalization: str, activation: str) -> None:
    network = UNet(replace(SMALL, normalization=normalization, activation=activation, dropout=0.1))
    assert torch.isfinite(network(torch.randn(2, 2, 6, 12, 20))).all()


def test_the_residual_option_adds_its_input() -> None:
    network = UNet(replace(SMALL, residual=True)).eval()
    stage = network.encoder[0]
    with torch.no_grad():
        for parameter in stage.blocks.parameters():
            parameter.zero_()
        x = torch.randn(1, 2, 4, 8, 8)
        assert torch.equal(stage(x), stage.shortcut(x))


def test_skip_connections_reach_the_output() -> None:
    torch.manual_seed(0)
    network = UNet(SMALL).eval()
    x = torch.randn(1, 2, 6, 12, 20)
    before = network(x)
    with torch.no_grad():
        # Without what comes from below, the image still arrives over the skip connection of full resolution.
        network.up[0].weight.zero_()
        network.up[0].bias.zero_()
        image, other = network(x), network(torch.randn(1, 2, 6, 12, 20))
    assert not torch.equal(before, image)
    assert not torch.allclose(image, other)


def test_blocks_per_stage_are_counted() -> None:
    network = UNet(replace(SMALL, blocks_per_stage=(1, 2, 3), decoder_blocks_per_stage=(2, 1)))
    assert [len(stage.blocks) for stage in network.encoder] == [1, 2, 3]
    assert [len(stage.blocks) for stage in network.decoder] == [2, 1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"channels": (4,)}, "one stage|1 stage"),
        ({"channels": (4, 0, 8)}, "channels is"),
        ({"strides": ((1, 1, 1), (2, 2, 2))}, "strides"),
        ({"strides": ((1, 1), (2, 2), (2, 2))}, "strides"),
        ({"kernel_sizes": ((3, 3, 3), (2, 3, 3), (3, 3, 3))}, "even"),
        ({"blocks_per_stage": (1, 2)}, "blocks_per_stage"),
        ({"normalization": "layer"}, "normalization is 'layer'"),
        ({"activation": "tanh"}, "activation is 'tanh'"),
        ({"block": "dense"}, "block is 'dense'"),
        ({"spatial_dims": 4}, "spatial_dims is 4"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_arguments_that_cannot_be_built(change: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        replace(SMALL, **change)
