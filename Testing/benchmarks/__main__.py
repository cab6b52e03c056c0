"""Run the comparisons, show their tables, and write docs/benchmarks.md.

make bench                                   all of them, about half an hour on two cores
python -m benchmarks --only export scene     some; the others' tables stay as they were measured last
python -m benchmarks --quick                 tiny sizes: does everything run? Nothing is written.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import machine, peers, report
from benchmarks.child import FOLDER, REPOSITORY, BenchmarkError, keep_pieces
from benchmarks.settings import Settings

# The page's order; the engine's come first when they are measured, since an interrupted run keeps what it has.
SECTIONS = ("sliding_window", "export", "end_to_end", "scene", "growth")
# Measured only where it is asked for by name: they have no peer, and some need data beside the checkout.
OPTIONAL = ("brain", "ablation", "training_peers")
_MEASURED_FIRST = ("sliding_window", "end_to_end", "growth")
PAGE = REPOSITORY / "docs" / "benchmarks.md"
RESULTS = FOLDER / "results"
PIECES = FOLDER / "pieces"
_PREFACE = (
    "MedAI beside its peers: same weights, same volumes, one machine, one run. Made by `make bench`; do not edit. "
    "Compare the ratios, not the seconds. MB are MiB."
)
_NO_GPU = (
    "## 6. GPU\n\nNot measured: this machine has none. Time against the bare forward passes, the GPU's busy share "
    "and the agreement of half precision remain open.\n"
)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=(*SECTIONS, *OPTIONAL), default=SECTIONS, help="these comparisons alone"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the page is not written")
    parser.add_argument("--rounds", type=int, default=2, help="alternating rounds of the paired measurements")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run: measure what it lacks")
    parser.add_argument("--report", action="store_true", help="measure nothing: write the page of what was kept")
    options = parser.parse_args(arguments)
    settings = Settings(full=not options.quick, rounds=options.rounds)
    try:
        peers.make()
        if options.quick:
            with tempfile.TemporaryDirectory() as folder:
                sections = _measured(options.only, settings, Path(folder))
        else:
            if not options.resume and not options.report:
                for kept in (PIECES, FOLDER / "home"):  # engines of an earlier run would hide what a first start costs
                    shutil.rmtree(kept, ignore_errors=True)
            keep_pieces(PIECES)
            sections = [] if options.report else _measured(options.only, settings, RESULTS)
            sections = [
                report.Section.load(path)
                for key in (*SECTIONS, *OPTIONAL)
                if (path := RESULTS / f"{key}.json").is_file()
            ]
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    missing = [section.key for section in sections if section.missing]
    if missing:
        print(f"benchmarks: not measured: {', '.join(missing)}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([asdict(section) for section in sections], indent=1), encoding="utf-8")
    if not options.quick:
        about = [*machine.description(), "Peers' environment: " + ", ".join(peers.versions())]
        PAGE.write_text(report.markdown(about, sections, _PREFACE) + "\n" + _NO_GPU, encoding="utf-8")
        print(f"Written: {PAGE}")
    return 1 if missing else 0


def _measured(keys: Sequence[str], settings: Settings, folder: Path) -> list[report.Section]:
    """Measure one comparison after the other; one that fails says so in its place and stops none of the others."""
    sections = []
    order = (*SECTIONS, *OPTIONAL)
    for key in sorted(keys, key=lambda key: (key not in _MEASURED_FIRST, order.index(key))):
        started = time.perf_counter()
        conditions = machine.Conditions.now()
        try:
            section = importlib.import_module(f"benchmarks.{key}").run(settings)
        except Exception as error:  # noqa: BLE001 (whatever it is, the other comparisons go on)
            traceback.print_exc()
            section = report.not_measured(key, f"{type(error).__name__}: {error}", conditions)
        section.save(folder)
        report.show(section)
        print(f"({key}: {time.perf_counter() - started:.0f} s)", flush=True)
        sections.append(section)
    return sections


if __name__ == "__main__":
    sys.exit(main())
