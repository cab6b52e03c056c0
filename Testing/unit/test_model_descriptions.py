"""The descriptions under docs/models are what `medai train --description` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from medai.config import from_json, read_json
from medai.config.training import ModelDescription

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "models"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_it_names_source_licence_and_codes(path: Path) -> None:
    description = from_json(ModelDescription, read_json(path), str(path))
    assert description.id == path.stem
    assert description.licence
    assert description.citation
    assert description.data
    assert all(label.terminology is not None for label in description.labels)
    # One structure has one colour on both sides of the body, as in FreeSurfer's table.
    kinds = {label.terminology.type for label in description.labels if label.terminology}
    sides = {label.terminology.type_modifier for label in description.labels if label.terminology} - {None}
    shades = {label.color for label in description.labels}
    assert len(shades) == len(description.labels) or (len(sides) == 2 and len(shades) >= len(kinds))


def test_the_sides_of_the_brain_are_coded_as_named() -> None:
    """FreeSurfer's values, and DICOM's codes for brain volumetry (context group 7140) with left and right."""
    path = FOLDER / "brain-any.json"
    description = from_json(ModelDescription, read_json(path), str(path))
    by_name = {label.name: label for label in description.labels}
    assert {name: by_name[name].value for name in ("Left-Hippocampus", "Right-Hippocampus", "CSF")} == {
        "Left-Hippocampus": 17,
        "Right-Hippocampus": 53,
        "CSF": 24,
    }
    paired = [name.removeprefix("Left-") for name in by_name if name.startswith("Left-")]
    assert len(paired) == 14
    for name in paired:
        left, right = by_name[f"Left-{name}"].terminology, by_name[f"Right-{name}"].terminology
        assert left is not None
        assert right is not None
        assert left.type == right.type
        assert (left.type_modifier.value, right.type_modifier.value) == ("7771000", "24028007")  # type: ignore[union-attr]


def test_there_is_one() -> None:
    assert list(FOLDER.glob("*.json"))
