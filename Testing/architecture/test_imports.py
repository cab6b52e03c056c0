"""Who imports whom: DESIGN's layers, heavy libraries where they belong, and a light side that starts without them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from architecture.source_tree import (
    MEDAI,
    REPOSITORY,
    SLICER_BRINGS,
    imports,
    is_standard_library,
    medai_files,
    name_of,
    slicer_side_files,
)

# Third-party libraries that a part of medai may import as soon as it is imported itself; numpy is allowed everywhere.
AT_MODULE_LEVEL = {
    "networks": {"torch", "monai"},
    "losses": {"torch", "monai"},
    "synthesis": {"torch"},
    "augmentation": {"torch", "monai"},
    "training": {"torch", "monai", "safetensors"},
    "inference": {"torch", "monai", "scipy"},
    "segment": {"torch", "scipy"},
    "classify": {"scipy"},
    "click": {"torch", "scipy", "SimpleITK"},
    "explain": {"torch", "monai"},
    "metrics": {"torch", "scipy"},
    "preprocessing": {"torch", "scipy", "SimpleITK"},
    "imageio": {"SimpleITK", "pydicom"},
    "registration.py": {"SimpleITK", "scipy"},
    "mrml": {"slicer", "vtk", "vtkmodules"},
    "render": {"slicer", "vtk", "vtkmodules", "trame", "trame_slicer"},
    "view": {"slicer", "vtk", "vtkmodules", "trame", "trame_slicer"},
    "cli": {"typer", "rich", "click"},
}
# What Slicer's process may load of medai; models is among them because panels show cards before any environment exists.
LIGHT = (
    "client",
    "mrml",
    "session",
    "process_identity",
    "label_statistics",
    "models",
    "machine",
    "memory",
    "case_checks",
    "case_report",
    "dataset_json",
    "label_table",
    "nrrd_stream",
    "config",
    "image",
    "labels",
    "errors",
    "progress",
)
HEAVY = ("torch", "monai", "SimpleITK", "scipy", "safetensors", "typer", "rich", "openvino", "highdicom", "pydicom")
TRAINING_CORE = ("networks", "losses", "augmentation", "synthesis", "training")


def existing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (MEDAI / f"{name}.py").is_file() or (MEDAI / name / "__init__.py").is_file()]


def import_without(blocked: tuple[str, ...], modules: list[str]) -> subprocess.CompletedProcess[str]:
    """Import modules in a fresh interpreter in which others cannot be imported."""
    code = """
import sys
blocked = set(sys.argv[1].split(","))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked by the test")
sys.meta_path.insert(0, Blocker())
for name in sys.argv[2].split(","):
    __import__(name)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "MedAICore")}
    command = [sys.executable, "-c", code, ",".join(blocked), ",".join(modules)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def test_contracts_of_import_linter_hold() -> None:
    """The contracts in pyproject.toml: DESIGN's layers."""
    pytest.importorskip("importlinter")
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "MedAICore"), "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert " 0 broken" in run.stdout


@pytest.mark.parametrize("path", medai_files(), ids=name_of)
def test_heavy_libraries_are_imported_where_they_belong(path: Path) -> None:
    part = path.relative_to(MEDAI).parts[0]
    allowed = AT_MODULE_LEVEL.get(part, set()) | {"numpy", "medai"}
    wrong = [
        f"line {found.line}: {found.name}"
        for found in imports(path)
        if found.at_module_level and not is_standard_library(found.root) and found.root not in allowed
    ]
    assert not wrong, f"{name_of(path)} may import at module level only {sorted(allowed)}; import inside the function"


@pytest.mark.parametrize("path", slicer_side_files(), ids=name_of)
def test_slicer_side_needs_only_what_slicer_ships(path: Path) -> None:
    """At module level and inside functions: Slicer's Python has no torch, and must never need it."""
    wrong = []
    for found in imports(path):
        if (
            is_standard_library(found.root)
            or found.root in SLICER_BRINGS
            or found.root.startswith(("MedAI", "SegmentEditorMedAI"))
        ):
            continue
        if found.root == "medai" and (found.name == "medai" or found.name.split(".")[1] in LIGHT):
            continue
        wrong.append(f"line {found.line}: {found.name}")
    assert not wrong


@pytest.mark.parametrize("path", [p for p in slicer_side_files() if p.name == "logic.py"], ids=name_of)
def test_logic_opens_no_window(path: Path) -> None:
    assert not {found.root for found in imports(path)} & {"qt", "ctk"}


def test_shared_library_knows_no_single_module() -> None:
    """MedAICoreLib is below the modules' own libraries."""
    wrong = [
        f"{name_of(path)}:{found.line} {found.name}"
        for path in slicer_side_files()
        if "MedAICoreLib" in path.parts
        for found in imports(path)
        if found.root.startswith("MedAI") and found.root not in ("MedAICoreLib", "MedAICore")
    ]
    assert not wrong


def test_light_side_imports_without_heavy_libraries() -> None:
    modules = ["medai", *(f"medai.{name}" for name in existing(LIGHT) if name != "mrml")]
    assert len(modules) > 5
    run = import_without((*HEAVY, "slicer", "vtk", "qt", "ctk"), modules)
    assert run.returncode == 0, run.stderr


def test_the_blocker_blocks() -> None:
    """The test above can fail: a module that needs torch is not importable under it."""
    run = import_without(HEAVY, ["medai.networks"])
    assert run.returncode != 0
    assert "is blocked by the test" in run.stderr


def test_training_core_imports_without_file_and_terminal_libraries() -> None:
    """A bare GPU machine has torch, numpy, monai and safetensors."""
    blocked = ("SimpleITK", "typer", "rich", "slicer", "vtk", "openvino", "highdicom", "pydicom", "nilearn", "pandas")
    run = import_without(blocked, [f"medai.{name}" for name in existing(TRAINING_CORE)])
    assert run.returncode == 0, run.stderr
