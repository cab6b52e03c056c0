"""Every rule of Slicer's extensions index that files can tell holds; `index_checks.py` prints them."""

from __future__ import annotations

from pathlib import Path

import pytest
from architecture import index_checks
from architecture.index_checks import RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__.strip("_"))
def test_rule_holds(rule: Rule) -> None:
    assert list(rule.check()) == [], rule.text


def test_rules_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Rule(3, "a rule that is broken", lambda: iter(["here"]))
    monkeypatch.setattr(index_checks, "RULES", [RULES[0], broken])
    assert index_checks.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("green")
    assert lines[1].startswith("red")
    assert lines[2].strip() == "here"
    assert lines[-1] == "1 of 2 rules green"
    assert sum(line.startswith("by hand") for line in lines) == len(index_checks.BY_HAND)


@pytest.mark.parametrize(
    ("rule", "file", "change"),
    [
        ("_entry", "MedAI.json", ('"Segmentation"', '"Magic"')),
        ("_variables", "CMakeLists.txt", ("set(EXTENSION_ICONURL", "set(EXTENSION_CATEGORY")),
        ("_description", "CMakeLists.txt", ('EXTENSION_DESCRIPTION "', 'EXTENSION_DESCRIPTION "One. Two. ')),
        ("_restrictive", "CMakeLists.txt", ("CC-BY-SA-4.0", "free")),
        ("_screenshots", "CMakeLists.txt", ("Screenshots/MedAISeg.png", "Screenshots/none.png")),
        ("_home_page", "README.md", ("## How to cite", "## Cite")),
        ("_modules", "README.md", ("`MedAISeg`", "the module")),
        ("_downloads", "README.md", ("## What MedAI downloads", "## Downloads")),
        ("_tutorials", "README.md", ("docs/segment.md", "docs/other.md")),
        ("_model_licences", "README.md", ("`hippocampus-mr`", "a model")),
    ],
)
def test_rule_can_fail(rule: str, file: str, change: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that nothing can break would be worthless: each of these changes turns its rule red."""
    read = index_checks.read

    def changed(name: str) -> str:
        text = read(name)
        if Path(name).name != Path(file).name:
            return text
        assert change[0] in text
        return text.replace(*change)

    caches = (index_checks.extension_values, index_checks.entry)
    monkeypatch.setattr(index_checks, "read", changed)
    for cache in caches:
        cache.cache_clear()
    try:
        assert list(getattr(index_checks, rule)())
    finally:
        monkeypatch.undo()
        for cache in caches:
            cache.cache_clear()
