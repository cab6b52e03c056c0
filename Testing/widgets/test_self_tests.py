"""The self-tests that Slicer runs (Reload and Test, ctest) pass in the host too."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["MedAICore", "MedAISeg", "MedAIClassify", "MedAITrain", "SegmentEditorMedAIClick"])
def test_self_test_passes(host, name):
    import slicer

    module = host.load_module(ROOT / name / f"{name}.py")
    assert module.title.startswith("MedAI")
    assert module.categories
    assert module.contributors
    slicer.selfTests[name]()
