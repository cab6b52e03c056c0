"""A segmentation model that stores features of its training data says when an image is unlike them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from medai import segment
from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec
from medai.config.segment import SegmentConfig
from medai.image import Image
from medai.inference.anomaly import FILE_NAME, FeatureDistance, anomaly_spec
from medai.inference.tile_features import tile_features, tile_layers
from medai.models import UNWRITTEN_WEIGHTS, ModelPackage, open_model, write_package
from medai.networks import build_network

PATCH = (8, 8, 8)
ARGUMENTS = {
    "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]],
    "kernel_sizes": [[3, 3, 3]] * 2, "blocks_per_stage": [1, 1],
}  # fmt: skip


def smooth(seed: int) -> np.ndarray:
    array = gaussian_filter(np.random.default_rng(seed).normal(size=(1, 12, 14, 16)), (0, 2, 2, 2))
    return ((array - array.mean()) / array.std()).astype(np.float32)


def package(folder: Path, with_features: bool) -> ModelPackage:
    torch.manual_seed(0)
    network = build_network("unet", ARGUMENTS).eval()
    card = ModelCard(
        1, "smooth", "1", "Smooth", "segment", NetworkSpec("unet", ARGUMENTS), UNWRITTEN_WEIGHTS, (InputSpec("x"),),
        "CC0-1.0", (1.0, 1.0, 1.0), PATCH, labels=(LabelSpec(1, "a", (1.0, 0.0, 0.0)),),
    )  # fmt: skip
    files = {}
    if with_features:
        device = torch.device("cpu")
        layers = tile_layers(network, 1, PATCH, device)
        rows = np.concatenate([tile_features(network, smooth(n), PATCH, layers, device) for n in range(40)])
        distance = FeatureDistance.fit(rows[:30], layers).calibrated(rows[30:])
        files[FILE_NAME] = distance.to_bytes()
        card = replace(card, anomaly=anomaly_spec(distance, files[FILE_NAME]))
    path = folder / f"smooth-{with_features}.medai"
    write_package(path, card, [network.state_dict()], dtype="float32", files=files)
    return open_model(path)


def run(model: segment.LoadedModel, array: np.ndarray) -> segment.SegmentResult:
    return segment.run(SegmentConfig("cpu"), [Image(array, np.eye(4), "x")], model)


def test_the_result_tells_how_unusual_the_image_is(tmp_path: Path) -> None:
    model = segment.load_model(package(tmp_path, True), "cpu")
    usual = run(model, smooth(77))
    strange = run(model, np.random.default_rng(1).normal(size=(1, 12, 14, 16)).astype(np.float32))
    assert usual.anomaly is not None
    assert strange.anomaly is not None
    assert strange.anomaly.flag
    assert strange.anomaly.score > usual.anomaly.score
    assert any("unlike those that model 'smooth'" in text for text in strange.warnings)


def test_a_model_without_features_cannot_tell(tmp_path: Path) -> None:
    model = segment.load_model(package(tmp_path, False), "cpu")
    assert run(model, smooth(5)).anomaly is None
