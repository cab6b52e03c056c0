"""The usual volumes of brain-any tell whole heads from parts of them, where the labels themselves are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medai.config import from_json, read_json
from medai.config.model_card import InputSpec, ModelCard, NetworkSpec, WeightFile
from medai.config.training import ModelDescription
from medai.dataset.label_map_folder import read_description, read_label_maps
from medai.label_statistics import label_extents
from medai.segment.unusual import unusual_volumes, volume_warnings
from medai.segment.volumes import structure_volumes

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def card() -> ModelCard:
    path = DOCS / "models" / "brain-any.json"
    about = from_json(ModelDescription, read_json(path), str(path))
    return ModelCard(
        1, "brain-any", "1", "Brain", "segment", NetworkSpec("unet"), (WeightFile("weights-0.safetensors", "0" * 64),),
        (InputSpec("MR"),), "Apache-2.0", (2.0, 2.0, 2.0), (64, 64, 64), labels=about.labels, totals=about.totals,
        postprocessing=about.postprocessing, plausibility=about.plausibility,
    )  # fmt: skip


@pytest.fixture(scope="module")
def labels(shared_data: Path) -> np.ndarray:
    """The labels (k, j, i) of a whole head, 1 mm, RAS."""
    folder = shared_data / "synthseg_labels" / "training_label_maps"
    if not folder.is_dir():
        pytest.skip("the label maps are not there")
    description = read_description(folder, DOCS / "label-maps" / "brain-any.json")
    maps = read_label_maps(folder, description, names=description.held_out[:1])
    values = np.array([0, *(spec.value for spec in maps.labels)], np.uint8)
    return values[maps.table.classes.numpy()[maps.volumes[0].indices.numpy()]]


def judge(card: ModelCard, labels: np.ndarray) -> tuple[bool, list[str]]:
    rows = structure_volumes(card, card.label_scheme(), label_extents(labels), 0.001, {}, whole=True)
    return unusual_volumes(card, rows), volume_warnings(card, rows)


def test_a_whole_head_is_usual(card, labels):
    assert judge(card, labels) == (False, [])


@pytest.mark.parametrize("part", ["upper half", "left side", "front half", "no cerebellum"])
def test_a_part_of_a_head_is_not(card, labels, part):
    k, j, i = (slice(*np.flatnonzero(labels.any(axis=axes))[[0, -1]]) for axes in ((1, 2), (0, 2), (0, 1)))
    half = tuple(slice((side.start + side.stop) // 2, None) for side in (k, j, i))
    cut = {
        "upper half": labels[half[0]],
        "left side": labels[:, :, : half[2].start],
        "front half": labels[:, half[1]],
        "no cerebellum": labels[k.start + 55 :],
    }[part]
    unlike, warnings = judge(card, np.ascontiguousarray(cut))
    assert unlike
    assert "does not seem to show all" in warnings[0]
