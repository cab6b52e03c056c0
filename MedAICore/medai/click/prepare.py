"""Labelled volumes become memory-mapped arrays, from which a training reads only the part that it needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.ndimage

from medai.config import to_json
from medai.config.click import ClickVolume
from medai.errors import DatasetError
from medai.image import Image
from medai.imageio import finite_or_filled, read_image, read_label_map
from medai.imageio.atomic import atomic_output
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled
from medai.training.click_cases import INDEX_NAME, ClickCaseCard, ClickIndex, ClickObject

FEWEST_VOXELS = 50
"""Smaller objects are neither trained on nor measured."""


def prepare(
    volumes: Sequence[ClickVolume], folder: Path, cache: Path, progress: ProgressCallback, cancelled: CancelCheck
) -> None:
    """Write the arrays of `volumes` (paths below `folder`) and their index to `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    cards = []
    for number, volume in enumerate(volumes):
        check_cancelled(cancelled)
        progress(Progress(number / len(volumes), f"Preparing {volume.name}"))
        cards.append(_prepared(volume, folder, cache))
    with atomic_output(cache / INDEX_NAME) as temporary:
        temporary.write_text(json.dumps(to_json(ClickIndex(tuple(cards)))), encoding="utf-8")


def _prepared(volume: ClickVolume, folder: Path, cache: Path) -> ClickCaseCard:
    labels, _ = read_label_map(folder / volume.labels)
    image = ""
    if volume.image:
        picture, _ = finite_or_filled(read_image(folder / volume.image))
        if not labels.same_grid(picture, 0.05):
            raise DatasetError(
                f"'{volume.image}' and '{volume.labels}' lie on different grids.", "Resample the label map."
            )
        image = f"{volume.name}-image.npy"
        np.save(cache / image, picture.channel(0).astype(np.float32))
    values = _compact(labels)
    np.save(cache / f"{volume.name}-labels.npy", values)
    objects = objects_of(values)
    if not objects:
        raise DatasetError(f"'{volume.labels}' has no label of {FEWEST_VOXELS} voxels.", "Leave it out.")
    return ClickCaseCard(
        volume.name,
        volume.group,
        volume.part,
        image,
        f"{volume.name}-labels.npy",
        labels.spacing_mm,
        objects,
        volume.weight,
    )


def _compact(labels: Image) -> np.ndarray:
    """Label values numbered from 1 in uint8, as a training needs to tell them apart, not to name them."""
    values = labels.channel(0)
    found = np.unique(values)
    if len(found) > 256:
        raise DatasetError(f"'{labels.name}' has {len(found)} label values.", "Give at most 255.")
    start = 0 if found[0] == 0 else 1
    numbers = np.zeros(int(found[-1]) + 1, np.uint8)
    numbers[found] = np.arange(start, start + len(found))
    return numbers[values]


def objects_of(labels: np.ndarray) -> tuple[ClickObject, ...]:
    """Every label value of at least `FEWEST_VOXELS` voxels as one object, in order of the values."""
    counts = np.bincount(labels.ravel())
    found = []
    for value, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if box is None or counts[value] < FEWEST_VOXELS:
            continue
        k, j, i = box
        found.append(ClickObject(value, int(counts[value]), (k.start, k.stop, j.start, j.stop, i.start, i.stop)))
    return tuple(found)
