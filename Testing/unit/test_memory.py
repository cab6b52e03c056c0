"""The estimate of a run's memory follows what the run really holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec, WeightFile
from medai.memory import estimate_mb


def card(classes: int = 3, patch: tuple[int, int, int] = (32, 32, 32), width: int = 8) -> ModelCard:
    return ModelCard(
        1, "m", "1", "M", "segment", NetworkSpec("unet", {"channels": [width, 2 * width]}),
        (WeightFile("w.safetensors", "0" * 64),), (InputSpec("a"),), "Apache-2.0", (1.0, 1.0, 1.0), patch,
        labels=tuple(LabelSpec(n, f"l{n}", (0, 0, 0)) for n in range(1, classes)),
    )  # fmt: skip


def test_it_is_the_slab_and_not_the_volume_that_classes_multiply():
    isotropic = (1.0, 1.0, 1.0)
    small = estimate_mb(card(101), (128, 128, 128), isotropic) - estimate_mb(card(1 + 1), (128, 128, 128), isotropic)
    # 99 classes more: a slab of 32 x 128 x 128 sums and two tiles of logits each, in floats.
    assert small == pytest.approx(99 * (32 * 128 * 128 + 2 * 32**3) * 4 / 2**20)
    longer = estimate_mb(card(101), (512, 128, 128), isotropic) - estimate_mb(card(101), (128, 128, 128), isotropic)
    # Four times the length: only the image and the label map grow.
    assert longer == pytest.approx(384 * 128 * 128 * 5 / 2**20)


def test_large_values_need_a_wider_label_map():
    narrow = card()
    wide = replace(narrow, labels=(LabelSpec(300, "x", (0, 0, 0)), narrow.labels[1]))
    grown = estimate_mb(wide, (64, 64, 64), (1, 1, 1)) - estimate_mb(narrow, (64, 64, 64), (1, 1, 1))
    assert grown == pytest.approx(64**3 / 2**20)


def test_a_coarser_model_needs_less_window_but_both_images():
    fine, coarse = card(50), replace(card(50), spacing_mm=(2.0, 2.0, 2.0))
    assert estimate_mb(coarse, (256, 256, 256), (1, 1, 1)) < estimate_mb(fine, (256, 256, 256), (1, 1, 1))
    assert estimate_mb(coarse, (256, 256, 256), (1, 1, 1)) > 256**3 * 4 / 2**20
