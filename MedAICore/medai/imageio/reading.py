"""Read an image of any supported format into an `Image` with RAS geometry."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medai.errors import FileFormatError, GeometryError, InputError
from medai.image import Affine, Image
from medai.imageio.dicom_series import is_dicom, read_dicom
from medai.imageio.meta_header import check_meta
from medai.imageio.nifti_header import NiftiHeader, check_nifti, non_finite_voxels
from medai.imageio.nrrd_header import check_nrrd
from medai.imageio.sitk_bridge import array_of, is_sheared, matrix_of, quiet_itk
from medai.imageio.suffixes import READABLE, image_suffix, stem

if TYPE_CHECKING:
    import SimpleITK as sitk

_log = logging.getLogger(__name__)
_FORMATS = f"Give {', '.join(READABLE)}, a DICOM folder, or one DICOM file of a series."


def read_image(path: Path | str) -> Image:
    """Read a 3D image with one channel: NIfTI, NRRD, MetaImage, or a DICOM series (its folder, or one file of it).

    Voxels keep the file's type (stored scaling is applied), axes (1, k, j, i); 2D images get k = 1. `name` is the
    file's or folder's. Raises FileFormatError (missing, not an image, damaged), GeometryError (sheared, 4D,
    irregular DICOM series) and InputError (colour, vectors, complex numbers).
    """
    path = Path(path)
    check_readable(path)
    if path.is_dir() or is_dicom(path):
        return read_dicom(path)
    header = check_complete(path)
    image = _scalar_3d(read_sitk(path), path)
    matrix = matrix_of(image)
    if header is not None:
        matrix = _nifti_matrix(path, header, matrix)
    if is_sheared(matrix):
        raise _sheared(path)
    array = array_of(image)
    if header is not None:
        array = _with_non_finite(path, header, array)
    return Image(array[None], matrix, name=stem(path))


def check_readable(path: Path) -> None:
    """FileFormatError for a path that does not exist, is empty, cannot be opened, or has no known suffix."""
    if path.is_dir():
        return
    if not path.exists():
        raise FileFormatError(f"There is no file '{path}'.", "Check the path.")
    try:
        with open(path, "rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise FileFormatError(f"Cannot open '{path}': {error.strerror or error}.", "Check its permissions.") from error
    if empty:
        raise FileFormatError(f"'{path}' is empty.", "Copy or export it again from its source.")
    if not image_suffix(path) and not is_dicom(path):
        raise FileFormatError(f"'{path}' has no known image format.", _FORMATS)


def check_complete(path: Path) -> NiftiHeader | None:
    """FileFormatError where a NIfTI, NRRD or MetaImage is not what its suffix says, or not all there.

    Returns the header of a NIfTI file, None for the others.
    """
    suffix = image_suffix(path)
    if suffix in (".nii", ".nii.gz"):
        return check_nifti(path)
    if suffix.endswith((".nrrd", ".nhdr")):
        check_nrrd(path)
    elif suffix in (".mha", ".mhd"):
        check_meta(path)
    return None


def read_sitk(path: Path) -> sitk.Image:
    """SimpleITK's image of a file; what ITK throws becomes a FileFormatError or GeometryError."""
    import SimpleITK as sitk

    try:
        with quiet_itk():
            return sitk.ReadImage(str(path))
    except RuntimeError as error:
        text = str(error)
        if "orthonormal" in text or "orthogonal" in text:
            raise _sheared(path) from error
        _log.debug("ITK could not read %s: %s", path, text)
        raise FileFormatError(
            f"'{path}' cannot be read as {image_suffix(path)}.",
            "Check that it opens in 3D Slicer; copy or export it again from its source.",
        ) from error


def _sheared(path: Path) -> GeometryError:
    return GeometryError(
        f"The voxel grid of '{path}' is sheared: its axes are not at right angles.",
        "Resample it to a regular grid first (in 3D Slicer: Resample Scalar Volume with a regular reference).",
    )


def _scalar_3d(image: sitk.Image, path: Path) -> sitk.Image:
    import SimpleITK as sitk

    components = image.GetNumberOfComponentsPerPixel()
    if components > 1:
        kind = (
            "a colour image (RGB)"
            if components in (3, 4) and "8-bit" in image.GetPixelIDTypeAsString()
            else "a vector image"
        )
        raise InputError(
            f"'{path}' is {kind} with {components} values per voxel.",
            "Give images with one value per voxel; several channels as several files, in the model's order.",
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"'{path}' holds complex numbers.", "Save its magnitude.")
    while image.GetDimension() > 3:
        frames = image.GetSize()[-1]
        if frames != 1:
            raise GeometryError(
                f"'{path}' is 4D: {frames} frames of {image.GetSize()[:3]} voxels.",
                "Save the frame that you want as a 3D image (in 3D Slicer: load it as a sequence, export one frame).",
            )
        image = image[..., 0]
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    return image


def _nifti_matrix(path: Path, header: NiftiHeader, itk: Affine) -> Affine:
    """The matrix of a NIfTI image: ITK's choice, as Slicer shows it; refused where the header's sform is sheared.

    A header may hold two matrices. ITK prefers a sform in scanner coordinates, else the qform where both are valid;
    where they differ the choice is logged, so that a person who compares with another viewer can find out why.
    """
    if len(header.shape) >= 3 and is_sheared(header.matrix):
        raise _sheared(path)
    if len(header.shape) < 3 and (header.qform is not None or header.sform is not None):
        return _with_third_axis(header.matrix)  # ITK drops the place of 2D images
    if header.qform is not None and header.sform is not None:
        shape = (*header.shape, 1, 1, 1)[:3]
        far = np.array([[i, j, k, 1.0] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
        gap_mm = float(np.abs(far @ (header.qform - header.sform).T).max())
        if gap_mm > 0.5 * min(header.spacing):
            same = np.abs(far @ (itk - header.sform).T).max() < np.abs(far @ (itk - header.qform).T).max()
            _log.warning(
                "%s: its qform and sform differ by up to %.1f mm; %s is used, as in 3D Slicer.",
                path,
                gap_mm,
                "the sform" if same else "the qform",
            )
    return itk


def _with_non_finite(path: Path, header: NiftiHeader, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The voxels (k, j, i) with the NaN and infinities that ITK replaced by 0 while it read the file."""
    indices, values = non_finite_voxels(path, header)
    if not indices.size:
        return array
    restored = array.copy()
    restored.reshape(-1)[indices] = values
    return restored


def _with_third_axis(matrix: Affine) -> Affine:
    """A 2D image's matrix with a third axis across the plane; 1 mm where the file gives it no length."""
    result = matrix.copy()
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    thickness = float(np.linalg.norm(matrix[:3, 2])) or 1.0
    result[:3, 2] = normal / (np.linalg.norm(normal) or 1.0) * thickness
    return result
