"""Read and write label maps: integer images, with the meaning of the values where the format can hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medai.errors import FileFormatError, InputError
from medai.image import Image
from medai.imageio.atomic import atomic_output
from medai.imageio.nrrd_header import check_nrrd
from medai.imageio.nrrd_writer import write_nrrd
from medai.imageio.reading import check_readable, read_image, read_sitk
from medai.imageio.seg_nrrd import header_pairs, merge_layers, parse_segments
from medai.imageio.sitk_bridge import array_of, matrix_of
from medai.imageio.suffixes import LABEL_MAP_WRITABLE, SEGMENTATION, image_suffix, stem, writable_suffix
from medai.imageio.writing import write_image
from medai.labels import LabelScheme


def read_label_map(path: Path | str) -> tuple[Image, LabelScheme | None]:
    """A label map (uint8, uint16 or uint32; 1, k, j, i) and its scheme; the scheme is None but for .seg.nrrd.

    Several layers of a .seg.nrrd are merged; InputError names the segments where they overlap, and is raised for
    voxels that are not whole numbers of at least 0. File errors are those of `read_image`.
    """
    path = Path(path)
    if image_suffix(path) == SEGMENTATION and path.is_file():
        return _read_segmentation(path)
    image = read_image(path)
    return image.with_array(_as_labels(image.channel(0), path)), None


def write_label_map(path: Path | str, image: Image, scheme: LabelScheme) -> None:
    """Write a one-channel integer label map by its suffix: .seg.nrrd, .nii.gz, .nii, .nrrd or .mha.

    A .seg.nrrd holds each label of `scheme` as a segment (empty where it has no voxels), all in one layer, with the
    voxel values as label values; the other formats hold the values alone. Raises InputError (voxels that are no
    label of the scheme) and OutputError.
    """
    path = Path(path)
    suffix = writable_suffix(path, LABEL_MAP_WRITABLE)
    if image.channels != 1:
        raise InputError(f"The label map '{image.name}' has {image.channels} channels.", "Give one.")
    labels = _as_labels(image.channel(0), path)
    image = image.with_array(labels)
    if suffix != SEGMENTATION:
        write_image(path, image)
        return
    with atomic_output(path) as temporary:
        write_nrrd(temporary, image, header_pairs(labels, scheme))


def _read_segmentation(path: Path) -> tuple[Image, LabelScheme]:
    check_readable(path)
    header = check_nrrd(path)
    segments = parse_segments(header.pairs, str(path))
    itk_image = read_sitk(path)
    if itk_image.GetDimension() != 3:
        raise FileFormatError(f"'{path}' has {itk_image.GetDimension()} axes.", "Save it again from 3D Slicer.")
    matrix = matrix_of(itk_image)
    array = array_of(itk_image)
    layers = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    absent = sorted({s.name for s in segments if s.layer >= len(layers)})
    if absent:
        raise FileFormatError(
            f"'{path}' has {len(layers)} layers, too few for the segments {absent}.", "Save it again from 3D Slicer."
        )
    layers = np.stack([_as_labels(layer, path) for layer in layers]) if len(layers) > 1 else _as_labels(layers, path)
    merged, scheme = merge_layers(layers, segments, str(path))
    return Image(merged[None], matrix, name=stem(path)), scheme


def _as_labels(array: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    """The voxels in the smallest unsigned type that holds them; InputError where they are not whole numbers >= 0."""
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.round(array)).all()):
        raise InputError(f"'{path}' is not a label map: it holds numbers that are not whole.", "Give a label map.")
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < 0 or high > 0xFFFFFFFF:
        raise InputError(
            f"'{path}' is not a label map: its values go from {low} to {high}.", "Give values of 0 and up."
        )
    smallest = np.uint8 if high < 256 else np.uint16 if high < 65536 else np.uint32
    return array.astype(smallest, copy=False)
