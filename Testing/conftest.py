"""Fixtures of all tests: seeded phantoms with odd, anisotropic, oblique geometry, and the real data where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medai.image import Image
from medai.labels import Code, Label, LabelScheme, Terminology

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real, labelled images beside the checkout; the test is skipped where there is none."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real images are not beside this checkout (shared/data)")
    return folder


def oblique_matrix(
    spacing_ijk: tuple[float, float, float] = (0.7, 1.1, 2.3),
    angles: tuple[float, float, float] = (0.3, -0.2, 0.5),
    origin: tuple[float, float, float] = (-31.4, 27.1, 8.3),
    left_handed: bool = False,
) -> np.ndarray:
    """ijk_to_ras of a rotated, anisotropic grid (mm); left-handed where asked."""
    x, y, z = angles
    rotation = (
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        @ np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        @ np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(spacing_ijk)
    if left_handed:
        matrix[:3, 0] *= -1
    matrix[:3, 3] = origin
    return matrix


@pytest.fixture
def oblique_image() -> Image:
    """A noisy image of 13 x 17 x 23 voxels (k, j, i) on an oblique, anisotropic grid, int16."""
    generator = np.random.default_rng(7)
    array = generator.normal(100, 20, (1, 13, 17, 23)).astype(np.int16)
    return Image(array, oblique_matrix(), name="oblique", modality="MR")


@pytest.fixture
def two_labels() -> LabelScheme:
    """Values 1 and 2 with names, colours and SNOMED codes."""
    tissue = Code("SCT", "123037004", "Anatomical Structure")
    return LabelScheme(
        (
            Label(1, "liver", (0.87, 0.51, 0.4), Terminology(tissue, Code("SCT", "10200004", "Liver"))),
            Label(2, "spleen", (0.62, 0.42, 0.34), Terminology(tissue, Code("SCT", "78961009", "Spleen"))),
        )
    )


@pytest.fixture
def sphere_label_map() -> Image:
    """Two balls (values 1, 2) of known centre and radius on an oblique, anisotropic grid, uint8, shape 21, 33, 47."""
    matrix = oblique_matrix((0.9, 1.3, 2.1))
    k, j, i = np.meshgrid(np.arange(21), np.arange(33), np.arange(47), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ matrix.T
    labels = np.zeros((21, 33, 47), np.uint8)
    for value, ijk in ((1, (14, 15, 10)), (2, (34, 17, 10))):
        center = matrix @ np.array([*ijk, 1.0])
        labels[np.linalg.norm(ras[..., :3] - center[:3], axis=-1) <= 9.0] = value
    return Image(labels[None], matrix, name="balls")
