"""Runs one measured piece in a process of its own, with any interpreter that has what the piece needs.

Called as `python -m benchmarks.child MODULE:FUNCTION ARGUMENTS.json RESULT.json`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """Where benchmarks keep their gigabytes: the user's cache, since the checkout has to stay below 100 MB."""
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "medai-benchmarks"


FOLDER = cache_folder() / "runs"


class BenchmarkError(Exception):
    """A piece did not run; the text ends with what it printed last."""


class Pieces:
    """The figures of the pieces that have run, in a folder: a run that was interrupted goes on where it stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: Counter[str] = Counter()

    def path(self, task: str, arguments: dict[str, Any]) -> Path:
        """The file of this piece; when it is asked for again (another round), another file."""
        name = hashlib.sha256(json.dumps([task, arguments], sort_keys=True).encode()).hexdigest()[:24]
        self._asked[name] += 1
        return self._folder / f"{name}-{self._asked[name]}.json"


_kept: Pieces | None = None


def keep_pieces(folder: Path) -> None:
    """From now on take the figures of a piece from `folder` where it has run before, and put them there."""
    global _kept
    folder.mkdir(parents=True, exist_ok=True)
    _kept = Pieces(folder)


def run_piece(task: str, arguments: dict[str, Any], python: Path | None = None, timeout_s: float = 1200) -> Any:
    """What `MODULE:FUNCTION` (below `benchmarks`) returns for these keyword arguments, as plain data."""
    if _kept is None:
        return _run(task, arguments, python, timeout_s)
    path = _kept.path(task, arguments)
    if not path.is_file():
        path.write_text(json.dumps(_run(task, arguments, python, timeout_s)), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def try_piece(task: str, arguments: dict[str, Any], python: Path | None = None, timeout_s: float = 1200) -> Any:
    """As `run_piece`; None, and the reason on stderr, where it fails: other pieces of the table go on."""
    try:
        return run_piece(task, arguments, python, timeout_s)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr, flush=True)
        return None


def _run(task: str, arguments: dict[str, Any], python: Path | None, timeout_s: float) -> Any:
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
    # Threads that wait sleep instead of spinning: else processor seconds grow with other work on the machine.
    patient = {"OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **home, **quiet, **patient, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Run the piece that the command line names."""
    task, given, found = sys.argv[1:4]
    module, function = task.split(":")
    work = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    result = work(**json.loads(Path(given).read_text(encoding="utf-8")))
    Path(found).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
