"""Shapes and parameter counts of the classifiers; counts of the seed CNN worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medai.errors import ConfigError
from medai.networks import available, build_network, size_divisor
from medai.networks.shape_net import MEASURES, shape_measures


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_seed_cnn_has_the_article_s_layers_and_parameters() -> None:
    network = build_network("seed_cnn", {})
    # Each convolution: outputs * (inputs * 9 + 1); each batch normalisation: two numbers per channel.
    convolutions = 64 * (1 * 9 + 1) + 64 * (64 * 9 + 1) + 128 * (64 * 9 + 1) + 128 * (128 * 9 + 1)
    normalisations = 2 * (64 + 64 + 128 + 128)
    fully_connected = 2 * (128 * 6 * 6) + 2
    assert parameters(network) == convolutions + normalisations + fully_connected == 259_008 + 768 + 9_218
    kinds = [type(layer).__name__ for layer in network.features]
    unit = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == [*unit, *unit, "MaxPool2d", *unit, *unit, "MaxPool2d"]
    assert network.eval()(torch.zeros(3, 1, 24, 24)).shape == (3, 2)


def test_seed_cnn_refuses_another_size_and_dimension() -> None:
    with pytest.raises(ConfigError, match=r"\(1, 28, 28\)"):
        build_network("seed_cnn", {})(torch.zeros(1, 1, 28, 28))
    with pytest.raises(ConfigError, match="seed_cnn_any"):
        build_network("seed_cnn", {"dims": 3})


def test_the_generalised_cnn_computes_what_the_seed_cnn_does() -> None:
    seed, general = build_network("seed_cnn", {}).eval(), build_network("seed_cnn_any", {"classes": 2}).eval()
    general.load_state_dict(seed.state_dict())
    x = torch.randn(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(general(x), seed(x))


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("seed_cnn_any", {"dims": 2, "in_channels": 3}, (2, 3, 29, 41)),
        ("seed_cnn_any", {"dims": 3, "widths": [4, 8], "grid": 2}, (2, 1, 13, 17, 19)),
        ("structure_cnn", {"dims": 3, "in_channels": 2, "widths": [4, 8]}, (2, 2, 9, 13, 11)),
        ("structure_cnn", {"dims": 2, "in_channels": 3, "widths": [4, 8]}, (2, 3, 13, 11)),
        ("shape_net", {}, (2, 1, 26, 31, 28)),
        ("shape_net", {"widths": []}, (1, 1, 12, 13, 14)),
        ("resnet", {"dims": 2, "small": True, "widths": [4, 8, 8, 8], "blocks": [1, 1, 1, 1]}, (2, 1, 28, 28)),
        ("resnet", {"dims": 3, "widths": [4, 8, 8, 8], "blocks": [1, 1, 1, 1]}, (2, 2, 32, 33, 35)),
        ("densenet", {"dims": 2, "init_features": 8, "growth_rate": 4, "blocks": [2, 2]}, (2, 1, 33, 40)),
        ("densenet", {"dims": 3, "init_features": 8, "growth_rate": 4, "blocks": [2, 2]}, (2, 1, 16, 17, 18)),
        ("seresnet", {"dims": 2, "blocks": [1, 1, 1, 1]}, (2, 1, 64, 64)),
        ("seresnet", {"dims": 3, "blocks": [1, 1, 1, 1]}, (1, 1, 32, 32, 32)),
        ("efficientnet", {"dims": 2}, (2, 1, 64, 64)),
        ("efficientnet", {"dims": 3}, (1, 1, 32, 32, 32)),
    ],
)
def test_logits_of_every_classifier(name: str, arguments: dict, shape: tuple[int, ...]) -> None:
    arguments = {"classes": 3, "in_channels": shape[1], **arguments}
    network = build_network(name, arguments).eval()
    with torch.no_grad():
        logits = network(torch.rand(shape, generator=torch.Generator().manual_seed(1)))
    assert logits.shape == (shape[0], 3)
    assert logits.isfinite().all()
    assert len(size_divisor(name, arguments)) == len(shape) - 2


def test_every_classifier_refuses_one_class_and_four_dimensions() -> None:
    for name in available("classify"):
        with pytest.raises(ConfigError, match="classes"):
            build_network(name, {"classes": 1})
        with pytest.raises(ConfigError, match=r"dims|4D"):
            build_network(name, {"classes": 2, "dims": 4, "in_channels": 2})
    assert "unet" not in available("classify")
    assert "seed_cnn" not in available("segment")


def test_structure_cnn_looks_at_the_mask() -> None:
    network = build_network("structure_cnn", {"classes": 2, "dims": 2, "widths": [4, 8]}).eval()
    x = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(2))
    x[:, 1] = 0
    elsewhere = x.clone()
    x[:, 1, 2:6, 2:6] = 1
    elsewhere[:, 1, 9:14, 9:14] = 1
    assert not torch.allclose(network(x), network(elsewhere))


def test_measures_of_a_box() -> None:
    x = torch.zeros(1, 1, 20, 22, 24)
    x[0, 0, 4:10, 3:11, 5:15] = 1  # 6 x 8 x 10
    measures = shape_measures(x)[0].double().numpy()
    assert len(measures) == MEASURES
    volume, surface = 6 * 8 * 10, 2 * (6 * 8 + 6 * 10 + 8 * 10)
    np.testing.assert_allclose(measures[:3], [np.log(volume), np.log(surface), volume / surface], rtol=1e-5)
    half_axes = np.log(np.sqrt([(n * n - 1) / 12 for n in (6, 8, 10)]))
    np.testing.assert_allclose(measures[4:7], half_axes, rtol=1e-4)
    eroded = np.array([4 * 6 * 8, 2 * 4 * 6, 0, 0, 0, 0]) / volume
    np.testing.assert_allclose(measures[10:16], eroded, rtol=1e-5)
    np.testing.assert_allclose(measures[22:26], 1.0, rtol=1e-6)  # cubes of 2 to 5 fit in everywhere
    np.testing.assert_allclose(np.exp(measures[26:]), [48, 60, 80], rtol=1e-5)


def test_measures_do_not_depend_on_place_or_mirroring() -> None:
    rng = np.random.default_rng(3)
    x = torch.zeros(1, 1, 18, 19, 20)
    x[0, 0, 3:11, 4:12, 5:13] = torch.from_numpy((rng.random((8, 8, 8)) < 0.8).astype(np.float32))
    moved = torch.roll(x, (2, 3, 4), (2, 3, 4)).flip(2, 4)
    torch.testing.assert_close(shape_measures(x), shape_measures(moved), rtol=1e-3, atol=1e-3)


def test_an_empty_mask_has_finite_measures() -> None:
    assert shape_measures(torch.zeros(2, 1, 8, 9, 10)).isfinite().all()
