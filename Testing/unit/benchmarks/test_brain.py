"""What the brain model is measured with: rendered heads have their truth, and copies come back to the head's grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks import brain
from benchmarks.brain_heads import copies, rendered

from medai.image import Image
from medai.labels import Label, LabelScheme
from medai.metrics import dice
from medai.synthesis.label_volumes import LabelTable, LabelVolume

SCHEME = LabelScheme((Label(2, "Left-Part", (1.0, 0.0, 0.0)), Label(41, "Right-Part", (0.0, 1.0, 0.0))))


def parts() -> np.ndarray:
    """(k, j, i) to superior, anterior, right: a left and a right block, which differ in size."""
    array = np.zeros((50, 56, 60), np.uint8)
    array[16:42, 8:44, 8:26] = 2
    array[20:38, 12:40, 32:50] = 41
    return array


def head() -> Image:
    matrix = np.eye(4)
    matrix[:3, 3] = (-25.0, 13.0, 40.0)
    return Image(parts()[None].astype(np.float32), matrix, "head", "MR")


def perfect(image: Image) -> SimpleNamespace:
    """A model that finds the blocks in any copy: left by their brightness, unless left and right were swapped."""
    array = image.array[0]
    bright = array if np.median(array) < 20 else array.max() - array
    found = np.where(bright > 30, 41, np.where(bright > 1, 2, 0)).astype(np.uint8)
    middle = image.shape[2] // 2
    if (found[..., :middle] == 41).sum() > (found[..., middle:] == 41).sum():  # the sides are where they are seen
        found = np.choose((found == 2) + 2 * (found == 41), [np.zeros_like(found), 41, 2]).astype(np.uint8)
    return SimpleNamespace(label_map=Image(found[None], image.ijk_to_ras), scheme=SCHEME)


def test_copies_come_back_to_the_grid_of_the_head() -> None:
    image = head()
    made = copies(image)
    assert [copy.name for copy in made] == ["rotated", "flipped", "cropped", "resampled", "inverted"]
    for copy in made:
        assert copy.covered.shape == image.shape
        found = copy.back(perfect(copy.image).label_map.array[0])
        assert found.shape == image.shape
        for value, other in ((2, 41), (41, 2)):
            wanted = (parts() == value) & copy.covered
            assert dice(wanted, found == (other if copy.swap else value)) > 0.9, copy.name


def test_agreement_of_a_perfect_model_is_nearly_one(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("medai.imageio.read_image", lambda _path: head())
    result = brain.agreement(perfect, tmp_path / "head.nii.gz")
    assert result["mean_dice"] > 0.93
    assert set(result["copies"]["flipped"]["structures"]) == {"Left-Part", "Right-Part"}
    blind = brain.agreement(lambda image: _without_right(perfect(image), image), tmp_path / "head.nii.gz")
    assert blind["mean_dice"] < 0.8


def _without_right(result: SimpleNamespace, image: Image) -> SimpleNamespace:
    """Finds the right part in the untouched head alone."""
    if image.array.shape != head().array.shape or not np.array_equal(image.array, head().array):
        result.label_map.array[result.label_map.array == 41] = 0
    return result


@pytest.mark.parametrize("slice_mm", [1, 5])
def test_rendered_heads_have_their_truth(slice_mm: int) -> None:
    indices = torch.zeros((40, 30, 34), dtype=torch.uint8)
    indices[8:32, 5:25, 5:29] = 1
    volume = LabelVolume("map", indices, (1.0, 1.0, 1.0), np.full(3, 15.0), np.full(3, 20.0))
    table = LabelTable((0, 7), *(torch.tensor(row) for row in ([0, 1], [0, 1], [0, 1])), torch.tensor([False] * 2))
    contrasts = set()
    for seed in range(3):
        made = rendered(volume, table, seed, slice_mm)
        assert made.truth.shape == made.image.shape == ((40 + 20) // slice_mm, 50, 54)
        assert made.image.spacing_mm == (slice_mm, 1.0, 1.0)
        inside, outside = made.image.array[0][made.truth == 1], made.image.array[0][made.truth == 0]
        assert abs(np.count_nonzero(made.truth) * slice_mm / (24 * 20 * 24) - 1) < 0.25
        contrasts.add(round(float(inside.mean() / max(abs(outside.mean()), 1.0)), 2))
        again = rendered(volume, table, seed, slice_mm)
        assert np.array_equal(made.image.array, again.image.array)
    assert len(contrasts) == 3


def test_the_tables_show_the_bars() -> None:
    summary = {
        "1": {"mean_dice": 0.8, "worst_case": 0.7, "heads": 30, "structures": {}},
        "5": {"mean_dice": 0.7, "worst_case": 0.6, "heads": 30, "structures": {}},
    }
    table = brain._held_out_table({"summary": summary})
    assert table.rows == (
        ("1 x 1 x 1 mm", "30", "0.800", "0.75", "0.700"),
        ("1 x 1 x 5 mm", "30", "0.700", "0.68", "0.600"),
    )
