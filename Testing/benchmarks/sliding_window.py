"""Comparison 1: one volume, one network, one patch and overlap; MONAI, nnU-Net's predictor, MedAI exact and fast."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import networks, peers, volumes
from benchmarks.child import FOLDER, run_piece, try_piece
from benchmarks.machine import Conditions, has_half_precision
from benchmarks.report import Section, Table, clock, seconds, times, verdict
from benchmarks.settings import Settings

KEY = "sliding_window"
WAYS = ("MONAI sliding_window_inference", "nnU-Net predictor", "MedAI exact", "MedAI fast")


def run(settings: Settings) -> Section:
    """Measure all ways in turn, `settings.rounds` times."""
    conditions = Conditions.now()
    shape = settings.choose(volumes.HEAD_SHAPE, (24, 40, 36))
    side = settings.choose(96, 32)
    package, training = tissue_network(settings, side)
    volume = volumes.saved_head(FOLDER / "volumes", shape, seed=7)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(settings.rounds):
        for way in WAYS:
            if way == "MedAI fast" and number and not has_half_precision():
                continue  # the same computation as exact
            found[way].append(_measure(way, volume, package, settings.threads))
    shape_of_tile = [1, 1, side, side, side]
    converting = try_piece("window_pieces:convert", {"package": str(package), "shape": shape_of_tile})
    figures = {way: _summary(runs) for way, runs in found.items()}
    by = clock(found)
    reference = np.load(_labels(WAYS[0]))
    rows = []
    for way in WAYS:
        f, labels = figures[way], np.load(_labels(way))
        rows.append(
            (
                f"{way} ({f['engine']})",
                seconds(f["seconds"]),
                seconds(f["cpu_s"]),
                times(f[by], figures[WAYS[0]][by]),
                f"{f['extra_mb']:.0f}",
                f"{f['warm_mb']:.0f}",
                times(f["extra_mb"], figures[WAYS[0]]["extra_mb"]),
                f"{np.mean(labels != reference):.1e}" if way != WAYS[0] else "-",
            )
        )
    columns = (
        "way",
        "s",
        "processor s",
        "faster than MONAI",
        "extra peak MB",
        "warm peak MB",
        "less than MONAI",
        "other labels than MONAI",
    )
    agreement, dices = _agreement()
    disagreement = float(np.mean(np.load(_labels("MedAI exact")) != reference))
    return Section(
        key=KEY,
        title=f"1. Sliding window: {'x'.join(map(str, shape[::-1]))}, {len(volumes.TISSUES) + 1} classes",
        text=(
            f"Same weights, volume, patch {side}x{side}x{side}, overlap 0.5, Gaussian, no mirroring, from image to "
            f"label map; medians of {settings.rounds} alternating rounds, each run in a process of its own. The "
            "network is a plain U-Net of 1.4 million weights that was trained for this comparison "
            f"({training}): the MNI152 head with pasted balls as lesions, five classes. It has seen this anatomy, so "
            "that nothing is said about its accuracy; its boundaries are those of a trained network. Extra memory is "
            "the peak over what is resident once libraries, weights and volume are loaded and a tiny block has been "
            "computed (so that the libraries' code is in memory), the engine's start in it; "
            "warm memory is that of the run alone, over an engine that has started (the peers: one tile computed). "
            "MedAI's time is that of a worker that has the model loaded; the first run after start is told below."
        ),
        tables=(Table(columns, tuple(rows)), agreement),
        conditions=conditions,
        notes=(*_notes(figures, disagreement, dices, by), _converting(converting)),
        data={"runs": found, "converting": converting, "dice_fast_exact": dices, "disagreement_exact": disagreement},
    )


def tissue_network(settings: Settings, side: int) -> tuple[Path, str]:
    """The package of the five-class network, trained where it is not there yet; and how it was trained."""
    phases = settings.choose([[150, 64, 2]], [[4, 32, 2]])
    steps = sum(phase[0] for phase in phases)
    package = FOLDER / "models" / f"tissues-{side}-{steps}"
    if not package.is_dir():
        channels = list(settings.choose(networks.PLAIN_CHANNELS, networks.SMALL_CHANNELS))
        arguments = {"folder": str(package), "patch": [side] * 3, "channels": channels, "phases": phases}
        run_piece("networks:train_tissues", arguments, timeout_s=3600)
    return package, f"{steps} steps, seeded"


def _converting(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "Converting the network was not measured."
    return (
        "Converting the network for OpenVINO happens once per model and computer, in a process of its own that is not "
        f"in the memory above: {figures['seconds']:.1f} s and {figures['extra_mb']:.0f} MB over its libraries, before "
        "the run's own memory is taken."
    )


def _measure(way: str, volume: Path, package: Path, threads: int) -> dict[str, Any]:
    common = {"volume": str(volume), "package": str(package), "threads": threads, "labels": str(_labels(way))}
    if way.startswith("MONAI"):
        return run_piece("window_pieces:by_monai", common, peers.make())
    if way.startswith("nnU-Net"):
        return run_piece("window_pieces:by_nnunet", common, peers.make())
    return run_piece("window_pieces:by_medai", {**common, "precision": way.split()[-1]})


def _labels(way: str) -> Path:
    return FOLDER / f"labels-{way.split()[0].lower()}-{way.split()[-1]}.npy"


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    middle = {key: median(run[key] for run in runs) for key in ("seconds", "cpu_s", "extra_mb", "warm_mb", "first_s")}
    return {**runs[-1], **middle}


def _agreement() -> tuple[Table, dict[str, float]]:
    """Dice of the other ways' labels against two references, per label; of fast against exact also as numbers."""
    labels = {way: np.load(_labels(way)) for way in WAYS}
    truth = volumes.head(labels[WAYS[0]].shape, seed=7)[1]
    pairs = {
        "MedAI fast against exact": ("MedAI fast", "MedAI exact"),
        "MedAI exact against MONAI": ("MedAI exact", WAYS[0]),
        "nnU-Net against MONAI": (WAYS[1], WAYS[0]),
    }
    rows, of_fast = [], {}
    for name, (a, b) in pairs.items():
        values = [_dice(labels[a] == n, labels[b] == n) for n in range(1, len(volumes.TISSUES) + 1)]
        if a == "MedAI fast":
            of_fast = dict(zip(volumes.TISSUES, values, strict=True))
        rows.append((name, *(f"{value:.5f}" for value in values)))
    for way in ("MedAI exact", "MedAI fast"):
        values = [_dice(labels[way] == n, truth == n) for n in range(1, len(volumes.TISSUES) + 1)]
        rows.append((f"{way} against the atlas", *(f"{value:.3f}" for value in values)))
    return Table(("Dice", *volumes.TISSUES), tuple(rows)), of_fast


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _notes(
    figures: dict[str, dict[str, Any]], disagreement: float, dices: dict[str, float], by: str
) -> tuple[str, ...]:
    monai, nnunet_, exact, fast = (figures[way] for way in WAYS)
    best = min(monai[by], nnunet_[by])
    worst = min(dices.values())
    least = min(monai["extra_mb"], nnunet_["extra_mb"])
    faster, smaller = best / exact[by], exact["extra_mb"] / least
    return (
        verdict("Bar exact at least 2x the faster peer", faster >= 2, f"{faster:.2f}x"),
        verdict("Bar disagreement with MONAI below 1e-4", disagreement < 1e-4, f"{disagreement:.1e}"),
        verdict("Bar extra memory at most a third of the leaner peer's", smaller <= 1 / 3, f"{smaller:.2f}"),
        verdict("Bar Dice(fast, exact) at least 0.99 per label", worst >= 0.99, f"{worst:.4f}"),
        f"Fast is {best / fast[by]:.1f}x the faster peer ({fast['engine']}); the bar of 4x is for processors "
        "with bfloat16. Without it fast is exact: fewer tiles would not keep the labels (with the shipped hippocampus "
        "model on a head, Dice 0.90 at an overlap of 0.4, 0.77 at 0.25).",
        f"First run after start, with converting and compiling the network where its cache is empty: exact "
        f"{exact['first_s']:.1f} s, fast {fast['first_s']:.1f} s.",
        "nnU-Net spreads its tiles evenly instead of letting the last one overlap more, and sums in float16: hence its "
        "disagreement.",
    )
