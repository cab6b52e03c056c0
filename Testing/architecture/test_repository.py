"""What has to hold for the repository as a whole: the index's rules, sizes, licences, no traces of one machine."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlparse

import pytest
from architecture.cmake_lists import MODULES
from architecture.source_tree import REPOSITORY, parse

MEGABYTE = 2**20
# The index's list of categories, as far as one of ours could ever be chosen from it.
CATEGORIES = {"Segmentation", "Quantification", "Neuroimaging", "Utilities", "Analysis", "Active Learning"}
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
REQUIRED_KEYS = {"$schema", "category", "scm_url"}
OPTIONAL_KEYS = {
    "build_dependencies", "build_subdirectory", "dicom_support_rule", "enabled", "scm_revision", "scm_type", "tier",
}  # fmt: skip


def tracked_files() -> list[Path]:
    """Files in the git index that are still on disk."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    paths = [REPOSITORY / name for name in names.decode("utf-8").split("\0") if name]
    return [path for path in paths if path.is_file()]


def extension_values() -> dict[str, str]:
    """The EXTENSION_ variables, read as the index reads them: one text on one line."""
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]*)"\)$', text, flags=re.MULTILINE))


def test_extension_values_are_one_line_texts() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    values = extension_values()
    assert len(values) == text.count("set(EXTENSION_"), "one `set` with one text on one line each"
    assert {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"} <= set(values)
    assert all(values.values())
    assert "CC-BY-SA-4.0" in values["DESCRIPTION"], "the licence of the shipped model is named"


def test_pictures_of_the_index_are_in_the_repository() -> None:
    values = extension_values()
    for url in [values["ICONURL"], *values["SCREENSHOTURLS"].split()]:
        parts = urlparse(url)
        assert parts.scheme == "https"
        assert not parts.query
        picture = REPOSITORY.joinpath(*Path(parts.path).parts[4:])  # /owner/repository/branch/path
        assert picture.is_file(), f"{url} would not be found"
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_icon_is_128_pixels() -> None:
    header = (REPOSITORY / "MedAI.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (128, 128)


def test_index_entry_follows_the_schema() -> None:
    raw = (REPOSITORY / "MedAI.json").read_bytes()
    entry = json.loads(raw)
    assert b"\r" not in raw
    assert set(entry) >= REQUIRED_KEYS
    assert set(entry) <= REQUIRED_KEYS | OPTIONAL_KEYS
    assert entry["$schema"] == SCHEMA
    assert entry["category"] in CATEGORIES
    assert 1 <= entry["tier"] <= 5
    url = urlparse(entry["scm_url"])
    assert url.scheme in ("https", "git")
    assert Path(url.path).name.startswith("Slicer")
    depends = extension_values()["DEPENDS"]
    assert entry["build_dependencies"] == ([] if depends == "NA" else depends.split())


def test_project_is_named_as_the_index_entry() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\((\w+)\)$", text, flags=re.MULTILINE)[1] == "MedAI"


@pytest.mark.parametrize("module", MODULES)
def test_module_folder_has_one_python_file_at_its_top(module: str) -> None:
    """Slicer takes each Python file on a module path for a module."""
    folder = REPOSITORY / module
    assert [path.name for path in folder.glob("*.py")] == [f"{module}.py"]
    assert not (folder / module).exists(), "a package of the module's name would hide the module"
    tree = parse(folder / f"{module}.py")
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    imported = {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    needed = {f"{module}{suffix}" for suffix in ("", "Widget", "Logic", "Test")}
    assert needed <= defined | imported, "Slicer looks these four classes up in the module's file"


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
