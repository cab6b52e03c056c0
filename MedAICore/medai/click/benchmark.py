"""How many clicks a structure takes: simulated clicks on labelled images, and classic tools on the same clicks."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medai.click.model import LoadedClickModel
from medai.click.peers import PeerFactory, available_peers
from medai.click.prepare import FEWEST_VOXELS, objects_of
from medai.click.session import ClickSession
from medai.click.simulation import SimulatedClick, next_click
from medai.errors import GeometryError, InputError
from medai.image import Image
from medai.metrics import dice, nsd
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled, never_cancelled, no_progress

_SHOWN = (1, 3, 5, 10)
_GOALS = (0.80, 0.85, 0.90)
_TOLERANCE_MM = 2.0
Bools = npt.NDArray[np.bool_]


def run(
    image: Image,
    labels: Image,
    model: LoadedClickModel | None,
    clicks: int = 10,
    peers: bool = False,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> dict[str, Any]:
    """Click on every label value of `labels` (at least 50 voxels) as an object of its own; the JSON object.

    `mean` averages the objects; an object that does not reach a Dice within `clicks` counts with `clicks` + 1 there.
    With `peers` there is a mean per classic tool, under its name, too. Raises InputError and GeometryError.
    """
    if clicks < 1:
        raise InputError(f"{clicks} clicks.", "Give 1 or more.")
    if not image.same_grid(labels, 0.05):
        raise GeometryError(
            f"'{labels.name}' does not lie on the grid of '{image.name}'.", "Resample the label map to the image."
        )
    values = labels.channel(0)
    # Values may be large numbers; what counts is which are there.
    found, numbers = np.unique(values, return_inverse=True)
    first = 0 if found[0] == 0 else 1
    targets = objects_of((numbers.reshape(values.shape) + first).astype(np.uint16))
    if not targets:
        raise InputError(f"'{labels.name}' has no label of {FEWEST_VOXELS} voxels.", "Give a label map with an object.")
    session = ClickSession.open(image, model, cancelled)
    tools, notes = available_peers() if peers else ({}, [])
    objects = []
    for number, target in enumerate(targets):
        check_cancelled(cancelled)
        progress(Progress(number / len(targets), f"Object {number + 1} of {len(targets)}"))
        value = int(found[target.value - first])
        truth = values == value
        session.reset()
        results, made = _click_on(session, truth, clicks, cancelled)
        entry = {"label": value, "voxels": target.voxels, **_figures(results, clicks)}
        if tools:
            entry["peers"] = _peer_figures(tools, image, truth, made, clicks, cancelled)
        objects.append(entry)
    report: dict[str, Any] = {"engine": session.engine, "objects": objects, "mean": _mean(objects, clicks)}
    if tools:
        report["peers"] = {name: _mean([entry["peers"][name] for entry in objects], clicks) for name in tools}
    report["warnings"] = [*session.warnings, *notes]
    return report


class _Results:
    """Dice, surface Dice and seconds after each click."""

    def __init__(self, truth: Bools, spacing_mm: tuple[float, float, float]) -> None:
        self._truth, self._spacing = truth, spacing_mm
        self.dice: list[float] = []
        self.nsd: list[float] = []
        self.seconds: list[float] = []

    def add(self, mask: Bools, seconds: float) -> None:
        """The mask after one more click."""
        self.dice.append(dice(self._truth, mask))
        shown = len(self.dice) in _SHOWN
        self.nsd.append(nsd(self._truth, mask, self._spacing, _TOLERANCE_MM) if shown else math.nan)
        self.seconds.append(seconds)


def _click_on(
    session: ClickSession, truth: Bools, clicks: int, cancelled: CancelCheck
) -> tuple[_Results, list[SimulatedClick]]:
    """The results of `clicks` simulated clicks, and the clicks; fewer where nothing is wrong any more."""
    spacing = session.image.spacing_mm
    results, made = _Results(truth, spacing), []
    for _ in range(clicks):
        click = next_click(truth, session.mask > 0, spacing)
        if click is None:
            break
        started = time.perf_counter()
        session.prompt(click.prompt(session.image), cancelled)
        results.add(session.mask > 0, time.perf_counter() - started)
        made.append(click)
    return results, made


def _peer_figures(
    tools: Mapping[str, PeerFactory],
    image: Image,
    truth: Bools,
    made: Sequence[SimulatedClick],
    clicks: int,
    cancelled: CancelCheck,
) -> dict[str, Any]:
    """The same clicks for the classic tools; each is asked after every click."""
    figures = {}
    for name, factory in tools.items():
        tool = factory(image)
        results = _Results(truth, image.spacing_mm)
        for count in range(1, len(made) + 1):
            check_cancelled(cancelled)
            started = time.perf_counter()
            mask = tool(made[:count])
            results.add(mask, time.perf_counter() - started)
        figures[name] = _figures(results, clicks)
    return figures


def _figures(results: _Results, clicks: int) -> dict[str, Any]:
    """The figures of one object; after the last click that was needed they stay as they are."""
    last = len(results.dice)
    scores = results.dice + [results.dice[-1]] * (clicks - last)
    shown = [n for n in _SHOWN if n <= clicks]
    surface = {n: results.nsd[n - 1] if n <= last else 1.0 for n in shown}
    first_five = scores[:5]
    return {
        "dice": {str(n): round(scores[n - 1], 4) for n in shown},
        "dice_auc5": round(float(np.trapezoid(first_five)), 4) if clicks >= 5 else None,
        "nsd2mm": {str(n): round(surface[n], 4) for n in shown},
        "clicks_to": {
            f"{goal:.2f}": next((n for n, score in enumerate(scores, start=1) if score >= goal), None)
            for goal in _GOALS
        },
        "seconds_median": round(float(np.median(results.seconds)), 4),
        "seconds_p95": round(float(np.percentile(results.seconds, 95)), 4),
    }


def _mean(entries: Sequence[Mapping[str, Any]], clicks: int) -> dict[str, Any]:
    """Every figure's mean over the objects."""

    def mean(values: Sequence[float | None]) -> float | None:
        numbers = [value for value in values if value is not None and math.isfinite(value)]
        return round(float(np.mean(numbers)), 4) if numbers else None

    first = entries[0]
    result: dict[str, Any] = {
        key: {name: mean([entry[key][name] for entry in entries]) for name in first[key]} for key in ("dice", "nsd2mm")
    }
    result["dice_auc5"] = mean([entry["dice_auc5"] for entry in entries])
    result["clicks_to"] = {
        goal: mean([clicks + 1 if entry["clicks_to"][goal] is None else entry["clicks_to"][goal] for entry in entries])
        for goal in first["clicks_to"]
    }
    for key in ("seconds_median", "seconds_p95"):
        result[key] = mean([entry[key] for entry in entries])
    return result
