"""The mathematics of the U-Net's blocks and of fusion, and that they go through everything that a network meets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from medai.errors import ConfigError
from medai.inference.anomaly import FeatureTap, feature_layers
from medai.networks import UNet, UNetArguments
from medai.networks.blocks import BlockSize, BlockStyle
from medai.networks.dynamic import DynamicConvolution
from medai.networks.fusion import AttentionFusion
from medai.networks.multiscale import MultiScaleAttentionBlock, ScaleAttention
from medai.networks.stages import SeparableBlock

BARE = BlockStyle(3, "none", "relu", 0.0)
SIZE = BlockSize(4, 6, (3, 3, 3), (1, 2, 2))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_separable_is_depthwise_then_pointwise_with_few_weights() -> None:
    block = SeparableBlock(SIZE, BARE)
    x = noise(2, 4, 5, 8, 10)
    depthwise, pointwise = block[0].weight, block[1].weight
    by_hand = torch.cat(
        [F.conv3d(x[:, c : c + 1], depthwise[c : c + 1], stride=(1, 2, 2), padding=1) for c in range(4)], dim=1
    )
    by_hand = torch.einsum("oc,bckji->bokji", pointwise[:, :, 0, 0, 0], by_hand)
    assert torch.allclose(block(x), by_hand.relu(), atol=1e-5)
    assert sum(p.numel() for p in block.parameters()) == 27 * 4 + 4 * 6  # against 27 * 4 * 6


def chosen(convolution: DynamicConvolution, *logits: float) -> None:
    """Let the attention have these logits whatever it sees."""
    with torch.no_grad():
        convolution.choose.weight.zero_()
        convolution.choose.bias.copy_(torch.tensor(logits))


@pytest.mark.parametrize("kernel", [0, 2])
def test_dynamic_convolution_with_one_hot_attention_is_that_kernel(kernel: int) -> None:
    convolution = DynamicConvolution(SIZE, replace(BARE, kernels=3))
    chosen(convolution, *(200.0 if k == kernel else 0.0 for k in range(3)))
    x = noise(2, 4, 5, 8, 10)
    plain = F.conv3d(x, convolution.weight[kernel], stride=(1, 2, 2), padding=1)
    assert torch.allclose(convolution(x), plain, atol=1e-5)


def test_a_mixture_of_kernels_is_the_mixture_of_their_results() -> None:
    convolution = DynamicConvolution(SIZE, BARE)
    torch.nn.init.normal_(convolution.choose.weight)  # far from even, another one for each image
    x = noise(3, 4, 5, 8, 10)
    weights = convolution.attention(x)
    assert torch.allclose(weights.sum(1), torch.ones(3))
    assert (weights[0] - weights[1]).abs().max() > 1e-3
    results = torch.stack([F.conv3d(x, kernel, stride=(1, 2, 2), padding=1) for kernel in convolution.weight], dim=1)
    assert torch.allclose(convolution(x), torch.einsum("bn,bnokji->bokji", weights, results), atol=1e-4)


def test_in_time_it_is_a_convolution_over_frames_with_attention_for_each() -> None:
    """2D + t with one kernel: what conv3d computes over (t, j, i), the first and last frame repeated at the ends."""
    size = BlockSize(2, 3, (3, 3), (1, 1))
    convolution = DynamicConvolution(size, BlockStyle(2, "none", "relu", 0.0, kernels=4, frames=5, taps=3))
    chosen(convolution, 200.0, 0.0, 0.0, 0.0)
    x = noise(2 * 5, 2, 6, 7)  # two sequences of five frames
    volumes = x.unflatten(0, (2, 5)).transpose(1, 2)  # (b, c, t, j, i)
    volumes = torch.cat((volumes[:, :, :1], volumes, volumes[:, :, -1:]), dim=2)
    kernel = convolution.weight[0].unflatten(1, (3, 2)).transpose(1, 2)  # (o, taps c, j, i) -> (o, c, t, j, i)
    expected = F.conv3d(volumes, kernel, padding=(0, 1, 1)).transpose(1, 2).flatten(0, 1)
    assert torch.allclose(convolution(x), expected, atol=1e-4)

    chosen(convolution, 0.0, 0.0, 0.0, 0.0)
    torch.nn.init.normal_(convolution.choose.weight)
    weights = convolution.attention(x)
    assert weights.shape == (10, 4)
    assert (weights[0] - weights[1]).abs().max() > 1e-3, "frames of one sequence have weights of their own"
    other = x.clone()
    other[5:] += 1.0  # the second sequence does not tell the first one anything
    assert torch.equal(convolution.attention(other)[:5], weights[:5])
    assert not torch.equal(convolution.attention(other)[5:], weights[5:])


def test_scale_attention_is_a_weighted_mean_by_channel() -> None:
    attention = ScaleAttention(6, 3)
    stacked = noise(2, 3, 6, 4, 5, 3)
    weights = attention.weights(stacked)
    assert weights.shape == (2, 3, 6)
    assert torch.allclose(weights.sum(1), torch.ones(2, 6))
    assert torch.allclose(attention(stacked), torch.einsum("bsc,bsckji->bckji", weights, stacked), atol=1e-6)
    same = stacked[:, :1].expand_as(stacked)
    assert torch.allclose(attention(same), same[:, 0], atol=1e-5)


def test_the_scales_reach_as_far_as_their_dilation() -> None:
    """A single bright voxel is felt up to 1 + 4 voxels away: kernel 3, then dilation 4."""
    block = MultiScaleAttentionBlock(BlockSize(1, 4, (3, 3, 3), (1, 1, 1)), BlockStyle(3, "none", "gelu", 0.0))
    zero = torch.zeros(1, 1, 17, 17, 17)
    point = zero.clone()
    point[0, 0, 8, 8, 8] = 1.0
    # The attention sees the whole tile and would change everything a little: it is held at what it was.
    weights = block.attention.weights(torch.zeros(1, 3, 4, 1, 1, 1))
    block.attention.weights = lambda stacked: weights  # type: ignore[method-assign]
    changed = (block(point) - block(zero)).abs().amax(1)[0] > 0
    reach = changed.nonzero()
    assert reach.amin(0).tolist() == [3, 3, 3]
    assert reach.amax(0).tolist() == [13, 13, 13]


def test_fusion_hands_on_equal_sources_and_weighs_others() -> None:
    fusion = AttentionFusion(3, 6, 2)
    stacked = noise(2, 2, 6, 4, 5, 3)
    weights = fusion.weights(stacked)
    assert torch.allclose(weights.sum(1), torch.ones(2, 6, 4, 5, 3), atol=1e-6)
    assert (weights - 0.5).abs().max() < 0.1  # even at first
    same = stacked[:, :1].expand_as(stacked)
    assert torch.allclose(fusion(same), same[:, 0], atol=1e-6)
    with torch.no_grad():
        fusion.place.bias.copy_(torch.tensor([50.0, 0.0]))
    assert torch.allclose(fusion(stacked), stacked[:, 0], atol=1e-5)


SMALL = UNetArguments(2, 3, (4, 8, 16), ((1, 1, 1), (1, 2, 2), (2, 2, 2)), kernel_sizes=((1, 3, 3),) + ((3, 3, 3),) * 2)
FLAT = UNetArguments(2, 3, (4, 8), ((1, 1), (2, 2)), spatial_dims=2)
KINDS = {
    "separable": replace(SMALL, block="separable"),
    "multi-scale": replace(SMALL, block="multiscale_attention"),
    "multi-scale, residual": replace(SMALL, block="multiscale_attention", residual=True),
    "dynamic": replace(SMALL, block="dynamic"),
    "fused": replace(SMALL, fusion="attention"),
    "3D + t": replace(SMALL, block="dynamic", in_channels=3, frames=3),
    "3D + t of two inputs": replace(SMALL, block="dynamic", in_channels=6, frames=3, residual=True),
    "2D dynamic": replace(FLAT, block="dynamic"),
    "2D multi-scale": replace(FLAT, block="multiscale_attention"),
    "2D fused": replace(FLAT, fusion="attention", block="separable"),
    "2D + t": replace(FLAT, block="dynamic", in_channels=5, frames=5),
}


def example(arguments: UNetArguments, count: int = 2) -> torch.Tensor:
    size = (6, 12, 20) if arguments.spatial_dims == 3 else (12, 20)
    return noise(count, arguments.in_channels, *size)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_with_deep_supervision_and_predicts(kind: str) -> None:
    torch.manual_seed(0)
    arguments = replace(KINDS[kind], deep_supervision=True)
    network, x = UNet(arguments).train(), example(KINDS[kind])
    outputs = network(x)
    assert [tuple(y.shape[:2]) for y in outputs] == [(2, 3)] * (len(arguments.channels) - 1)
    sum(y.square().sum() for y in outputs).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # What normalisation takes away again: a common score of all voxels of a branch has no gradient.
    assert [name for name in without if not name.endswith(("squeeze.weight", "squeeze.bias"))] == []
    assert network.eval()(x).shape == (2, 3, *x.shape[2:])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_same_logits_alone_and_in_a_batch(kind: str) -> None:
    torch.manual_seed(0)
    network, x = UNet(KINDS[kind]).eval(), example(KINDS[kind])
    with torch.no_grad():
        assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_weights_and_features_for_the_anomaly_check(kind: str) -> None:
    torch.manual_seed(0)
    network, x = UNet(KINDS[kind]).eval(), example(KINDS[kind], 1)
    with torch.no_grad():
        exact = network(x)
        network.load_state_dict({name: t.half().float() for name, t in network.state_dict().items()})
        rounded = network(x)
        assert (exact - rounded).abs().max() < 0.02 * exact.std()
        layers = feature_layers(network, x)
        tap = FeatureTap(network, layers)
        with tap.listening():
            network(x)
    features = tap.take()
    assert features.shape[0] == 1
    assert features.shape[1] >= 3


def test_a_sequence_is_told_in_its_order() -> None:
    torch.manual_seed(0)
    network, x = UNet(KINDS["2D + t"]).eval(), example(KINDS["2D + t"], 1)
    with torch.no_grad():
        assert (network(x) - network(x.flip(1))).abs().max() > 1e-3


def test_defaults_are_the_network_that_they_were() -> None:
    """Names of weights of packages that were written before: they must load for ever."""
    names = set(UNet(replace(SMALL, channels=(4, 8), strides=((1, 1, 1), (2, 2, 2)), kernel_sizes=())).state_dict())
    assert names == {
        *(f"encoder.{s}.blocks.{b}.{n}" for s in (0, 1) for b in (0, 1) for n in ("0.weight", "1.weight", "1.bias")),
        *(f"decoder.0.blocks.{b}.{n}" for b in (0, 1) for n in ("0.weight", "1.weight", "1.bias")),
        "up.0.weight", "up.0.bias", "heads.0.weight", "heads.0.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"frames": 2, "block": "dynamic"}, "odd number"),
        ({"frames": 3, "block": "dynamic"}, "frames is 3 of 2"),
        ({"in_channels": 3, "frames": 3}, "block 'dynamic'"),
        ({"in_channels": 1, "fusion": "attention"}, "two inputs"),
        ({"fusion": "late"}, "early, attention"),
        ({"dynamic_kernels": 0}, "dynamic_kernels"),
    ],
)
def test_what_cannot_be_built_is_said(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(SMALL, **changes)
