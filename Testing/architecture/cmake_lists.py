"""The file lists in the modules' CMakeLists.txt: read them, compute them from the tree, write them anew.

`make cmake-lists` calls this with --write; without it, differences are printed and the exit code is 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("MedAICore", "MedAISeg", "MedAIClassify", "MedAITrain", "SegmentEditorMedAIClick")
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
NOT_SHIPPED = {"__pycache__", "Testing", "CMakeLists.txt"}


def shipped_files(module: str, root: Path = REPOSITORY) -> dict[str, list[str]]:
    """What a module's folder holds, as it must be listed: scripts, and resources (all that is not Python)."""
    folder = root / module
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [name for name in names if not any(part in NOT_SHIPPED or part.startswith(".") for part in name.parts)]
    names = [name for name in names if name.suffix != ".pyc" and not any(p.endswith(".egg-info") for p in name.parts)]
    scripts = [name.as_posix() for name in names if name.suffix == ".py"]
    main = f"{module}.py"
    return {
        SCRIPTS: [main, *(name for name in scripts if name != main)],
        RESOURCES: [name.as_posix() for name in names if name.suffix != ".py"],
    }


def listed_files(module: str, root: Path = REPOSITORY) -> dict[str, list[str]]:
    """What a module's CMakeLists.txt lists."""
    text = (root / module / "CMakeLists.txt").read_text(encoding="utf-8")
    return {variable: _pattern(variable).search(text)["files"].split() for variable in (SCRIPTS, RESOURCES)}


def write_lists(module: str, root: Path = REPOSITORY) -> None:
    """Put the module's files into its CMakeLists.txt."""
    path = root / module / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    for variable, files in shipped_files(module, root).items():
        lines = "".join(f"\n  {_quoted(name)}" for name in files)
        block = f"set({variable}{lines}\n  )"
        text = _pattern(variable).sub(lambda _, block=block: block, text)
    path.write_text(text, encoding="utf-8", newline="\n")


def _pattern(variable: str) -> re.Pattern[str]:
    return re.compile(rf"set\({variable}\s+(?P<files>[^)]*?)\s*\)")


def _quoted(name: str) -> str:
    if re.search(r"[^\w./+-]", name):
        raise ValueError(f"'{name}' has a character that CMake lists or Windows do not take well; rename the file.")
    return name


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    differences = 0
    for module in MODULES:
        if options.write:
            write_lists(module)
        shipped, listed = shipped_files(module), listed_files(module)
        for variable in (SCRIPTS, RESOURCES):
            for name in sorted(set(shipped[variable]) ^ set(listed[variable])):
                where = "is not listed" if name in shipped[variable] else "is listed but does not exist"
                print(f"{module}/{name} {where} in {module}/CMakeLists.txt ({variable})")
                differences += 1
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
