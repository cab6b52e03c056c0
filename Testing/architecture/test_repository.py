"""What has to hold for the repository as a whole: sizes, licences, no traces of one machine. See test_index.py too."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest
from architecture import index_checks
from architecture.cmake_lists import MODULES
from architecture.source_tree import REPOSITORY, parse

MEGABYTE = 2**20


def tracked_files() -> tuple[Path, ...]:
    """Files in the git index that are still on disk."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    return index_checks.tracked_files()


@pytest.mark.parametrize("module", MODULES)
def test_module_folder_has_one_python_file_at_its_top(module: str) -> None:
    """Slicer takes each Python file on a module path for a module."""
    folder = REPOSITORY / module
    assert [path.name for path in folder.glob("*.py")] == [f"{module}.py"]
    assert not (folder / module).exists(), "a package of the module's name would hide the module"
    tree = parse(folder / f"{module}.py")
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    imported = {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    # A module that only brings an effect to the Segment Editor has no panel and no logic.
    suffixes = ("", "Test") if module.startswith("SegmentEditor") else ("", "Widget", "Logic", "Test")
    needed = {f"{module}{suffix}" for suffix in suffixes}
    assert needed <= defined | imported, "Slicer looks these classes up in the module's file"


def test_licences_are_there() -> None:
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")[:200]
    models = REPOSITORY / "MedAICore" / "medai" / "resources" / "models"
    for card in models.glob("*/model.json"):
        assert list(card.parent.glob("LICENSE*")), f"{card.parent.name} has no licence of its own"


def test_no_large_file_but_weights() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files() if path.suffix != ".safetensors"}
    assert not {path.name: size for path, size in sizes.items() if size > MEGABYTE}
    assert sum(path.stat().st_size for path in tracked_files()) < 80 * MEGABYTE, "the index allows 100 MB with .git"


def test_no_path_of_one_machine() -> None:
    """Absolute paths of the machine on which something was written help nobody else."""
    pattern = re.compile(rb"(?<![\w.<>-])/(?:work|home/[a-z]\w*|Users/[A-Z]\w*|root)/[\w.-]+")
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:8000] and path != Path(__file__):
            found += [f"{path.relative_to(REPOSITORY)}: {match.decode()}" for match in pattern.findall(content)]
    assert not found


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.name)
def test_workflow_is_well_formed(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert all("run" in step or "uses" in step for step in job["steps"]), name
