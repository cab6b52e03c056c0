"""The project's Python files as syntax trees, shared by the tests that read the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MEDAI = REPOSITORY / "MedAICore" / "medai"
SLICER_SIDE = [
    folder
    for module in ("MedAICore", "MedAISeg", "MedAIClassify", "MedAITrain", "SegmentEditorMedAIClick")
    for folder in (REPOSITORY / module / f"{module}.py", REPOSITORY / module / f"{module}Lib")
]
# What Slicer brings beside the standard library.
SLICER_BRINGS = {
    "numpy", "vtk", "vtkmodules", "slicer", "qt", "ctk", "SampleData", "SegmentEditorEffects",
    "MRMLCorePython", "qSlicerSegmentationsEditorEffectsPythonQt",
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """One imported module: its full name, where it stands, and whether it is imported as soon as the file is."""

    name: str
    line: int
    at_module_level: bool

    @property
    def root(self) -> str:
        """The top-level package."""
        return self.name.split(".")[0]


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def medai_files() -> list[Path]:
    """Every Python file of the package medai."""
    return sorted(path for path in MEDAI.rglob("*.py") if "__pycache__" not in path.parts)


def slicer_side_files() -> list[Path]:
    """Every Python file that only Slicer's process runs."""
    files: list[Path] = []
    for place in SLICER_SIDE:
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place] if place.is_file() else []
    return files


def name_of(path: Path) -> str:
    """A file as test ids and messages show it."""
    return path.relative_to(REPOSITORY).as_posix()


def imports(path: Path) -> list[Imported]:
    """All absolute imports of a file; those under `if TYPE_CHECKING` are left out, they are never executed."""
    return list(_imports(parse(path), at_module_level=True))


def _imports(node: ast.AST, at_module_level: bool) -> Iterator[Imported]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Imported(alias.name, child.lineno, at_module_level) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            if child.module == "medai":  # `from medai import models` may name a module
                yield from (Imported(f"medai.{alias.name}", child.lineno, at_module_level) for alias in child.names)
                continue
            yield Imported(child.module, child.lineno, at_module_level)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _imports(other, at_module_level)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, at_module_level and not function)


def is_standard_library(name: str) -> bool:
    """Whether a top-level module comes with Python."""
    return name in sys.stdlib_module_names or name == "__future__"
