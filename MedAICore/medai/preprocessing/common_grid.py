"""Images of one patient brought onto one voxel grid, by the positions of their voxels in the patient."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from medai.errors import GeometryError
from medai.image import Array, Image

# Less of the target covered by the image than this is worth a warning.
EXPECTED_COVER = 0.95


def on_grid_of(image: Image, target: Image) -> tuple[Image, list[str]]:
    """`image` interpolated linearly on the grid of `target` (float32), and warnings; outside it gets its minimum.

    GeometryError where the two do not overlap.
    """
    ijk_of_target = np.linalg.inv(image.ijk_to_ras) @ target.ijk_to_ras
    covered = cover(image, target)
    if covered == 0.0:
        raise GeometryError(
            f"Image '{image.name}' lies outside of image '{target.name}': they share no place in the patient.",
            "Give images of one study, or register them first.",
        )
    matrix, offset = ijk_of_target[:3, :3][::-1, ::-1], ijk_of_target[:3, 3][::-1]
    array = np.empty((image.channels, *target.shape), np.float32)
    for source, result in zip(image.array, array, strict=True):
        scipy.ndimage.affine_transform(
            source.astype(np.float32),
            matrix,
            offset,
            output=result,
            order=1,
            mode="constant",
            cval=float(source.min()),
        )
    warnings = [f"Image '{image.name}' was interpolated to the grid of image '{target.name}'."]
    if covered < EXPECTED_COVER:
        warnings.append(f"Image '{image.name}' covers only {covered:.0%} of image '{target.name}'.")
    return Image(array, target.ijk_to_ras, image.name, image.modality), warnings


def cover(image: Image, target: Image) -> float:
    """The part of `target` that lies inside `image`, judged on up to 32 places along each axis."""
    axes = [np.unique(np.linspace(0, n - 1, min(n, 32)).astype(int)) for n in target.shape]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    places: Array = np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(k.size)])
    ijk = (np.linalg.inv(image.ijk_to_ras) @ target.ijk_to_ras @ places)[:3]
    size = np.array(image.shape[::-1])[:, None]
    return float(((ijk >= -0.5) & (ijk <= size - 0.5)).all(axis=0).mean())
