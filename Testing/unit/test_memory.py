"""The estimate of a run's memory follows what the run really holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec, WeightFile
from medai.memory import estimate_mb

MM = (1.0, 1.0, 1.0)


def card(classes: int = 3, patch: tuple[int, int, int] = (32, 32, 32), width: int = 8) -> ModelCard:
    return ModelCard(
        1, "m", "1", "M", "segment", NetworkSpec("unet", {"channels": [width, 2 * width]}),
        (WeightFile("w.safetensors", "0" * 64),), (InputSpec("a"),), "Apache-2.0", (1.0, 1.0, 1.0), patch,
        labels=tuple(LabelSpec(n, f"l{n}", (0, 0, 0)) for n in range(1, classes)),
    )  # fmt: skip


def test_it_is_what_tiles_share_and_not_the_volume_that_classes_multiply():
    more = estimate_mb(card(101), (128, 128, 128), MM, "openvino") - estimate_mb(card(2), (128,) * 3, MM, "openvino")
    # 99 classes more: half a tile of planes with all rows, half a tile with one row of tiles, and the tile's logits.
    assert more == pytest.approx(99 * (16 * (128 + 32) * 128 + 1.2 * 32**3) * 4 / 2**20, rel=0.05)
    longer = estimate_mb(card(101), (512, 128, 128), MM, "openvino") - estimate_mb(
        card(101), (128, 128, 128), MM, "openvino"
    )
    # Four times the length: only the image and the label map grow.
    assert longer == pytest.approx(384 * 128 * 128 * 5 / 2**20)


def test_large_values_need_a_wider_label_map():
    narrow = card()
    wide = replace(narrow, labels=(LabelSpec(300, "x", (0, 0, 0)), narrow.labels[1]))
    assert estimate_mb(wide, (64, 64, 64), MM) - estimate_mb(narrow, (64, 64, 64), MM) == pytest.approx(64**3 / 2**20)


def test_a_coarser_model_needs_less_window_but_both_images():
    fine, coarse = card(50), replace(card(50), spacing_mm=(2.0, 2.0, 2.0))
    assert estimate_mb(coarse, (256, 256, 256), MM) < estimate_mb(fine, (256, 256, 256), MM)
    assert estimate_mb(coarse, (256, 256, 256), MM) > 256**3 * 4 / 2**20


def test_short_runs_are_eager_and_long_ones_are_not():
    for side, engine in ((32, "eager"), (384, "openvino")):
        assert estimate_mb(card(), (side,) * 3, MM) == estimate_mb(card(), (side,) * 3, MM, engine)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory cannot be reset here")
def test_it_is_not_far_from_a_measured_peak(tmp_path):
    """In a process of its own, eagerly (no other engine needed); the benchmarks compare real sizes."""
    code = (
        "import json, sys; from pathlib import Path; from benchmarks import networks, window_pieces as w\n"
        "import numpy as np; from medai.segment import engines\n"
        "engines.is_available = lambda: False\n"
        "folder = Path(sys.argv[1]); np.save(folder / 'v.npy', np.ones((96, 128, 96), np.float32))\n"
        "package = networks.untrained(folder, 20, (64, 64, 64), (1.0, 1.0, 1.0))\n"
        "print(json.dumps(w.by_medai(str(folder / 'v.npy'), str(package), 1, warm=False)))"
    )
    testing = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(testing), str(testing.parent / "MedAICore")])
    environment = {**os.environ, "PYTHONPATH": paths, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["engine"] == "cpu-eager"
    assert 0.6 < found["estimate_mb"] / found["extra_mb"] < 1.7, found
