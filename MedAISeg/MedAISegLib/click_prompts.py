"""What a person placed in the views, in world coordinates, and the same for the worker, in the volume's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from slicer.i18n import tr as _

from medai.config.requests import Prompt
from medai.errors import InputError
from medai.mrml.regions import roi_of_corners
from medai.mrml.transforms import transform_between

PromptKind = Literal["point", "box", "scribble", "lasso"]


@dataclass(frozen=True)
class PlacedPrompt:
    """One hint in world coordinates (RAS mm), so with every transform applied.

    `points`: of a point, line or polygon; the eight corners of a box, in the order of `boxCorners`.
    """

    kind: PromptKind
    positive: bool
    points: tuple[tuple[float, float, float], ...]
    radiusMm: float = 0.0


def boxCorners(center, sides) -> tuple[tuple[float, float, float], ...]:
    """The eight corners of a box from its centre and its three side vectors (world mm)."""
    half = [np.asarray(side, float) / 2 for side in sides]
    signs = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    corners = [np.asarray(center, float) + a * half[0] + b * half[1] + c * half[2] for a, b, c in signs]
    return tuple((float(x), float(y), float(z)) for x, y, z in corners)


def boxOfRoi(roiNode: Any) -> tuple[tuple[float, float, float], ...]:
    """The eight world corners of a markups ROI."""
    matrix = roiNode.GetObjectToWorldMatrix()
    columns = [np.array([matrix.GetElement(row, column) for row in range(3)]) for column in range(4)]
    sides = [axis * size for axis, size in zip(columns[:3], roiNode.GetSize(), strict=True)]
    return boxCorners(columns[3], sides)


def promptInVolume(placed: PlacedPrompt, volume: Any) -> Prompt:
    """The prompt for the worker: the volume's parent transforms, linear or not, are taken off.

    Raises InputError where a coordinate is no number, or where the transforms cannot be inverted there.
    """
    points = np.array(placed.points, float).reshape(-1, 3)
    _checkFinite(points, _("was placed at a point that is no number"))
    between = transform_between(None, volume)
    moved = np.array([between.TransformPoint(point) for point in points]).reshape(-1, 3)
    _checkFinite(moved, _("lies where the volume's transform cannot be inverted"))
    if placed.kind == "box":
        return Prompt("box", placed.positive, roi=roi_of_corners(moved))
    found = tuple((float(x), float(y), float(z)) for x, y, z in moved)
    radius = placed.radiusMm * _scaleAt(between, points[0]) if placed.radiusMm else 0.0
    return Prompt(placed.kind, placed.positive, found, radius_mm=radius)


def thinned(points: list, distanceMm: float, most: int) -> tuple[tuple[float, float, float], ...]:
    """The points of a drawn line without those nearer than `distanceMm` to the one before; at most `most` of them."""
    kept = [points[0]]
    for point in points[1:]:
        if np.linalg.norm(np.subtract(point, kept[-1])) >= distanceMm:
            kept.append(point)
    if len(kept) > most:
        kept = [kept[round(n)] for n in np.linspace(0, len(kept) - 1, most)]
    return tuple((float(x), float(y), float(z)) for x, y, z in kept)


def _scaleAt(transform: Any, point: np.ndarray) -> float:
    """How much longer a millimetre becomes under the transform near a point, as the mean over the directions."""
    origin = np.array(transform.TransformPoint(point))
    ends = [np.array(transform.TransformPoint(point + step)) for step in np.eye(3)]
    return float(np.mean([np.linalg.norm(end - origin) for end in ends]))


def _checkFinite(points: np.ndarray, what: str) -> None:
    if points.size == 0 or not np.isfinite(points).all():
        wrong = points[~np.isfinite(points).all(axis=1)][:1].tolist() if points.size else []
        raise InputError(
            _("The prompt {what}: {place}.").format(what=what, place=wrong), _("Place it on the volume again.")
        )
