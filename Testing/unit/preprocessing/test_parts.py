"""Labels from parts of planes, and images that need no preparation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medai.config.model_card import InputSpec, Normalization
from medai.image import Image
from medai.preprocessing import LabelWriter, Preprocessing

SHAPE = (7, 10, 6)
UNCHANGED = Preprocessing((InputSpec("a", "MR", Normalization("none")),), (1.0, 1.0, 1.0))


def image(spacing_mm: float = 1.0) -> Image:
    array = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    return Image(array, np.diag([spacing_mm, -1.0, 1.0, 1.0]), "oblique")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_in_any_order_give_the_labels_of_whole_planes(axis):
    record = UNCHANGED.apply(image()).record
    logits = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(1))
    streamed = logits.permute(0, axis + 1, *(a + 1 for a in range(3) if a != axis))
    values = (0, 7, 7, 3)
    by_planes, by_parts = (LabelWriter(record, values, axis) for _ in range(2))
    by_planes.add(streamed)
    assert by_parts.takes_parts
    rows = streamed.shape[2]
    for row in reversed(range(0, rows, 4)):
        for plane in range(0, streamed.shape[1], 3):
            by_parts.add_part(streamed[:, plane : plane + 3, row : row + 4], plane, row)
    assert by_planes.complete
    assert np.array_equal(by_parts.labels, by_planes.labels)
    assert set(np.unique(by_parts.labels)) == {0, 3, 7}


def test_parts_are_not_for_what_has_to_be_interpolated():
    assert not LabelWriter(UNCHANGED.apply(image(2.0)).record, (0, 1)).takes_parts


def test_an_image_that_needs_no_preparation_is_not_copied():
    array = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    upright = Image(array, np.eye(4), "upright")
    assert np.shares_memory(UNCHANGED.apply(upright).array, array)
    scaled = replace(UNCHANGED, inputs=(InputSpec("a", "MR", Normalization("zscore")),))
    assert not np.shares_memory(scaled.apply(upright).array, array)
    whole = UNCHANGED.apply(Image(array.astype(np.int16), np.eye(4), "whole numbers")).array
    assert whole.dtype == np.float32
    assert np.array_equal(whole, array.astype(np.int16))
