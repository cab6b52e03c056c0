"""Segments both hippocampi of a head with a model that was trained on narrow crops around left ones.

The public training data (Medical Segmentation Decathlon, Task04) are 1 mm crops of about 35 x 50 x 35 mm, and every one
looks like a left hippocampus. So each side is sampled on a 1 mm grid that is aligned with the template, the right side
mirrored, and the labels are carried back to the voxels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medai.config.segment import SegmentConfig
from medai.demo.locate import center_mni
from medai.errors import InputError
from medai.image import Affine, Array, Image
from medai.labels import Code, Label, LabelScheme, Terminology
from medai.progress import CancelCheck, Progress, ProgressCallback, never_cancelled, no_progress
from medai.registration import AffineMatch

if TYPE_CHECKING:
    from medai.segment import LoadedModel

SIDES = ("left", "right")
_GRID_MM = 1.0
# The first look is wider than the training crops, as the place is known to some millimetres; the second is as wide.
_FIRST_SIZE_MM = (48.0, 64.0, 52.0)
_MARGIN_MM = 6.0
_FEWEST_VOXELS = 200

_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")
_HIPPOCAMPUS = Code("SCT", "5366008", "Hippocampus")
_LATERALITY = {"left": Code("SCT", "7771000", "Left"), "right": Code("SCT", "24028007", "Right")}


@dataclass(frozen=True, eq=False)
class Hippocampi:
    """The result: labels on the image's grid, their meaning, and how the seconds were spent (all runs summed)."""

    label_map: Image
    scheme: LabelScheme
    seconds: dict[str, float]
    engine: str
    warnings: tuple[str, ...]


def segment_hippocampi(
    image: Image,
    match: AffineMatch,
    model: LoadedModel,
    config: SegmentConfig,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> Hippocampi:
    """Segment the left and the right hippocampus of `image`, which the template was matched with.

    The result has each of the model's labels twice, as "Left ..." and "Right ...". Raises InputError where the model
    finds no hippocampus at one of the places.
    """
    from medai import segment

    labels = model.card.label_scheme()
    scheme = sided_scheme(labels)
    found = np.zeros(image.shape, dtype=np.uint8)
    seconds: dict[str, float] = {}
    warnings: list[str] = []
    engine = ""
    for number, side in enumerate(SIDES):
        frame = _frame(image, match, side)
        size_mm = np.array(_FIRST_SIZE_MM)
        for look in range(2):
            crop = sample(image, frame, size_mm)
            report = _part(progress, f"{side} hippocampus", (2 * number + look) / 4)
            result = segment.run(config, [crop], model, report, cancelled)
            engine = result.engine
            for name, value in result.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + value
            warnings += [w for w in result.warnings if w not in warnings]
            if look == 0:
                frame, size_mm = _closer(frame, result.label_map, side)
        targets = dict(zip(labels.values, scheme.values[number * len(labels) :], strict=False))
        _carry_back(found, image, frame, result.label_map, targets)
    return Hippocampi(image.with_array(found), scheme, seconds, engine, tuple(warnings))


def sided_scheme(labels: LabelScheme) -> LabelScheme:
    """Every label once for the left and once for the right side; values 1, 2, ... through left, then right."""
    sided: list[Label] = []
    for side in SIDES:
        for label in labels:
            terms = label.terminology or Terminology(_STRUCTURE, _HIPPOCAMPUS)
            terms = Terminology(terms.category, terms.type, _LATERALITY[side], terms.region, terms.region_modifier)
            r, g, b = label.color if side == "left" else tuple(0.45 + 0.55 * c for c in label.color)
            name = f"{side.capitalize()} {label.name[0].lower()}{label.name[1:]}"
            sided.append(Label(len(sided) + 1, name, (r, g, b), terms))
    return LabelScheme(tuple(sided))


def _frame(image: Image, match: AffineMatch, side: str) -> Affine:
    """4x4: mm along the template's axes, from the hippocampus' middle (right side mirrored), to the image's RAS mm.

    The middle is moved onto a voxel centre: an image that is aligned and has 1 mm voxels is then not interpolated.
    """
    center = match.map_point(center_mni(side))
    ijk = np.round((np.linalg.inv(image.ijk_to_ras) @ np.array([*center, 1.0]))[:3])
    frame = np.eye(4)
    frame[:3, :3] = match.rotation @ np.diag([-1.0 if side == "right" else 1.0, 1.0, 1.0])
    frame[:3, 3] = (image.ijk_to_ras @ np.array([*ijk, 1.0]))[:3]
    return frame


def sample(image: Image, frame: Affine, size_mm: npt.NDArray[np.float64]) -> Image:
    """The first channel on a 1 mm grid around the frame's origin; its `ijk_to_ras` is in the frame's own coordinates.

    Linear interpolation, after smoothing along axes with much smaller voxels than the grid's. Outside the image the
    nearest voxel is repeated.
    """
    from scipy import ndimage

    half = np.maximum(np.round(size_mm / 2 / _GRID_MM), 1).astype(int)
    grid_to_frame = np.diag([_GRID_MM, _GRID_MM, _GRID_MM, 1.0])
    grid_to_frame[:3, 3] = -half * _GRID_MM
    to_voxel = np.linalg.inv(image.ijk_to_ras) @ frame @ grid_to_frame
    i, j, k = np.meshgrid(*(np.arange(2 * n + 1) for n in half), indexing="ij")
    ijk = np.tensordot(to_voxel[:3, :3], np.stack([i, j, k]), axes=1) + to_voxel[:3, 3].reshape(3, 1, 1, 1)
    if not ((ijk > -1).all() and all((ijk[a] < image.shape[2 - a]).all() for a in range(3))):
        ijk = np.clip(ijk, 0, np.array(image.shape[::-1]).reshape(3, 1, 1, 1) - 1)
    low = np.maximum(np.floor(ijk.reshape(3, -1).min(axis=1)).astype(int) - 4, 0)
    high = np.minimum(np.ceil(ijk.reshape(3, -1).max(axis=1)).astype(int) + 5, image.shape[::-1])
    part = image.array[0, low[2] : high[2], low[1] : high[1], low[0] : high[0]].astype(np.float32)
    sigmas = [0.5 * np.sqrt(max((_GRID_MM / s) ** 2 - 1, 0.0)) if s < 0.8 * _GRID_MM else 0.0 for s in image.spacing_mm]
    part = ndimage.gaussian_filter(part, sigmas) if any(sigmas) else part
    places = (ijk - low.reshape(3, 1, 1, 1))[::-1]
    voxels = ndimage.map_coordinates(part, places, order=1, mode="nearest")  # (i, j, k)
    return Image(np.ascontiguousarray(voxels.transpose(2, 1, 0))[None], grid_to_frame, image.name, image.modality)


def _closer(frame: Affine, label_map: Image, side: str) -> tuple[Affine, npt.NDArray[np.float64]]:
    """The frame moved to the middle of what was found, and the size of the box around it with the training's margin."""
    index = np.argwhere(label_map.channel(0) > 0)[:, ::-1]
    if len(index) < _FEWEST_VOXELS:
        raise InputError(
            f"The model found no {side} hippocampus where it should be ({len(index)} voxels).",
            "Look at the image: is it a T1-weighted MR of a whole head?",
        )
    low, high = index.min(axis=0), index.max(axis=0)
    middle = label_map.ijk_to_ras @ np.array([*np.round((low + high) / 2), 1.0])
    moved = frame.copy()
    moved[:3, 3] = (frame @ middle)[:3]
    return moved, (high - low + 1) * _GRID_MM + 2 * _MARGIN_MM


def _carry_back(labels: Array, image: Image, frame: Affine, found: Image, values: dict[int, int]) -> None:
    """Write what was found (on the aligned grid) into `labels` (on the image's grid), with the values replaced.

    Each label is interpolated linearly as a membership of 0 or 1; a voxel gets the label with the largest one, the
    background included.
    """
    from scipy import ndimage

    to_grid = np.linalg.inv(frame @ found.ijk_to_ras) @ image.ijk_to_ras  # voxel of the image -> of the aligned grid
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in found.shape[::-1]])).reshape(3, -1)
    ijk = (np.linalg.inv(to_grid) @ np.vstack([corners, np.ones(8)]))[:3]
    low = np.clip(np.floor(ijk.min(axis=1)).astype(int), 0, np.array(image.shape[::-1]))
    high = np.clip(np.ceil(ijk.max(axis=1)).astype(int) + 1, 0, np.array(image.shape[::-1]))
    k, j, i = np.meshgrid(*(np.arange(low[a], high[a]) for a in (2, 1, 0)), indexing="ij")
    places = np.tensordot(to_grid[:3, :3], np.stack([i, j, k]), axes=1) + to_grid[:3, 3].reshape(3, 1, 1, 1)
    voxels = found.channel(0)
    part = labels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    inside = np.zeros(k.shape, dtype=np.float32)
    winner = np.zeros(k.shape, dtype=labels.dtype)
    best = np.zeros(k.shape, dtype=np.float32)
    for value, target in values.items():
        member = ndimage.map_coordinates((voxels == value).astype(np.float32), places[::-1], order=1, mode="constant")
        inside += member
        better = member > best
        winner[better], best[better] = target, member[better]
    taken = (inside > 0.0) & (best >= 1.0 - inside) & (part == 0)
    part[taken] = winner[taken]


def _part(progress: ProgressCallback, stage: str, start: float) -> ProgressCallback:
    def report(inner: Progress) -> None:
        progress(Progress(start + inner.fraction / 4, stage, inner.eta_s))

    return report


def volume_notes(volumes_ml: Sequence[tuple[str, float]]) -> list[str]:
    """What a person should know about the volumes (name, mL), which are those of `sided_scheme`."""
    totals = {side: sum(ml for name, ml in volumes_ml if name.lower().startswith(side)) for side in SIDES}
    notes = [
        f"{side.capitalize()} hippocampus, {total:.2f} mL: adults have about 2 to 5 mL. Look at the pictures."
        for side, total in totals.items()
        if not 2.0 <= total <= 5.0
    ]
    notes += [f"{name}: nothing was found." for name, volume_ml in volumes_ml if volume_ml == 0]
    if abs(totals["left"] - totals["right"]) > 0.25 * max(totals.values()):
        notes.append(f"Left and right differ a lot ({totals['left']:.2f} and {totals['right']:.2f} mL).")
    return notes
