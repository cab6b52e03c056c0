"""Prompts of a person, checked against an image and drawn on the grid of an engine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medai.click.grid import Doubles, Floats, Grid
from medai.config.requests import Prompt
from medai.errors import InputError
from medai.image import Image
from medai.networks.click_channels import CLICK_SIGMA, stamp_ball

MOST_POINTS = 2000
"""Points that one prompt may have; a scribble across a whole head needs some hundreds."""
MOST_PROMPTS = 1000
_SAME_PLACE_VOXELS = 0.5
_STEPS = 64  # places are kept in 64ths of a voxel


@dataclass(frozen=True, eq=False)
class Placed:
    """A prompt in voxels of its image: `points` (n, 3) along (k, j, i).

    `corners` (8, 3) and `inverse` are there for a box: `inverse` takes (k, j, i, 1) to -0.5..0.5 along its own axes.
    """

    kind: str
    positive: bool
    points: Doubles
    radius_mm: float = 0.0
    inverse: Doubles | None = None

    @property
    def low(self) -> Doubles:
        """Smallest (k, j, i)."""
        corner: Doubles = self.points.min(axis=0)
        return corner

    @property
    def high(self) -> Doubles:
        """Largest (k, j, i)."""
        corner: Doubles = self.points.max(axis=0)
        return corner


@dataclass(frozen=True, eq=False)
class PromptMaps:
    """Prompts on a grid, (size, size, size), float32: `positive`, `negative` are balls of 0..1, `region` is 1 inside
    of a positive box or lasso, -1 inside of a negative one. `allowed` is False where no mask may be.
    """

    positive: Floats
    negative: Floats
    region: Floats
    allowed: npt.NDArray[np.bool_]


def place(prompt: Prompt, image: Image, earlier: Sequence[Placed] = ()) -> Placed:
    """`prompt` in voxels of `image`. Raises InputError: not finite, outside, too many points, contradicting."""
    if len(prompt.points_ras) > MOST_POINTS:
        raise InputError(
            f"A {prompt.kind} prompt has {len(prompt.points_ras)} points.", f"Give at most {MOST_POINTS} points."
        )
    if len(earlier) >= MOST_PROMPTS:
        raise InputError(f"The session has {len(earlier)} prompts.", "Accept the segment, and start the next one.")
    ras = prompt.roi.corners_ras() if prompt.roi is not None else np.asarray(prompt.points_ras, np.float64)
    if not np.isfinite(ras).all() or not np.isfinite(prompt.radius_mm) or prompt.radius_mm < 0:
        raise InputError(
            f"A {prompt.kind} prompt has a place or radius that is no number: {_short(ras)}, {prompt.radius_mm} mm.",
            "Place it on the image again.",
        )
    points = _to_kji(ras, image)
    _check_inside(prompt, points, ras, image)
    inverse = None
    if prompt.roi is not None:
        axes = np.array(prompt.roi.axes, np.float64).reshape(3, 3) * np.asarray(prompt.roi.size_mm)
        unit_to_ras = np.eye(4)
        unit_to_ras[:3, :3], unit_to_ras[:3, 3] = axes, prompt.roi.center_ras
        kji_to_ijk = np.eye(4)[[2, 1, 0, 3]]
        inverse = np.linalg.inv(unit_to_ras) @ image.ijk_to_ras @ kji_to_ijk
    placed = Placed(prompt.kind, prompt.positive, points, prompt.radius_mm, inverse)
    _check_no_contradiction(placed, earlier, ras)
    return placed


def _to_kji(ras: Doubles, image: Image) -> Doubles:
    ijk = np.c_[ras, np.ones(len(ras))] @ np.linalg.inv(image.ijk_to_ras).T
    # Rounded, so that the same click by another way (a transform and back, a text) is the same to the last bit.
    kji: Doubles = np.round(ijk[:, 2::-1] * _STEPS) / _STEPS
    return kji


def _check_inside(prompt: Prompt, points: Doubles, ras: Doubles, image: Image) -> None:
    shape = np.array(image.shape)
    inside = ((points >= -0.5) & (points <= shape - 0.5)).all(axis=1)
    # A box may reach beyond the image, and so may a lasso drawn around something at its border.
    if prompt.kind in ("box", "lasso"):
        fits = bool((points.max(axis=0) >= -0.5).all() and (points.min(axis=0) <= shape - 0.5).all())
    else:
        fits = bool(inside.all())
    if not fits:
        worst = ras[int(np.argmin(inside))]
        raise InputError(
            f"The {prompt.kind} at {tuple(round(float(c), 1) for c in worst)} mm (RAS) lies outside of "
            f"image '{image.name}'.",
            "Place it on the image.",
        )


def _check_no_contradiction(placed: Placed, earlier: Sequence[Placed], ras: Doubles) -> None:
    if placed.kind != "point":
        return
    for other in earlier:
        if other.kind != "point" or other.positive == placed.positive:
            continue
        if np.abs(other.points[0] - placed.points[0]).max() < _SAME_PLACE_VOXELS:
            kinds = ("positive", "negative") if placed.positive else ("negative", "positive")
            raise InputError(
                f"The {kinds[0]} point at {tuple(round(float(c), 1) for c in ras[0])} mm lies on a {kinds[1]} one.",
                "Undo the earlier point first, or place this one beside it.",
            )


def _short(ras: Doubles) -> str:
    wrong = ras[~np.isfinite(ras).all(axis=1)]
    return str((wrong if len(wrong) else ras)[0].tolist())


def draw(prompts: Sequence[Placed], grid: Grid) -> PromptMaps:
    """All prompts on `grid`, later regions over earlier ones."""
    shape = (grid.size,) * 3
    positive, negative, region = (np.zeros(shape, np.float32) for _ in range(3))
    allowed = np.ones(shape, bool)
    for prompt in prompts:
        if prompt.kind in ("point", "scribble"):
            target = positive if prompt.positive else negative
            centers = grid.to_grid(_dense(prompt.points, grid))
            stamp(target, centers, max(CLICK_SIGMA, prompt.radius_mm / grid.voxel_mm / 2))
        elif prompt.kind == "box":
            inside = _in_box(prompt, grid)
            region[inside] = 1.0 if prompt.positive else -1.0
            allowed &= inside if prompt.positive else ~inside
        else:
            inside, plane = in_lasso(prompt, grid)
            region[inside] = 1.0 if prompt.positive else -1.0
            if not prompt.positive:
                allowed &= ~inside
            else:
                # In the plane that was drawn in, the outline is meant.
                allowed &= inside | ~plane
    return PromptMaps(positive, negative, region, allowed)


def stamp(target: Floats, centers: Doubles, sigma: float) -> None:
    """Draw balls of height 1 at `centers` (n, 3) into `target`, in place."""
    shared = torch.from_numpy(target)
    # A cube is often centred on a click, which then lies on the corner of eight voxels: always take the same one.
    for center in np.unique(np.floor(centers + 0.5 + 1e-4).astype(int), axis=0):
        stamp_ball(shared, center.tolist(), sigma)


def _dense(points: Doubles, grid: Grid) -> Doubles:
    """The points of a line no further apart than half a grid voxel."""
    if len(points) == 1:
        return points
    pieces = [points[:1]]
    for start, end in itertools.pairwise(points):
        count = int(np.ceil(np.abs((end - start) / grid.steps).max() * 2)) + 1
        # What lies outside of the grid by far is not needed in such detail.
        fractions = np.linspace(0, 1, min(count, 8 * grid.size) + 1)[1:, None]
        pieces.append(start + fractions * (end - start))
    dense: Doubles = np.concatenate(pieces)
    return dense


def _mesh(grid: Grid) -> Doubles:
    k, j, i = np.meshgrid(*(grid.positions(a) for a in range(3)), indexing="ij")
    mesh: Doubles = np.stack([k, j, i], axis=-1)
    return mesh


def _in_box(prompt: Placed, grid: Grid) -> npt.NDArray[np.bool_]:
    assert prompt.inverse is not None
    own = _mesh(grid) @ prompt.inverse[:3, :3].T + prompt.inverse[:3, 3]
    # A flat box (drawn in one slice) is at least as thick as the grid can show.
    thickness = np.linalg.norm(prompt.inverse[:3, :3] * grid.steps, axis=1)
    inside: npt.NDArray[np.bool_] = (np.abs(own) <= np.maximum(0.5, thickness / 2)).all(axis=-1)
    return inside


def in_lasso(prompt: Placed, grid: Grid) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Where the grid lies in the polygon, and where in the polygon's plane (one grid voxel thick), around it."""
    points = grid.to_grid(prompt.points)
    center = points.mean(axis=0)
    _, _, directions = np.linalg.svd(points - center, full_matrices=True)
    mesh = np.stack(np.meshgrid(*(np.arange(grid.size, dtype=float),) * 3, indexing="ij"), axis=-1) - center
    thickness = max(0.5, float(np.abs(directions[2] / grid.steps).max()) / 2)
    plane = np.abs(mesh @ directions[2]) <= thickness
    flat = (points - center) @ directions[:2].T
    inside = np.zeros_like(plane)
    inside[plane] = _in_polygon(mesh[plane] @ directions[:2].T, flat)
    return inside, plane


def _in_polygon(points: Doubles, polygon: Doubles) -> npt.NDArray[np.bool_]:
    """Even-odd rule for points (n, 2)."""
    inside = np.zeros(len(points), bool)
    x, y = points.T
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside
