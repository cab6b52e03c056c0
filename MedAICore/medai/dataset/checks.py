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
    """Image (all channels) and label map of one case, on one grid; `warnings` for a person."""

    image: Image
    labels: Image
    warnings: tuple[str, ...]


def read_case(case: Case, channels: int, label_values: Collection[int]) -> ReadCase:
    """Read and check one case; DatasetError gives the reason why it is left out.

    `label_values` are the values that the data set names besides 0; where it names none, 0 to 255 are accepted.
    """
    from medai.imageio import finite_or_filled, read_image, read_label_map

    try:
        parts = [read_image(file) for file in case.images]
        label_map, _ = read_label_map(case.labels)
        image, warnings = finite_or_filled(_stack(parts, case))
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
    return ReadCase(image, label_map, tuple(warnings))


def _stack(parts: list[Image], case: Case) -> Image:
    first = parts[0]
    for part, file in zip(parts[1:], case.images[1:], strict=True):
        if not part.same_grid(first, tolerance_voxels=0.05):
            raise DatasetError(f"its channels lie on other grids: '{file.name}' is not on that of the first.")
    array = first.array if len(parts) == 1 else np.concatenate([part.array for part in parts])
    return replace(first, array=array, name=case.name)


def _mm(image: Image) -> list[float]:
    return [round(s, 3) for s in image.spacing_mm]
