"""Tidies up a label map as a model's card asks for: stray pieces and holes, on any grid, box by box.

Every label is looked at in its own bounding box alone, so that a hundred small structures cost as much as one large one
and memory follows the largest box (about 6 bytes for each of its voxels).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from medai.config.label_rules import PostprocessingStep
from medai.image import Array, Box
from medai.label_statistics import label_extents
from medai.labels import LabelScheme
from medai.progress import CancelCheck, Stage, check_cancelled, never_cancelled

# Voxels of one piece touch by a face, edge or corner; what is around it by a face only. So a diagonal wall is closed.
_TOUCHING = np.ones((3, 3, 3), bool)
_FACES = scipy.ndimage.generate_binary_structure(3, 1)
Mask = npt.NDArray[np.bool_]
# The bounding box of each label value. Voxels that change their label widen the box of the one that they get.
Boxes = dict[int, Box]


def postprocess(
    labels: Array,
    steps: Sequence[PostprocessingStep],
    scheme: LabelScheme,
    kept: LabelScheme,
    spacing_mm: tuple[float, float, float],
    stage: Stage,
    cancelled: CancelCheck = never_cancelled,
) -> list[int]:
    """Do the steps to `labels` (k, j, i), in place; gives the values of the labels that gained or lost voxels.

    `scheme` are all labels of the model, `kept` those that `labels` holds: where some are left out, holes stay, as they
    may be the place of a structure that was not asked for. `spacing_mm` has the axes (k, j, i).
    """
    changed: set[int] = set()
    groups = [(step, group) for step in steps for group in _groups(step, kept)]
    boxes = boxes_of(labels) if groups else {}
    for number, (step, group) in enumerate(groups):
        check_cancelled(cancelled)
        stage(number / len(groups))
        if step.step == "largest_component":
            changed |= keep_large_components(labels, group, boxes, step.share, cancelled)
        elif len(kept) == len(scheme):
            changed |= fill_holes(labels, group, boxes, spacing_mm, cancelled)
    return sorted(changed)


def boxes_of(labels: Array) -> Boxes:
    """The bounding box of every label in a label map (k, j, i)."""
    return {value: extent.box for value, extent in label_extents(labels).items()}


def keep_large_components(
    labels: Array,
    values: Sequence[int],
    boxes: Boxes,
    share: float = 1.0,
    cancelled: CancelCheck = never_cancelled,
) -> set[int]:
    """Of all voxels with one of `values` keep the largest piece and those of at least `share` of its size, in place.

    The others become what surrounds them most, which may be the background. Of equal pieces the first in storage order
    is the largest. Gives the values that gained or lost voxels.
    """
    box = _around(boxes, values)
    if box is None:
        return set()
    pieces, count = scipy.ndimage.label(_mask(labels[box], values), _TOUCHING)
    if count < 2:
        return set()
    sizes = np.bincount(pieces.ravel())[1:]
    stays = sizes >= share * sizes.max() if share < 1.0 else np.arange(count) == sizes.argmax()
    changed: set[int] = set()
    for number, part in enumerate(scipy.ndimage.find_objects(pieces), start=1):
        if not stays[number - 1]:
            check_cancelled(cancelled)
            changed |= _give_to_surroundings(labels, pieces, number, part, box, boxes)
    return changed


def fill_holes(
    labels: Array,
    values: Sequence[int],
    boxes: Boxes,
    spacing_mm: tuple[float, float, float],
    cancelled: CancelCheck = never_cancelled,
) -> set[int]:
    """Give background that is enclosed by `values` alone, taken as one structure, the nearest of them, in place.

    Gives the values that gained voxels. Background between the structure and another label, or at the border of the
    volume, is no hole.
    """
    box = _around(boxes, values)
    if box is None:
        return set()
    part = labels[box]
    gaps, count = scipy.ndimage.label(part == 0)
    open_gaps = np.zeros(count + 1, bool)
    for axis in range(3):
        for plane in (0, -1):
            open_gaps[np.unique(np.take(gaps, plane, axis))] = True
    changed: set[int] = set()
    for number, place in enumerate(scipy.ndimage.find_objects(gaps), start=1):
        if open_gaps[number]:
            continue
        check_cancelled(cancelled)
        near = _grown(place, part.shape)
        hole, view = gaps[near] == number, part[near]
        wall = _mask(view, values)
        if not wall[scipy.ndimage.binary_dilation(hole, _FACES) & ~hole].all():
            continue
        nearest = scipy.ndimage.distance_transform_edt(
            ~wall, sampling=spacing_mm, return_distances=False, return_indices=True
        )
        filled = view[tuple(index[hole] for index in nearest)]
        view[hole] = filled
        gained = set(np.unique(filled).tolist())
        for value in gained:
            _widen(boxes, value, _shifted(place, box))
        changed |= gained
    return changed


def _groups(step: PostprocessingStep, kept: LabelScheme) -> list[tuple[int, ...]]:
    """The label values that the step takes together, one tuple after the other."""
    values = [label.value for label in kept if not step.labels or label.name in step.labels]
    if not values:
        return []
    return [tuple(values)] if step.together else [(value,) for value in values]


def _give_to_surroundings(labels: Array, pieces: Array, number: int, part: Box, box: Box, boxes: Boxes) -> set[int]:
    """Overwrite a piece with the value that most voxels around it have; `part` is its place in `pieces`, `box` theirs.

    Voxels that only touch it by an edge or corner count half. Beyond the volume is nothing.
    """
    place = _shifted(part, box)
    near = _grown(place, labels.shape)
    view = labels[near]
    inside = np.zeros(view.shape, bool)
    inside[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(place, near, strict=True))] = (
        pieces[part] == number
    )
    around = scipy.ndimage.binary_dilation(inside, _TOUCHING) & ~inside
    faces = scipy.ndimage.binary_dilation(inside, _FACES) & around
    changed = set(np.unique(view[inside]).tolist())
    votes = np.bincount(np.concatenate([view[around], view[faces]]), minlength=1)
    winner = int(votes.argmax())
    view[inside] = winner
    if winner:
        changed.add(winner)
        _widen(boxes, winner, place)
    return changed


def _mask(labels: Array, values: Sequence[int]) -> Mask:
    """Where a label map has one of `values`; a look-up table is ten times faster than `isin` for many of them."""
    if len(values) == 1:
        return np.asarray(labels == values[0])
    table = np.zeros(np.iinfo(labels.dtype).max + 1, bool)
    table[list(values)] = True
    mask: Mask = table[labels]
    return mask


def _around(boxes: Boxes, values: Sequence[int]) -> Box | None:
    """The box around the boxes of `values`; None where the label map has none of them."""
    there = [boxes[value] for value in values if value in boxes]
    if not there:
        return None
    k, j, i = (slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*there, strict=True))
    return k, j, i


def _widen(boxes: Boxes, value: int, place: Box) -> None:
    """Let the box of `value` hold `place`, too."""
    k, j, i = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(boxes.get(value, place), place, strict=True)
    )
    boxes[value] = (k, j, i)


def _shifted(part: Box, box: Box) -> Box:
    k, j, i = (slice(a.start + b.start, a.stop + b.start) for a, b in zip(part, box, strict=True))
    return k, j, i


def _grown(part: Box, shape: Sequence[int]) -> Box:
    """One voxel more on every side, where there is one."""
    k, j, i = (slice(max(0, side.start - 1), min(size, side.stop + 1)) for side, size in zip(part, shape, strict=True))
    return k, j, i
