"""Comparison 3: image to labels with 100 classes on a large volume; does it fit a laptop?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks import networks, volumes
from benchmarks.child import FOLDER, run_piece
from benchmarks.machine import Conditions, has_half_precision
from benchmarks.report import Section, Table, seconds, verdict
from benchmarks.settings import Settings

KEY = "end_to_end"
_CLASSES = 100
_BAR_MB = 2.5 * 1024


def run(settings: Settings) -> Section:
    """Measure exact and fast."""
    conditions = Conditions.now()
    shape = settings.choose((300, 512, 512), (30, 48, 48))
    spacing_mm = [1.0, 0.75, 0.75]
    sides = settings.choose((64,), (16,))
    volume = volumes.saved_head(FOLDER / "volumes", shape, seed=7)
    runs: dict[str, dict[str, Any]] = {}
    for side in sides:
        package = networks.untrained(FOLDER / "models", _CLASSES, (side,) * 3, (1.5, 1.5, 1.5))
        for precision in ("exact", "fast") if has_half_precision() else ("exact",):
            runs[f"{precision}, tiles of {side}"] = _measure(volume, package, spacing_mm, precision, settings)
    at_model = [round(n * s / 1.5) for n, s in zip(shape, spacing_mm, strict=True)]
    peer = _peer_mb(shape, at_model)
    rows = [
        (
            f"MedAI {name}",
            f["engine"],
            seconds(f["seconds"]),
            seconds(f["cpu_s"]),
            f"{f['extra_mb']:.0f}",
            f"{f['estimate_mb']:.0f}",
        )
        for name, f in runs.items()
    ]
    rows.append(("nnU-Net predictor and export", "-", "not run", "-", f"{sum(peer.values()):.0f} (computed)", "-"))
    worst = max(f["extra_mb"] for name, f in runs.items() if f"of {sides[0]}" in name)
    parts = "; ".join(f"{name} {value / 1024:.1f} GiB" for name, value in peer.items())
    return Section(
        key=KEY,
        title=f"3. End to end: {'x'.join(map(str, shape[::-1]))}, {_CLASSES} classes, model at 1.5 mm",
        text=(
            "From the image to the label map on its grid by `medai.segment`, a U-Net of three stages (8, 16, 32 "
            "channels) with untrained weights, on which time and memory do not depend. Extra memory is the peak over "
            "the loaded model, libraries and image. Runs start cold: converting and compiling the network is in "
            "the time."
        ),
        tables=(Table(("way", "engine", "s", "processor s", "extra peak MB", "estimate before MB"), tuple(rows)),),
        conditions=conditions,
        notes=(
            verdict(f"Bar 2.5 GB with tiles of {sides[0]}", worst <= _BAR_MB, f"{worst / 1024:.2f} GiB"),
            *(() if has_half_precision() else ("Fast is exact here: this processor has no fast half precision.",)),
            f"The peer's figure is computed from its sources, since it would not fit: {parts}; its tile's activations "
            "and the process's own copies come on top.",
        ),
        data={"runs": runs, "peer_mb": peer},
    )


def _measure(
    volume: Path, package: Path, spacing_mm: list[float], precision: str, settings: Settings
) -> dict[str, Any]:
    arguments = {"volume": str(volume), "package": str(package), "threads": settings.threads, "precision": precision}
    return run_piece("window_pieces:by_medai", {**arguments, "spacing_mm": spacing_mm, "warm": False})


def _peer_mb(shape: tuple[int, ...], at_model: list[int]) -> dict[str, float]:
    """What nnU-Net holds at its peak, the export: its arrays of classes times volume, MiB."""
    low, high = math.prod(at_model), math.prod(shape)
    return {
        "logits in float16": _CLASSES * low * 2 / 2**20,
        "their copy in float64 for skimage": _CLASSES * low * 8 / 2**20,
        "resampled logits in float16": _CLASSES * high * 2 / 2**20,
    }
