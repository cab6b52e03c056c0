"""Comparison 5: how time and memory grow with the volume and with the number of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks, peers
from benchmarks.child import FOLDER, try_piece
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table, clock, seconds, times, verdict
from benchmarks.settings import Settings

KEY = "growth"
_SPACING_MM = (1.0, 1.0, 1.0)


def run(settings: Settings) -> Section:
    """Measure MONAI and MedAI exact on growing cubes with 5 classes, and on one cube with growing classes."""
    conditions = Conditions.now()
    tile = settings.choose(96, 16)
    sides = settings.choose((64, 128, 256, 384), (16, 24))
    classes = settings.choose((2, 10, 50, 100), (2, 10))
    cube = settings.choose(192, 24)
    by_side = {str(side): _pair(side, 5, tile, settings) for side in sides}
    by_classes = {str(n): _pair(cube, n, tile, settings) for n in classes}
    by = clock([by_side, by_classes])
    columns = (
        "MONAI s",
        "MedAI s",
        "MONAI processor s",
        "MedAI processor s",
        "faster",
        "MONAI extra MB",
        "MedAI extra MB",
        "less",
        "estimate MB",
    )
    return Section(
        key=KEY,
        title="5. Growth with volume and classes",
        text=(
            "MONAI's `sliding_window_inference` with argmax against `medai.segment` (exact): tiles of "
            f"{tile}x{tile}x{tile}, overlap 0.5, a U-Net of three stages with one convolution each (8, 16, 32 "
            "channels; untrained: time and memory do not depend on the weights). One run each, MedAI with the start of "
            "its engine in the time. The network is so small that the work around it shows; the estimate is what "
            "MedAI tells before the run."
        ),
        tables=(
            Table(("cube", *columns), tuple(_row(f"{side}^3", p, by) for side, p in by_side.items()), "5 classes"),
            Table(("classes", *columns), tuple(_row(n, p, by) for n, p in by_classes.items()), f"{cube}^3 voxels"),
        ),
        conditions=conditions,
        notes=(_estimates({**by_side, **{f"classes {n}": p for n, p in by_classes.items()}}),),
        data={"sides": by_side, "classes": by_classes},
    )


def _pair(side: int, classes: int, tile: int, settings: Settings) -> dict[str, Any]:
    package = networks.untrained(FOLDER / "models", classes, (tile,) * 3, _SPACING_MM)
    common = {"volume": str(_noise(side)), "package": str(package), "threads": settings.threads}
    return {
        "monai": try_piece("window_pieces:by_monai", common, peers.make()),
        "medai": try_piece("window_pieces:by_medai", {**common, "warm": False}),
    }


def _noise(side: int) -> Path:
    path = FOLDER / "volumes" / f"noise-{side}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(side).standard_normal((side, side, side), np.float32))
    return path


def _row(name: str, pair: dict[str, Any], by: str) -> tuple[str, ...]:
    peer, ours = pair["monai"], pair["medai"]
    both = peer is not None and ours is not None
    return (
        name,
        *(seconds(f[key]) if f else "failed" for key in ("seconds", "cpu_s") for f in (peer, ours)),
        times(ours[by], peer[by]) if both else "-",
        *(f"{f['extra_mb']:.0f}" if f else "failed" for f in (peer, ours)),
        times(ours["extra_mb"], peer["extra_mb"]) if both else "-",
        f"{ours['estimate_mb']:.0f}" if ours else "failed",
    )


def _estimates(pairs: dict[str, Any]) -> str:
    runs = {name: pair["medai"] for name, pair in pairs.items() if pair["medai"] is not None}
    off = {name: run["estimate_mb"] / run["extra_mb"] - 1 for name, run in runs.items()}
    within = sum(abs(value) <= 0.25 for value in off.values())
    texts = ", ".join(f"{name} {value:+.0%}" for name, value in off.items())
    return verdict(
        "Bar estimate within 25 % of the measured peak", within == len(off) > 0, f"{within} of {len(off)}: {texts}"
    )
