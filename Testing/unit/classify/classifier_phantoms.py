"""Small classifiers and data with a known answer: bright inputs are of class "bright", dark ones "dark"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from medai.config.model_card import (
    Calibration,
    ClassSpec,
    FramingSpec,
    InputSpec,
    ModelCard,
    NetworkSpec,
    Normalization,
)
from medai.inference.anomaly import FILE_NAME, FeatureDistance, anomaly_spec, feature_layers
from medai.inference.classification import pooled_features
from medai.models import UNWRITTEN_WEIGHTS, ModelPackage, open_model, write_package
from medai.networks import build_network

IMAGE = InputSpec("image", "", Normalization("none"))
MASK = InputSpec("structure", "SEG", Normalization("none"))


def card(
    patch: tuple[int, int, int] = (8, 8, 8),
    inputs: tuple[InputSpec, ...] = (IMAGE,),
    calibration: Calibration | None = None,
    network: str = "seed_cnn_any",
    method: str = "resize",
) -> ModelCard:
    dims = 2 if patch[0] == 1 else 3
    arguments = {"classes": 2, "dims": dims, "in_channels": len(inputs), "widths": [4, 4]}
    if network == "seed_cnn_any":
        arguments["grid"] = 2
    return ModelCard(
        1, "phantom", "1", "Phantom", "classify", NetworkSpec(network, arguments), UNWRITTEN_WEIGHTS, inputs, "CC0-1.0",
        (1.0, 1.0, 1.0), patch, classes=(ClassSpec("dark"), ClassSpec("bright")), calibration=calibration,
        framing=FramingSpec(method, 0.25),  # type: ignore[arg-type]
    )  # fmt: skip


def brightness_weights(model: ModelCard, factor: float = 1.0) -> dict[str, torch.Tensor]:
    """Weights with which the two logits are 0 and `factor` times the pooled mean of positive inputs (about)."""
    network = build_network(model.network.name, model.network.arguments).eval()
    state = network.state_dict()
    convolutions = [name for name, value in state.items() if name.endswith("weight") and value.ndim >= 4]
    for number, name in enumerate(convolutions):
        state[name].zero_()
        center = (slice(None), slice(None), *(1 for _ in state[name].shape[2:]))
        inputs = 1 if number == 0 else state[name].shape[1]
        state[name][(slice(None), slice(0, inputs), *center[2:])] = 1.0 / inputs
    for name, value in state.items():
        if name.startswith("features") and name.endswith("bias"):
            value.zero_()
    state["fc.weight"].zero_()
    state["fc.weight"][1] = factor / state["fc.weight"].shape[1]
    state["fc.bias"].zero_()
    return state


def write(
    folder: Path,
    model: ModelCard,
    weights: list[dict[str, torch.Tensor]] | None = None,
    usual: np.ndarray | None = None,
) -> ModelPackage:
    """The model as a package; `usual` (n, c, k, j, i): inputs whose features are stored for the anomaly score."""
    states = weights or [brightness_weights(model)]
    files = {}
    if usual is not None:
        network = build_network(model.network.name, model.network.arguments)
        network.load_state_dict(states[0])
        network.eval()
        x = torch.from_numpy(usual.astype(np.float32))
        x = x.squeeze(2) if model.patch[0] == 1 else x
        layers = feature_layers(network, x[:1])
        features = pooled_features(network, layers, x)
        half = len(features) // 2
        distance = FeatureDistance.fit(features[:half], layers).calibrated(features[half:])
        files[FILE_NAME] = distance.to_bytes()
        model = replace(model, anomaly=anomaly_spec(distance, files[FILE_NAME]))
    path = folder / "phantom.medai"
    write_package(path, model, states, dtype="float32", files=files)
    return open_model(path)
