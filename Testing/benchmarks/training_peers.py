"""Training beside its peers: time waited for data, augmentation of a patch, and Dice after equal times.

python -m benchmarks.training_peers                              all three; nnU-Net at 5, 15 and 30 minutes
python -m benchmarks.training_peers --part augmentation data     without nnU-Net
python -m benchmarks.training_peers --minutes 3 9 20             other times
python -m benchmarks.training_peers --quick                      does everything run?

MONAI, TorchIO and nnU-Net run in the peers' environment (`benchmarks.peers`). Both trainings have the same split of the
Medical Segmentation Decathlon's hippocampus, the same number of threads, and a learning rate that reaches zero at the
limit; planning and preprocessing are not in the time. nnU-Net's Dice comes from its own validation on the native grid,
which is the network's grid here (1 mm).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import peers, report
from benchmarks.ablation import HIPPOCAMPUS
from benchmarks.child import run_piece
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table
from benchmarks.settings import Settings

KEY = "training_peers"
PARTS = ("augmentation", "data", "nnunet")
_PATCH = [48, 64, 64]
_SPARE_S = 3600.0


def run(settings: Settings) -> Section:
    """All parts."""
    parts = PARTS if HIPPOCAMPUS.is_dir() else PARTS[:1]
    return section(parts, settings.choose((5.0, 15.0, 30.0), (0.3,)), settings)


def section(parts: Sequence[str], minutes: Sequence[float], settings: Settings) -> Section:
    """The tables of these parts."""
    conditions = Conditions.now()
    python = peers.make_for_training()
    tables, notes, data = [], [], {}
    if "augmentation" in parts:
        data["augmentation"] = augmentation(python, settings)
        tables.append(_augmentation_table(data["augmentation"]))
    if "data" in parts or "nnunet" in parts:
        with tempfile.TemporaryDirectory() as folder:
            data["trainings"] = trainings(Path(folder), python, minutes, settings, "nnunet" in parts)
        tables.append(_training_table(data["trainings"]))
        waited = max(row["data_wait"] for row in data["trainings"]["medai"].values())
        notes.append(f"MedAI's optimiser waited for data at most {100 * waited:.1f} % of any ten seconds (bar: 10 %).")
    text = "MedAI's augmentation works on whole batches in torch; the others go case by case. One process each."
    return Section(KEY, "Training", text, tuple(tables), conditions, tuple(notes), data)


def augmentation(python: Path, settings: Settings) -> dict[str, Any]:
    """Milliseconds per patch, of each library."""
    common = {"patch": _PATCH, "count": settings.choose(200, 5), "threads": settings.threads}
    pieces = "benchmarks.augmentation_pieces:"
    return {
        "MedAI": run_piece(f"{pieces}by_medai", {**common, "batch": 2}),
        "MONAI": run_piece(f"{pieces}by_monai", common, python),
        "TorchIO": run_piece(f"{pieces}by_torchio", common, python),
    }


def trainings(
    folder: Path, python: Path, minutes: Sequence[float], settings: Settings, with_nnunet: bool
) -> dict[str, Any]:
    """Figures of both at each time; the validation cases are those of MedAI's split."""
    cache, threads = folder / "cache", settings.threads
    run_piece("benchmarks.ablation:prepare", {"dataset": str(HIPPOCAMPUS), "cache": str(cache)})
    found: dict[str, Any] = {"medai": {}, "nnunet": {}}
    for limit in minutes:
        output = folder / f"medai-{limit:g}.medai"
        arguments = {"cache": str(cache), "output": str(output), "kind": "plain", "minutes": limit, "threads": threads}
        timeout_s = 60 * limit + _SPARE_S
        found["medai"][f"{limit:g}"] = run_piece("benchmarks.ablation:train", arguments, timeout_s=timeout_s)
        if not with_nnunet:
            continue
        peer = folder / "nnunet"
        if not peer.is_dir():
            validation = _validation_cases(output)
            about = {"dataset": str(HIPPOCAMPUS), "folder": str(peer), "validation": validation, "threads": threads}
            found["nnunet_prepared"] = run_piece("benchmarks.nnunet_training:prepare", about, python, _SPARE_S)
        about = {"folder": str(peer), "minutes": limit, "threads": threads}
        found["nnunet"][f"{limit:g}"] = run_piece("benchmarks.nnunet_training:train", about, python, timeout_s)
        print(
            json.dumps({name: found[name][f"{limit:g}"] for name in ("medai", "nnunet")}), file=sys.stderr, flush=True
        )
    return found


def _validation_cases(output: Path) -> list[str]:
    settings = json.loads((output.with_name(output.name + ".run") / "config.json").read_text(encoding="utf-8"))
    cases: list[str] = settings["validation_cases"]
    return cases


def _augmentation_table(figures: dict[str, Any]) -> Table:
    ours = figures["MedAI"]["ms_per_patch"]
    rows = [
        (name, f"{f['ms_per_patch']:.1f}", f"{f['cpu_ms_per_patch']:.1f}", f"{f['ms_per_patch'] / ours:.1f}")
        for name, f in figures.items()
    ]
    size = " x ".join(map(str, _PATCH))
    columns = ("library", "ms per patch", "processor ms", "times MedAI's")
    return Table(columns, tuple(rows), f"Augmentation of a patch of {size} voxels")


def _training_table(figures: dict[str, Any]) -> Table:
    rows = []
    for limit, ours in figures["medai"].items():
        rows.append((f"{limit} min", "MedAI", f"{ours['steps']:,}", f"{ours['dice']:.3f}", f"{ours['parameters']:,}"))
        if limit in figures["nnunet"]:
            peer = figures["nnunet"][limit]
            rows.append((f"{limit} min", "nnU-Net", f"{peer['steps']:,}", f"{peer['dice']:.3f}",
                         f"{peer['parameters']:,}"))  # fmt: skip
    return Table(("time", "by", "steps", "mean Dice", "parameters"), tuple(rows), "Hippocampus, equal wall time")


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.training_peers", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--minutes", type=float, nargs="+", default=(5.0, 15.0, 30.0))
    parser.add_argument("--quick", action="store_true", help="a fraction of a minute and few patches")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    settings = Settings(full=not options.quick)
    found = section(options.part, (0.3,) if options.quick else options.minutes, settings)
    report.show(found)
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
