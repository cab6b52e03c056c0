"""The adapter agrees with the recorded PythonQt on the classes that the extension uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from host import conformance

ROOT = Path(__file__).resolve().parents[2]
BAR = 0.95


@pytest.fixture(scope="module")
def outcomes() -> list[conformance.Outcome]:
    return conformance.replay()


def test_used_classes_are_found() -> None:
    assert {"QPushButton", "qMRMLNodeComboBox", "ctkCollapsibleButton"} <= conformance.used_classes(ROOT)


def test_records_of_used_classes_agree(outcomes: list[conformance.Outcome]) -> None:
    chosen = conformance.of_used_classes(outcomes, conformance.used_classes(ROOT))
    agree, applicable = conformance.share(chosen)
    assert applicable > 300
    wrong = [f"{o.id}: {o.reason}" for o in chosen if o.verdict == "disagree"]
    assert agree / applicable >= BAR, "\n".join(wrong)
