"""SimpleITK images (LPS) <-> `Image` (RAS). The only place where the two conventions meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from medai.errors import GeometryError, InputError
from medai.image import Affine, Image

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# A shear of 0.001 moves the last slice of 500 by half a voxel.
SHEAR_TOLERANCE = 1e-3


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's warnings off the terminal while the block runs; the checks here say what matters."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def is_sheared(matrix: Affine) -> bool:
    """Whether the axes of the 4x4 voxel matrix are not at right angles."""
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_TOLERANCE)


def matrix_of(image: sitk.Image) -> Affine:
    """ijk -> RAS of a 3D SimpleITK image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    ras: Affine = LPS_TO_RAS @ matrix
    return ras


def array_of(image: sitk.Image) -> np.ndarray[Any, Any]:
    """The voxels (k, j, i) of a scalar 3D image, C-contiguous, owning its memory."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image)


def to_sitk(image: Image) -> sitk.Image:
    """A SimpleITK image of a one-channel `Image`; float16 becomes float32 and booleans become uint8.

    Raises GeometryError for a sheared grid, which most formats cannot hold.
    """
    import SimpleITK as sitk

    if image.channels != 1:
        raise InputError(f"Image '{image.name}' has {image.channels} channels.", "Write one file per channel.")
    if is_sheared(image.ijk_to_ras):
        raise GeometryError(
            f"The voxel grid of image '{image.name}' is sheared: its axes are not at right angles.",
            "Resample it to a regular grid, or write .nrrd, which can hold it.",
        )
    array = image.channel(0)
    file_type = {"float16": np.float32, "bool": np.uint8}.get(array.dtype.name)
    array = array if file_type is None else array.astype(file_type)
    result = sitk.GetImageFromArray(array)
    lps = LPS_TO_RAS @ image.ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    result.SetSpacing(spacing.tolist())
    result.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    result.SetOrigin(lps[:3, 3].tolist())
    return result
