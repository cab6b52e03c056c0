"""Reads a case and says why it cannot be trained on, where it cannot."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from medai.dataset.layouts import Case
from medai.errors import DatasetError, MedAIError
from medai.image import Image

_LARGEST_UNNAMED_VALUE = 255  # beyond it "labels" nobody named are an image that was taken for a label map


@dataclass(frozen=True)
class ReadCase:
    """Image (all channels) and label map of one case, on one grid; `warnings` for a person.

    `covers` is, for each channel, the part of the grid that its own voxels cover.
    """

    image: Image
    labels: Image
    warnings: tuple[str, ...]
    covers: tuple[float, ...] = (1.0,)


def read_case(case: Case, channels: int, label_values: Collection[int]) -> ReadCase:
    """Read and check one case; DatasetError gives the reason why it is left out.

    Channels on other grids are interpolated to that of the first, by their positions in the patient. `label_values`
    are the values that the data set names besides 0; where it names none, 0 to 255 are accepted.
    """
    from medai.imageio import finite_or_filled, read_image, read_label_map

    try:
        parts = [read_image(file) for file in case.images]
        label_map, _ = read_label_map(case.labels)
        image, warnings, covers = _stack([finite_or_filled(part) for part in parts], case)
    except MedAIError as error:
        raise DatasetError(str(error)) from error
    if image.channels != channels:
        raise DatasetError(f"the image has {image.channels} channels, the data set has {channels}.")
    if not label_map.same_grid(image, tolerance_voxels=0.05):
        raise DatasetError(
            f"image and label map have another geometry: {image.shape} voxels of {_mm(image)} mm against "
            f"{label_map.shape} of {_mm(label_map)} mm (k, j, i), or another place."
        )
    found = np.unique(label_map.array)
    if label_values:
        unknown = sorted(set(found.tolist()) - {0, *label_values})
        if unknown:
            raise DatasetError(f"the label map has the values {unknown[:5]}, which the data set does not name.")
    elif found.max() > _LARGEST_UNNAMED_VALUE:
        raise DatasetError(f"the label map has the value {found.max()}; without names 1 to 255 are labels.")
    return ReadCase(image, label_map, tuple(warnings), covers)


def _stack(parts: list[tuple[Image, list[str]]], case: Case) -> tuple[Image, list[str], tuple[float, ...]]:
    """The channels on the grid of the first, warnings, and the part of the grid that each covers."""
    from medai.preprocessing.common_grid import cover, on_grid_of

    first = parts[0][0]
    warnings = [note for _, notes in parts for note in notes]
    channels, covers = [first], [1.0]
    for part, _ in parts[1:]:
        if part.same_grid(first, tolerance_voxels=0.05):
            channels.append(part)
            covers.append(1.0)
            continue
        covers.append(cover(part, first))
        on_grid, notes = on_grid_of(part, first)
        channels.append(on_grid)
        warnings += notes[1:]  # the first says that it was interpolated, which is what was asked for
    array = first.array if len(channels) == 1 else np.concatenate([part.array for part in channels])
    return replace(first, array=array, name=case.name), warnings, tuple(covers)


def _mm(image: Image) -> list[float]:
    return [round(s, 3) for s in image.spacing_mm]
