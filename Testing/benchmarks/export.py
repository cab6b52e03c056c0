"""Comparison 2: logits to labels at the image's spacing, against nnU-Net's export."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.child import FOLDER, run_piece
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table, clock, seconds, times, verdict
from benchmarks.settings import Settings

KEY = "export"
# Of the 100 classes the peer gets a slab of this part of the volume; its figures are multiplied.
_PART = 10
_KEYS = ("seconds", "cpu_s", "extra_mb")


def run(settings: Settings) -> Section:
    """Measure both ways at 5 and 100 classes; the peer at 100 on a tenth of the volume."""
    conditions = Conditions.now()
    source = settings.choose([200, 256, 256], [20, 32, 32])
    target = settings.choose([300, 512, 512], [30, 64, 64])
    common = {"source": source, "target": target, "threads": settings.threads}
    five: dict[str, list[dict[str, Any]]] = {"nnunet": [], "medai": []}
    for _ in range(settings.rounds):
        for way, python in (("nnunet", peers.make()), ("medai", None)):
            task = {**common, "classes": 5, "labels": str(_labels(way))}
            five[way].append(run_piece(f"export_pieces:by_{way}", task, python))
    run_piece("export_pieces:bare_interpolation", {**common, "classes": 5, "labels": str(_labels("bare"))})
    differs = {way: float(np.mean(np.load(_labels(way)) != np.load(_labels("bare")))) for way in five}
    many = run_piece("export_pieces:by_medai", {**common, "classes": 100})
    part = {
        **common,
        "classes": 100,
        "source": [source[0] // _PART, *source[1:]],
        "target": [target[0] // _PART, *target[1:]],
    }
    slab = run_piece("export_pieces:by_nnunet", part, peers.make())
    peer, ours = (_middle(five[way]) for way in ("nnunet", "medai"))
    scaled = {key: slab[key] * _PART for key in _KEYS}
    by = clock([five, many, slab])
    rows = (
        _row("5 classes, nnU-Net's export", peer, peer, by, differs["nnunet"]),
        _row("5 classes, MedAI", ours, peer, by, differs["medai"]),
        _row(f"100 classes, nnU-Net's export (computed: {_PART}x a tenth of the volume)", scaled, scaled, by),
        _row("100 classes, MedAI", many, scaled, by),
    )
    columns = ("what", "s", "processor s", "faster", "extra peak MB", "less", "other labels than torch")
    shapes = " to ".join("x".join(map(str, shape[::-1])) for shape in (source, target))
    return Section(
        key=KEY,
        title="2. Logits to labels on the image's grid",
        text=(
            f"Smooth random float16 logits, {shapes}, to a uint8 label map: nnU-Net's "
            "`convert_predicted_logits_to_segmentation_with_correct_shape` with its default resampling against "
            "`medai.preprocessing.invert_logits`. Extra memory is the peak over the logits themselves. The last column "
            "counts labels that differ from torch's trilinear interpolation in float32 of the whole volume."
        ),
        tables=(Table(columns, rows),),
        conditions=conditions,
        notes=_notes(peer, ours, many, scaled, by),
        data={"five": five, "many": many, "slab": slab, "differs": differs},
    )


def _labels(way: str) -> Path:
    return FOLDER / f"labels-export-{way}.npy"


def _middle(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in _KEYS}


def _row(
    name: str, figures: dict[str, float], peer: dict[str, float], by: str, differs: float | None = None
) -> tuple[str, ...]:
    faster, less = ("-", "-") if figures is peer else (times(figures[key], peer[key]) for key in (by, "extra_mb"))
    share = "not compared" if differs is None else f"{differs:.1e}"
    clocks = (seconds(figures["seconds"]), seconds(figures["cpu_s"]))
    return name, *clocks, faster, f"{figures['extra_mb']:.0f}", less, share


def _notes(
    peer: dict[str, float], ours: dict[str, float], many: dict[str, float], scaled: dict[str, float], by: str
) -> tuple[str, ...]:
    faster, smaller = peer[by] / ours[by], ours["extra_mb"] / peer["extra_mb"]
    return (
        verdict("Bar 5 classes at least 15x faster", faster >= 15, f"{faster:.1f}x"),
        verdict("Bar 5 classes at most a sixth of the memory", smaller <= 1 / 6, f"{smaller:.2f}"),
        verdict(
            "Bar 100 classes at most 300 MB over the logits", many["extra_mb"] <= 300, f"{many['extra_mb']:.0f} MB"
        ),
        f"The peer's 100 classes need about {scaled['extra_mb'] / 1024:.0f} GiB over the logits: measured on "
        "a tenth of the volume (its time and memory grow with the voxels) and would not fit most computers.",
    )
