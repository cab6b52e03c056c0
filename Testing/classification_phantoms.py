"""Phantoms that small classifiers, fitted in seconds, tell apart: bright or dark balls, and masks of balls or rods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conftest import oblique_matrix

from medai.image import Image
from medai.labels import Label, LabelScheme

BALL_CLASSES = ("bright", "dark")
SHAPE_CLASSES = ("ball", "rod")
SPACING_IJK = (1.3, 1.1, 1.9)


def ball_image(
    seed: int, bright: bool | None = None, shape: tuple[int, int, int] = (20, 31, 28), left_handed: bool = False
) -> tuple[Image, np.ndarray]:
    """An oblique noisy image with one ball, bright or dark (by the seed where None), and the ball's mask (k, j, i)."""
    generator = np.random.default_rng(seed)
    bright = seed % 2 == 0 if bright is None else bright
    image = Image(
        generator.normal(100.0, 10.0, (1, *shape)).astype(np.float32),
        oblique_matrix(SPACING_IJK, left_handed=left_handed),
        name=f"ball {seed}",
        modality="MR",
    )
    center = generator.uniform(0.35, 0.65, 3) * shape
    mask = ball_mask(shape, center, radius_mm=6.5)
    image.array[0][mask] += 60.0 if bright else -60.0
    return image, mask


def ball_mask(shape: tuple[int, int, int], center_kji: Any, radius_mm: float) -> np.ndarray:
    """A ball on a grid of `SPACING_IJK`."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm((index - np.asarray(center_kji)) * SPACING_IJK[::-1], axis=-1) <= radius_mm


def shapes(count: int, seed: int = 0, shape: tuple[int, int, int] = (30, 60, 64)) -> tuple[Image, LabelScheme]:
    """A label map (1, k, j, i) with balls (odd values) and rods (even values) on a lattice, and its scheme."""
    generator = np.random.default_rng(seed)
    side = int(np.ceil(count ** (1 / 3)))
    cell = np.array(shape) // side
    labels = np.zeros(shape, np.uint8)
    for value in range(1, count + 1):
        place = np.array(np.unravel_index(value - 1, (side, side, side))) * cell
        box = tuple(slice(p, p + c - 1) for p, c in zip(place, cell, strict=True))
        center = (cell - 1) / 2 + generator.uniform(-0.4, 0.4, 3)
        index = np.moveaxis(np.indices(labels[box].shape), 0, -1) + 0.5
        offset = (index - center) / (cell / 2)
        if value % 2:
            inside = np.linalg.norm(offset, axis=-1) < 0.8
        else:
            inside = (np.abs(offset[..., 0]) < 0.3) & (np.abs(offset[..., 1]) < 0.3) & (np.abs(offset[..., 2]) < 0.85)
        labels[box][inside] = value
    named = (Label(v, f"{'ball' if v % 2 else 'rod'} {v}", (0.5, 0.5, v / 256)) for v in range(1, count + 1))
    return Image(labels[None], oblique_matrix(SPACING_IJK), name="shapes"), LabelScheme(tuple(named))


def write_ball_model(path: Path, anomaly: bool = True, **changes: Any) -> Path:
    """A package that tells bright balls from dark ones; it knows how its training data look."""
    from medai.config.model_card import InputSpec, Normalization

    spec = InputSpec("T1", "MR", Normalization("ct_window", mean=100.0, std=30.0, low=0.0, high=200.0))
    card = _card("balls", "Bright and dark balls", BALL_CLASSES, (spec,), **changes)
    images = [ball_image(seed)[0] for seed in range(24)]
    return _write(path, card, images, [seed % 2 for seed in range(24)], anomaly)


def write_shape_model(path: Path, **changes: Any) -> Path:
    """A package that looks at masks alone and tells balls from rods."""
    from medai.config.model_card import FramingSpec, InputSpec, Normalization

    spec = InputSpec("mask", "SEG", Normalization("none"))
    changes = {"framing": FramingSpec("resize", margin=0.2), **changes}
    card = _card("shapes", "Balls and rods", SHAPE_CLASSES, (spec,), **changes)
    images, classes = [], []
    for seed, count in enumerate((8, 12, 100)):
        labels, scheme = shapes(count, seed)
        for label in list(scheme)[:20]:
            images.append(labels.with_array((labels.array == label.value).astype(np.uint8)))
            classes.append((label.value + 1) % 2)
    return _write(path, card, images, classes, anomaly=False)


def _card(model_id: str, title: str, classes: tuple[str, ...], inputs: tuple[Any, ...], **changes: Any) -> Any:
    from medai.config.model_card import ClassSpec, ModelCard, NetworkSpec
    from medai.models import UNWRITTEN_WEIGHTS

    arguments = {"classes": 2, "dims": 3, "in_channels": 1, "widths": [4, 8], "grid": 1}
    values: dict[str, Any] = {
        "format": 1,
        "id": model_id,
        "version": "1.0.0",
        "title": title,
        "description": "A phantom for tests.",
        "task": "classify",
        "network": NetworkSpec("seed_cnn_any", arguments),
        "weights": UNWRITTEN_WEIGHTS,
        "inputs": inputs,
        "licence": "Apache-2.0",
        "spacing_mm": (2.5, 2.5, 2.5),
        "patch": (14, 14, 14),
        "classes": tuple(ClassSpec(name) for name in classes),
        "citation": ("A phantom.",),
    }
    return ModelCard(**{**values, **changes})


def _write(path: Path, card: Any, images: list[Image], classes: list[int], anomaly: bool) -> Path:
    import torch

    from medai.inference.anomaly import FeatureDistance, FeatureTap, anomaly_spec
    from medai.models import write_package
    from medai.networks import build_network
    from medai.preprocessing.framing import Framing

    framing = Framing.from_card(card)
    x = torch.from_numpy(np.stack([framing.apply(image, structure=card.id == "shapes")[0].array for image in images]))
    network = _fitted(lambda: build_network(card.network.name, card.network.arguments), x, torch.tensor(classes))
    files = {}
    if anomaly:
        layers = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv3d)][-1:]
        tap = FeatureTap(network, layers)
        with tap.listening(), torch.no_grad():
            network(x)
        features = tap.take()
        half = len(features) // 2
        distance = FeatureDistance.fit(features[:half], layers).calibrated(features[half:], 100.0)
        distance = FeatureDistance(distance.mean, distance.covariance, distance.layers, 1.5 * distance.threshold)
        data = distance.to_bytes()
        spec = anomaly_spec(distance, data)
        files[spec.file] = data
        card = type(card)(**{**vars(card), "anomaly": spec})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_package(path, card, [network.state_dict()], dtype="float32", files=files)
    return path


def _fitted(build: Callable[[], Any], x: Any, y: Any) -> Any:
    import torch

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads gain nothing on arrays this small
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        assert float((network(x).argmax(1) == y).float().mean()) == 1.0
    torch.set_num_threads(threads)
    return network
