"""Runs one measured piece in a process of its own, with any interpreter that has what the piece needs.

Called as `python -m benchmarks.child MODULE:FUNCTION ARGUMENTS.json RESULT.json`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "build" / "benchmarks"


class BenchmarkError(Exception):
    """A piece did not run; the text ends with what it printed last."""


def run_piece(task: str, arguments: dict[str, Any], python: Path | None = None, timeout_s: float = 1200) -> Any:
    """What `MODULE:FUNCTION` (below `benchmarks`) returns for these keyword arguments, as plain data."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        given, found = Path(folder) / "arguments.json", Path(folder) / "result.json"
        given.write_text(json.dumps(arguments), encoding="utf-8")
        command = [str(python or sys.executable), "-m", "benchmarks.child", task, str(given), str(found)]
        try:
            process = subprocess.run(
                command, env=_environment(), cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{task} {arguments} did not end within {timeout_s:.0f} s") from error
        if process.returncode or not found.is_file():
            tail = "\n".join((process.stdout + process.stderr).strip().splitlines()[-15:])
            raise BenchmarkError(f"{task} {arguments} ended with code {process.returncode}:\n{tail}")
        return json.loads(found.read_text(encoding="utf-8"))


def _environment() -> dict[str, str]:
    path = os.pathsep.join(str(REPOSITORY / name) for name in ("MedAICore", "Testing"))
    # A home of its own: compiled networks are cached there, and the user's own folders stay as they are.
    home = {name: str(FOLDER / "home") for name in ("HOME", "USERPROFILE")}
    quiet = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), "")  # else it asks for them
    return {**os.environ, **home, **quiet, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Run the piece that the command line names."""
    task, given, found = sys.argv[1:4]
    module, function = task.split(":")
    work = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    result = work(**json.loads(Path(given).read_text(encoding="utf-8")))
    Path(found).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
