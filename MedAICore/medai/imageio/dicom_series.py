"""Read a DICOM series as a volume, and refuse whatever is not one regular stack of parallel slices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from medai.errors import FileFormatError, GeometryError, InputError
from medai.image import Array, Image
from medai.imageio.dicom_geometry import ordered_stack
from medai.imageio.dicom_headers import DicomSlice, is_dicom, read_header, read_headers
from medai.imageio.sitk_bridge import array_of, quiet_itk

__all__ = ["is_dicom", "read_dicom", "select_series"]


def read_dicom(path: Path) -> Image:
    """The volume of a folder that holds one series, or of the series to which one file belongs.

    Voxels are in the modality's units (rescale slope and intercept of each slice applied: HU, SUV-able Bq/mL). Files
    of other kinds in the folder are passed over. Raises FileFormatError (no DICOM), InputError (colour, no image)
    and GeometryError (several series, or not one regular stack: see `ordered_stack`).
    """
    slices, matrix = ordered_stack(select_series(path))
    first = slices[0]
    if first.components != 1:
        raise InputError(f"'{first.file}' is a colour image.", "Give images with one value per voxel.")
    name = first.description or (path if path.is_dir() else path.parent).name
    return Image(_voxels(slices)[None], matrix, name=name, modality=first.modality)


def select_series(path: Path) -> list[DicomSlice]:
    """The slices (in no order) of a folder's only image series, or of the series that the file `path` belongs to."""
    wanted = None
    if path.is_file():
        wanted = _header_of_image(path)
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    headers = [header for header in read_headers(files) if not header.other_object]
    if wanted is not None:
        return [header for header in headers if header.series == wanted.series]
    if not headers:
        raise _no_images(folder, files)
    series = Counter(header.series for header in headers)
    if len(series) > 1:
        raise GeometryError(
            f"'{folder}' holds {len(series)} DICOM series: {_listed(headers)}.",
            "Give one file of the series that you want instead of the folder.",
        )
    return headers


def _header_of_image(path: Path) -> DicomSlice:
    header = read_header(path)
    if header is None or header.other_object:
        what = f"a DICOM {header.other_object}" if header else "a DICOM file without an image that can be read"
        raise FileFormatError(f"'{path}' is {what}, not an image.", "Give a file of an image series, or its folder.")
    return header


def _no_images(folder: Path, files: list[Path]) -> FileFormatError:
    count = sum(is_dicom(file) for file in files)
    if count:
        return FileFormatError(
            f"'{folder}' holds {count} DICOM files, but none is an image that can be read.",
            "Give the folder of an image series.",
        )
    inner = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    hint = f" Its folders are: {', '.join(inner[:10])}." if inner else ""
    return FileFormatError(
        f"'{folder}' holds no DICOM images.{hint}", "Give the folder that holds the slices themselves."
    )


def _listed(headers: list[DicomSlice]) -> str:
    """Each series as ``'description' (MR, 20 files, e.g. IM001.dcm)``."""
    groups: dict[str, list[DicomSlice]] = {}
    for header in headers:
        groups.setdefault(header.series, []).append(header)
    texts = []
    for group in groups.values():
        first = group[0]
        title = first.description or "no description"
        texts.append(f"'{title}' ({first.modality}, {len(group)} files, e.g. {first.file.name})")
    return "; ".join(texts)


def _voxels(slices: list[DicomSlice]) -> Array:
    """The voxels (k, j, i) in the order of `slices`."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(s.file) for s in slices])
    rescales = {(s.slope, s.intercept) for s in slices}
    whole = all(float(number).is_integer() for rescale in rescales for number in rescale)
    if len(rescales) > 1 or not whole:
        # ITK takes the type of all slices from the first: PET has another slope in each.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        with quiet_itk():
            array = array_of(reader.Execute())
    except RuntimeError as error:
        raise FileFormatError(
            f"The DICOM series in '{slices[0].file.parent}' cannot be read: its voxels are damaged or compressed in "
            "a way that is not known here.",
            "Copy it again, or load it in 3D Slicer and save it as .nrrd.",
        ) from error
    expected = (len(slices), slices[0].size[1], slices[0].size[0])
    if array.shape != expected:
        raise GeometryError(
            f"The DICOM series in '{slices[0].file.parent}' gave {array.shape} voxels instead of {expected}.",
            "Load it in 3D Slicer and save it as .nrrd.",
        )
    return np.ascontiguousarray(array)
