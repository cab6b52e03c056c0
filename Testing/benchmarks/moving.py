"""A data set on which only time helps: of several equal discs in noise one moves, and that one is to be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medai.config.model_card import InputSpec, LabelSpec
from medai.dataset.cache import Cache, CacheCard, write_card, write_case
from medai.dataset.fingerprint import case_facts, fingerprint

SIZE = 64
_DISCS = 4
_RADIUS = 5.0
_STEP = 3.0  # voxels from one frame to the next
_NOISE = 0.6


def sequence(seed: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (t, j, i) in time, and the labels (j, i) of the middle one: 1 on the disc that moves."""
    rng = np.random.default_rng(seed)
    j, i = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    centers = _apart(rng)
    angle = rng.uniform(0, 2 * np.pi)
    way = _STEP * np.array([np.sin(angle), np.cos(angle)])
    images = []
    for t in range(-(frames // 2), frames // 2 + 1):
        image = rng.normal(0, _NOISE, (SIZE, SIZE))
        for number, center in enumerate(centers):
            y, x = center + (t * way if number == 0 else 0.0)
            image[(j - y) ** 2 + (i - x) ** 2 < _RADIUS**2] += 1.0
        images.append(image)
    y, x = centers[0]
    return np.stack(images).astype(np.float32), ((j - y) ** 2 + (i - x) ** 2 < _RADIUS**2).astype(np.uint8)


def _apart(rng: np.random.Generator) -> list[np.ndarray]:
    """Centres of the discs, so far apart that the moving one never touches another."""
    found: list[np.ndarray] = []
    while len(found) < _DISCS:
        center = rng.uniform(12, SIZE - 12, 2)
        if all(np.linalg.norm(center - other) > 2 * _RADIUS + 2 * _STEP + 1 for other in found):
            found.append(center)
    return found


def write(root: Path, cases: int, frames: int) -> Cache:
    """A prepared cache of `cases` sequences; with one frame only the middle one of three is kept."""
    facts, made = [], []
    for number in range(cases):
        images, labels = sequence(number, max(frames, 3))
        if frames == 1:
            images = images[1:2]
        image, name = images[:, None], f"case{number:03d}"
        facts.append(case_facts(name, image, (1.0, 1.0, 1.0), labels[None], (1,)))
        made.append(write_case(root, name, image, labels[None], 1))
    around = frames // 2
    names = ["cine t" + (f"{t:+d}" if t else "") for t in range(-around, around + 1)]
    card = CacheCard(
        name="moving discs",
        labels=(LabelSpec(1, "moving", (1.0, 0.0, 0.0)),),
        inputs=tuple(InputSpec(name, "MR") for name in names),
        spacing_mm=(1.0, 1.0, 1.0),
        crop="none",
        planar=True,
        fingerprint=fingerprint(facts),
        cases=tuple(made),
    )
    write_card(root, card)
    return Cache(root, card)
