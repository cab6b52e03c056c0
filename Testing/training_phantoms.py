"""Small labelled data sets to train on: noisy balls on anisotropic grids, made with a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medai.config.model_card import InputSpec, LabelSpec
from medai.dataset.cache import Cache, CacheCard, write_card, write_case
from medai.dataset.fingerprint import case_facts, fingerprint
from medai.image import Image
from medai.imageio import write_image

MATRIX = np.diag([1.2, 1.0, 1.1, 1.0])  # i, j, k in mm: R, A, S


def ball(seed: int, shape: tuple[int, int, int] = (18, 20, 22)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image (k, j, i) with a bright ball, whose upper half is label 2 and whose lower half is label 1."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    center = np.array(shape) / 2 + rng.uniform(-2, 2, 3)
    radius = 5.5 if shape[0] > 1 else 6.5
    center[0] = center[0] if shape[0] > 1 else 0
    distance = np.sqrt((k - center[0]) ** 2 + (j - center[1]) ** 2 + (i - center[2]) ** 2)
    labels = np.where(distance < radius, np.where(j > center[1], 2, 1), 0).astype(np.uint8)
    image = rng.normal(100, 8, shape) + 70 * (labels > 0) + 3 * (j - center[1])
    return image.astype(np.float32), labels


def write_dataset(root: Path, count: int = 6, shape: tuple[int, int, int] = (18, 20, 22)) -> Path:
    """images/ and labels/ of `count` balls; returns `root`."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        image, labels = ball(number, shape)
        write_image(root / "images" / f"case{number}.nii.gz", Image(image[None], MATRIX))
        write_image(root / "labels" / f"case{number}.nii.gz", Image(labels[None], MATRIX))
    return root


def write_cache(root: Path, count: int = 4, shape: tuple[int, int, int] = (18, 20, 22)) -> Cache:
    """A prepared cache of `count` balls, normalised, without going through files of images."""
    facts, cases = [], []
    for number in range(count):
        image, labels = ball(number, shape)
        facts.append(case_facts(f"case{number}", image[None], (1.1, 1.0, 1.2), labels, (1, 2)))
        cases.append(write_case(root, f"case{number}", (image[None] - image.mean()) / image.std(), labels, 2))
    card = CacheCard(
        name="balls",
        labels=(LabelSpec(1, "lower", (1.0, 0.0, 0.0)), LabelSpec(2, "upper", (0.0, 1.0, 0.0))),
        inputs=(InputSpec("image", "MR"),),
        spacing_mm=(1.1, 1.0, 1.2),
        crop="none",
        planar=shape[0] == 1,
        fingerprint=fingerprint(facts),
        cases=tuple(cases),
    )
    write_card(root, card)
    return Cache(root, card)
