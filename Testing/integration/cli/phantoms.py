"""The phantom that the small model of these tests segments, and that model's card."""

from __future__ import annotations

from typing import Any

import numpy as np
from conftest import oblique_matrix

from medai.image import Image
from medai.labels import Code, Terminology

BALLS = ((1, "bright ball", 400.0), (2, "dim ball", 20.0))
ARGUMENTS = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [[1, 1, 1], [2, 2, 2]],
    "blocks_per_stage": [1, 1],
    "normalization": "none",
}


def phantom(
    seed: int = 0, shape: tuple[int, int, int] = (22, 34, 40), left_handed: bool = False, radius_mm: float = 7.5
) -> tuple[Image, np.ndarray]:
    """Two balls on a noisy background, on an oblique, anisotropic grid: image (float32) and labels (k, j, i)."""
    matrix = oblique_matrix((1.0, 1.2, 1.6), left_handed=left_handed)
    generator = np.random.default_rng(seed)
    array = generator.normal(200.0, 10.0, shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ matrix.T
    for (value, _, level), part in zip(BALLS, (0.3, 0.7), strict=True):
        center = matrix @ np.array([part * shape[2], 0.5 * shape[1], 0.5 * shape[0], 1.0])
        inside = np.linalg.norm(ras[..., :3] - center[:3], axis=-1) <= radius_mm
        labels[inside], array[inside] = value, level + generator.normal(0.0, 10.0, int(inside.sum()))
    return Image(array[None], matrix, name="balls", modality="MR"), labels


def make_card(**changes: Any) -> Any:
    """The card of the small model."""
    from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec, Normalization
    from medai.models import UNWRITTEN_WEIGHTS

    terms = Terminology(Code("SCT", "123037004", "Anatomical Structure"), Code("SCT", "10200004", "Liver"))
    colors = ((0.9, 0.3, 0.2), (0.2, 0.5, 0.9))
    values: dict[str, Any] = {
        "format": 1,
        "id": "balls",
        "version": "1.0.0",
        "title": "Balls in a phantom",
        "task": "segment",
        "network": NetworkSpec("unet", ARGUMENTS),
        "weights": UNWRITTEN_WEIGHTS,
        "inputs": (InputSpec("T1", "MR", Normalization("ct_window", mean=200.0, std=100.0, low=0.0, high=500.0)),),
        "licence": "Apache-2.0",
        "spacing_mm": (1.3, 1.3, 1.3),
        "patch": (24, 32, 32),
        "labels": tuple(LabelSpec(v, n, c, terms) for (v, n, _), c in zip(BALLS, colors, strict=True)),
        "citation": ("A phantom.",),
    }
    return ModelCard(**{**values, **changes})


def fit() -> dict[str, Any]:
    """Weights of a small U-Net after a short fit on seeded phantoms; it finds the balls, a random one does not."""
    import torch

    from medai.networks import build_network

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads gain nothing on arrays this small
    network = build_network("unet", ARGUMENTS)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    cases = [phantom(seed, (16, 20, 28), radius_mm=5.0) for seed in range(3)]
    weight = torch.tensor([1.0, 3.0, 3.0])
    for step in range(40):
        image, labels = cases[step % len(cases)]
        x = torch.from_numpy((image.array.clip(0, 500) - 200) / 100)[None]  # as the card's ct_window
        y = torch.from_numpy(labels.astype(np.int64))[None]
        loss = torch.nn.functional.cross_entropy(network(x), y, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    torch.set_num_threads(threads)
    return dict(network.state_dict())
