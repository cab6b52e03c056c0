"""The demo's geometry: aligned crops out of a head, labels back onto its voxels, left and right told apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import oblique_matrix

from medai.config.segment import SegmentConfig
from medai.demo import hippocampi
from medai.demo.locate import center_mni, identity_match, outside, problems_of
from medai.errors import InputError
from medai.image import Image
from medai.labels import Label, LabelScheme
from medai.registration import AffineMatch

SCHEME = LabelScheme((Label(1, "Anterior part", (0.9, 0.8, 0.2)), Label(2, "Posterior part", (0.3, 0.7, 0.9))))


def brain(matrix: np.ndarray, shape: tuple[int, int, int], match: AffineMatch) -> tuple[Image, np.ndarray]:
    """An image whose value is 1 in the front and 2 in the back half of a ball at each hippocampus, and its labels."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.tensordot(matrix[:3, :3], np.stack([i, j, k]), axes=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    truth = np.zeros(shape, np.uint8)
    for number, side in enumerate(("left", "right")):
        center = match.map_point(center_mni(side))
        offset = ras - center.reshape(3, 1, 1, 1)
        front = np.tensordot(match.rotation[:, 1], offset, axes=1)
        inside = np.linalg.norm(offset, axis=0) <= 10.0
        truth[inside & (front > 0)], truth[inside & (front <= 0)] = 1 + 2 * number, 2 + 2 * number
    value = np.where(truth > 0, 2 - truth % 2, 0)
    return Image(value.astype(np.float32)[None], matrix, name="head"), truth


@pytest.fixture
def rounding_model(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """A "model" that takes the image's rounded values as labels; the crops that it saw are listed."""
    seen: list[Image] = []

    def run(config: SegmentConfig, images: list[Image], model: Any, progress: Any, cancelled: Any) -> Any:
        seen.append(images[0])
        # Interpolation between 0 and 2 passes through 1: take a value only where it is near.
        array = images[0].array
        labels = np.where(array > 1.5, 2, np.where(array > 0.5, 1, 0)).astype(np.uint8)
        return SimpleNamespace(
            label_map=images[0].with_array(labels), seconds={"inference": 1.0}, engine="rounding", warnings=("w",)
        )

    monkeypatch.setattr("medai.segment.run", run)
    return seen


MODEL: Any = SimpleNamespace(card=SimpleNamespace(label_scheme=lambda: SCHEME))


def test_aligned_image_comes_back_voxel_for_voxel(rounding_model: list[Image]) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (-60, -70, -50)
    image, truth = brain(matrix, (80, 100, 121), identity_match())
    found = hippocampi.segment_hippocampi(image, identity_match(), MODEL, SegmentConfig())
    assert np.array_equal(found.label_map.channel(0), truth)
    assert found.scheme.names == (
        "Left anterior part",
        "Left posterior part",
        "Right anterior part",
        "Right posterior part",
    )
    assert [label.terminology.type_modifier.value for label in found.scheme if label.terminology] == [
        "7771000",
        "7771000",
        "24028007",
        "24028007",
    ]
    assert found.seconds == {"inference": 4.0}
    assert found.warnings == ("w",)
    left, right = rounding_model[1], rounding_model[3]
    assert np.array_equal(left.array, right.array[..., ::1]) or left.array.shape == right.array.shape
    assert max(left.shape) <= 21 + 2 * 6 + 2  # the second look is as narrow as the training crops


def test_rotated_head_in_an_oblique_anisotropic_left_handed_scan(rounding_model: list[Image]) -> None:
    pose = oblique_matrix((0.9, 0.9, 0.9), (0.4, -0.3, 0.5), (10.0, 20.0, -5.0))
    match = AffineMatch(pose, 0.8, 1.0)
    matrix = oblique_matrix((0.8, 1.1, 2.5), (-0.3, 0.2, 0.1), (0.0, 0.0, 0.0), left_handed=True)
    shape = (56, 120, 150)
    middle = match.map_point((0.0, -22.0, -11.0))
    matrix[:3, 3] = middle - matrix[:3, :3] @ (np.array(shape[::-1]) / 2)
    image, truth = brain(matrix, shape, match)
    assert not outside(match, image)
    found = hippocampi.segment_hippocampi(image, match, MODEL, SegmentConfig()).label_map
    assert found.same_grid(image)
    for value in (1, 2, 3, 4):
        a, b = found.channel(0) == value, truth == value
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85, value


def test_nothing_found_is_an_error(rounding_model: list[Image]) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (-60, -70, -50)
    image = Image(np.zeros((1, 80, 100, 121), np.float32), matrix, name="empty")
    with pytest.raises(InputError, match="no left hippocampus"):
        hippocampi.segment_hippocampi(image, identity_match(), MODEL, SegmentConfig())


def test_implausible_matches_are_named() -> None:
    assert problems_of(identity_match()) == []
    assert "correlation 0.10" in problems_of(AffineMatch(np.eye(4), 0.1, 1.0))[0]
    assert "20% of the brain" in problems_of(AffineMatch(np.eye(4), 0.8, 0.2))[0]
    assert "stretched" in problems_of(AffineMatch(np.diag([2.0, 1.0, 1.0, 1.0]), 0.8, 1.0))[0]
    assert "mirrored" in problems_of(AffineMatch(np.diag([-1.0, 1.0, 1.0, 1.0]), 0.8, 1.0))[0]


def test_a_hippocampus_outside_of_the_image_is_named() -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (-60, -70, -50)
    half = Image(np.zeros((1, 80, 100, 60), np.float32), matrix)  # ends at the middle of the head
    assert outside(identity_match(), half) == ["the right hippocampus would lie outside the image, at least in part"]


def test_notes_on_volumes() -> None:
    def notes(left: float, right: float) -> list[str]:
        return hippocampi.volume_notes([("Left a", left / 2), ("Left b", left / 2), ("Right a", right)])

    assert notes(3.4, 3.2) == []
    assert len(notes(3.4, 0.4)) == 2
    assert "Right a: nothing was found." in notes(3.4, 0.0)
    assert "differ" in notes(2.5, 4.5)[0]
