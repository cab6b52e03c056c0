"""What the U-Net's blocks are worth at equal time, and dynamic convolution where only time helps.

python -m benchmarks.ablation --minutes 10                       four kinds of blocks on hippocampus, 10 minutes each
python -m benchmarks.ablation --part moving --minutes 3          one frame, three as channels, three in time
python -m benchmarks.ablation --quick                            does everything run? Half a minute a training
python -m benchmarks --only ablation                             both, kept for docs/benchmarks.md

Each training is `medai train` in a process of its own: same split, preset, seed and threads, the learning rate falling
to zero at the limit. The cases are those of the split's validation part.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.child import REPOSITORY, BenchmarkError, run_piece
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table
from benchmarks.settings import Settings

KEY = "ablation"
HIPPOCAMPUS = REPOSITORY.parent / "shared" / "data" / "msd_hippocampus"
BLOCKS = ("plain", "residual", "separable", "multiscale_attention")
ARMS = (
    ("one frame, plain", 1, "plain"),
    ("one frame, dynamic", 1, "dynamic"),
    ("three frames as channels, plain", 3, "plain"),
    ("three frames in time, dynamic", 3, "dynamic"),
)
_MANY_STEPS = 1_000_000  # the time ends the runs
_SPARE_S = 1800.0
_MOVING_CASES = 60
_SMALL = (16, 4)  # width and depth: discs of ten pixels need no more, and the time is for steps


def run(settings: Settings) -> Section:
    """Both tables."""
    minutes, moving_minutes = settings.choose(10.0, 0.4), settings.choose(3.0, 0.4)
    parts = ("blocks", "moving") if HIPPOCAMPUS.is_dir() else ("moving",)
    return section(parts, minutes, moving_minutes, settings.threads)


def section(parts: tuple[str, ...], minutes: float, moving_minutes: float, threads: int) -> Section:
    """The tables of these parts."""
    conditions = Conditions.now()
    tables, data = [], {}
    with tempfile.TemporaryDirectory() as folder:
        if "blocks" in parts:
            data["blocks"] = blocks(Path(folder), minutes, threads)
            tables.append(_table("Hippocampus, the same minutes for every kind of block", data["blocks"], minutes))
        if "moving" in parts:
            data["moving"] = moving(Path(folder), moving_minutes, threads)
            tables.append(_table("One of four equal discs moves: which?", data["moving"], moving_minutes))
    text = (
        "The same U-Net, split, preset and seed with other blocks, each for the same time. Dice is the mean over the "
        "validation cases; a step is one batch."
    )
    return Section(KEY, "Blocks of the network", text, tuple(tables), conditions, data=data)


def blocks(folder: Path, minutes: float, threads: int) -> dict[str, Any]:
    """Figures by kind of block, on the Medical Segmentation Decathlon's hippocampus."""
    cache = folder / "hippocampus"
    run_piece("benchmarks.ablation:prepare", {"dataset": str(HIPPOCAMPUS), "cache": str(cache)})
    return {name: _trained(cache, folder, name, minutes, threads) for name in BLOCKS}


def moving(folder: Path, minutes: float, threads: int) -> dict[str, Any]:
    """Figures by arm, on sequences in which only the movement tells which disc is meant."""
    from benchmarks import moving as data

    for frames in (1, 3):
        data.write(folder / f"moving-{frames}", _MOVING_CASES, frames)
    return {
        name: _trained(folder / f"moving-{frames}", folder, kind, minutes, threads, name, _SMALL)
        for name, frames, kind in ARMS
    }


def _trained(
    cache: Path,
    folder: Path,
    kind: str,
    minutes: float,
    threads: int,
    name: str = "",
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    output = folder / f"{(name or kind).replace(' ', '-').replace(',', '')}.medai"
    arguments: dict[str, Any] = {"cache": str(cache), "output": str(output), "kind": kind, "minutes": minutes}
    arguments |= {"threads": threads, "size": size}
    figures: dict[str, Any] = run_piece("benchmarks.ablation:train", arguments, timeout_s=60 * minutes + _SPARE_S)
    print(json.dumps({name or kind: figures}), file=sys.stderr, flush=True)
    return figures


def prepare(dataset: str, cache: str) -> dict[str, Any]:
    """Piece: prepare the data set."""
    from medai.dataset.prepare import prepare as use_case

    return {"cases": len(use_case(Path(dataset), Path(cache)).card.cases)}


def train(
    cache: str, output: str, kind: str, minutes: float, threads: int, size: list[int] | None = None
) -> dict[str, Any]:
    """Piece: train for so long; parameters, seconds per step, Dice by label. `size`: width and depth of choice."""
    import torch

    from medai import train as use_case
    from medai.config.training import TrainConfig
    from medai.models import open_model
    from medai.training import RunFolder

    torch.set_num_threads(threads)
    config = TrainConfig(
        dataset=cache, output=output, preset="standard", device="cpu", seed=0, max_minutes=minutes, steps=_MANY_STEPS,
        blocks=kind,  # type: ignore[arg-type]
        width=size[0] if size else None, depth=size[1] if size else None,
    )  # fmt: skip
    result = use_case.run(config)
    if result.output is None:
        raise BenchmarkError(f"The training of {kind} was stopped after {result.steps} steps.")
    steps = [event for event in RunFolder(result.run_folder).events() if event["event"] == "step"]
    weights = open_model(Path(output)).weights(0)
    spent = sum((e["step"] - e["from_step"]) for e in steps)
    samples = sum((e["step"] - e["from_step"]) / e["samples_per_s"] for e in steps if e["samples_per_s"])
    batch = RunFolder(result.run_folder).read_settings().batch_size
    return {
        "parameters": sum(t.numel() for t in weights.values()),
        "steps": result.steps,
        "seconds_per_step": samples * batch / max(spent, 1),
        "data_wait": max((e["data_wait"] for e in steps), default=0.0),
        "dice": result.mean_dice,
        "labels": {name: kinds["dice"] for name, kinds in result.metrics.items()},
        "minutes": result.minutes,
    }


def _table(title: str, figures: dict[str, Any], minutes: float) -> Table:
    rows = [
        (
            name.replace("_", " "),
            f"{f['parameters']:,}",
            f"{f['seconds_per_step']:.3f}",
            f"{f['steps']:,}",
            f"{f['dice']:.3f}",
            ", ".join(f"{label} {dice:.3f}" for label, dice in f["labels"].items()),
        )
        for name, f in figures.items()
    ]
    columns = ("blocks", "parameters", "seconds per step", "steps", "mean Dice", "by label")
    return Table(columns, tuple(rows), f"{title} ({minutes:g} minutes each)")


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("blocks", "moving"), nargs="+", default=("blocks", "moving"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--threads", type=int, default=Settings().threads)
    parser.add_argument("--quick", action="store_true", help="half a minute each")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    minutes = 0.5 if options.quick else options.minutes
    found = section(tuple(options.part), minutes, minutes, options.threads)
    report.show(found)
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
