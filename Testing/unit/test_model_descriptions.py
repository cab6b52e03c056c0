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
    assert len({label.color for label in description.labels}) == len(description.labels)


def test_there_is_one() -> None:
    assert list(FOLDER.glob("*.json"))
