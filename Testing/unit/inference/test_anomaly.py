"""The feature distance: known Gaussians, few samples, and what a package keeps of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medai.errors import DatasetError, ModelError
from medai.inference.anomaly import FeatureDistance, FeatureTap, feature_layers, shrunk_covariance
from medai.inference.tile_features import tile_features, tile_layers
from medai.networks import build_network


def gaussian(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)) @ np.diag([1, 2, 0.1, 5, 1, 0.5]) + [3, 0, 1, -2, 8, 0]


def test_scores_are_mahalanobis_distances() -> None:
    data = gaussian(5000)
    fitted = FeatureDistance.fit(data)
    difference = data[:4] - data.mean(axis=0)
    expected = np.sqrt(np.einsum("na,ab,nb->n", difference, np.linalg.inv(np.cov(data.T)), difference) / 6)
    np.testing.assert_allclose(fitted.scores(data[:4]), expected, rtol=0.02)
    assert fitted.scores(data).mean() == pytest.approx(1.0, abs=0.1)


def test_the_threshold_is_a_percentile_of_other_cases() -> None:
    fitted = FeatureDistance.fit(gaussian(2000)).calibrated(gaussian(2000, seed=1), 99.0)
    flagged = fitted.scores(gaussian(4000, seed=2)) > fitted.threshold
    assert flagged.mean() == pytest.approx(0.01, abs=0.01)
    assert fitted.judge(float(fitted.scores(gaussian(1, 3) + 30)[0])).flag


def test_fewer_cases_than_features_and_constant_features() -> None:
    data = np.random.default_rng(4).normal(size=(12, 40))
    data[:, 7] = 3.0
    fitted = FeatureDistance.fit(data)
    assert np.isfinite(fitted.scores(data + 1)).all()
    with pytest.raises(DatasetError, match="too few"):
        FeatureDistance.fit(data[:2])


def test_shrinking_goes_to_the_sample_with_many_cases() -> None:
    z = np.random.default_rng(5).normal(size=(20000, 3)) @ np.array([[1, 0.8, 0], [0, 0.6, 0], [0, 0, 1]])
    np.testing.assert_allclose(shrunk_covariance(z), z.T @ z / len(z), atol=0.02)


def test_a_package_keeps_mean_and_covariance_only() -> None:
    from safetensors.numpy import load

    tensors = load(FeatureDistance.fit(gaussian(100), ("a", "b")).to_bytes())
    assert {name: tensor.shape for name, tensor in tensors.items()} == {"mean": (6,), "covariance": (6, 6)}


def test_layers_are_spread_and_tapped() -> None:
    network = build_network("seed_cnn_any", {"classes": 2, "widths": [4, 6]}).eval()
    x = torch.rand(3, 1, 16, 16)
    layers = feature_layers(network, x)
    assert layers[0] == "features.0"
    assert layers[-1] == "features.10"
    tap = FeatureTap(network, layers)
    with torch.no_grad(), tap.listening():
        network(x)
    features = tap.take()
    assert features.shape == (3, 4 + 4 + 6 + 6)
    expected = torch.nn.functional.conv2d(x, network.features[0].weight, network.features[0].bias, padding=1)
    np.testing.assert_allclose(features[:, :4], expected.mean((2, 3)).detach(), rtol=1e-4)
    with pytest.raises(ModelError, match="no layer 'nowhere'"):
        FeatureTap(network, ["nowhere"])


def test_tiles_of_a_volume_give_one_row_and_tell_another_texture() -> None:
    torch.manual_seed(0)
    arguments = {
        "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]],
        "kernel_sizes": [[3, 3, 3]] * 2, "blocks_per_stage": [1, 1],
    }  # fmt: skip
    network = build_network("unet", arguments).eval()
    patch, device = (8, 8, 8), torch.device("cpu")
    layers = tile_layers(network, 1, patch, device)
    rng = np.random.default_rng(6)

    def smooth(seed: int, shape: tuple[int, int, int] = (11, 17, 9)) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(np.random.default_rng(seed).normal(size=(1, *shape)), (0, 2, 2, 2)).astype(np.float32)

    usual = np.concatenate([tile_features(network, smooth(n), patch, layers, device) for n in range(40)])
    fitted = FeatureDistance.fit(usual[:30], layers).calibrated(usual[30:])
    noise = tile_features(network, rng.normal(size=(1, 11, 17, 9)).astype(np.float32), patch, layers, device)
    assert usual.shape[0] == 40
    assert fitted.judge(float(fitted.scores(noise)[0])).flag
    small = tile_features(network, smooth(99, (5, 6, 7)), patch, layers, device)  # smaller than the patch
    assert np.isfinite(fitted.scores(small)).all()
