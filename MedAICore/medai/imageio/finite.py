"""What is done about voxels that are no numbers, and about images that are too small to segment."""

from __future__ import annotations

import numpy as np

from medai.errors import InputError
from medai.image import Image

LARGEST_FILLED_FRACTION = 0.01


def finite_or_filled(image: Image) -> tuple[Image, list[str]]:
    """The image without NaN and infinite voxels, and warnings for a person.

    Up to 1 % of a channel's voxels (padding of clinical images) is filled with the channel's lowest finite value,
    with a warning; more raises InputError. Integer images come back as they are.
    """
    if image.array.dtype.kind not in "fc":
        return image, []
    filled, warnings = image.array, []
    for number in range(image.channels):
        bad = ~np.isfinite(image.array[number])
        count = int(np.count_nonzero(bad))
        if not count:
            continue
        share = count / bad.size
        where = f"channel {number} of image '{image.name}'" if image.channels > 1 else f"image '{image.name}'"
        if share > LARGEST_FILLED_FRACTION:
            raise InputError(
                f"{share:.1%} of the voxels of {where} are not finite numbers (NaN or infinite).",
                f"Repair the image; up to {LARGEST_FILLED_FRACTION:.0%} would be filled with its minimum.",
            )
        if filled is image.array:
            filled = image.array.copy()
        lowest = image.array[number][~bad].min()
        filled[number][bad] = lowest
        warnings.append(f"{count} voxels of {where} were not finite numbers and were set to its minimum, {lowest:g}.")
    return image if not warnings else image.with_array(filled), warnings


def check_segmentable(image: Image, *, dimensions: int = 3) -> None:
    """InputError for an image that a model of this many dimensions cannot work on.

    A 3D model needs at least 2 voxels along every axis, a 2D model at least 2 along two axes.
    """
    thick = [n for n in image.shape if n > 1]
    if len(thick) >= dimensions:
        return
    k, j, i = image.shape
    if image.array[0].size == 1:
        raise InputError(f"Image '{image.name}' is a single voxel.", "Give a whole image.")
    raise InputError(
        f"Image '{image.name}' has {i} x {j} x {k} voxels, which is not a {dimensions}D image.",
        "Give a 3D volume to a 3D model." if dimensions == 3 else "Give an image with at least two axes.",
    )
