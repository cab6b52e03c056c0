"""Pictures (PNG, JPEG, TIFF, BMP) as single-slice images, for models that look at 2D images such as radiographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medai.errors import FileFormatError, InputError
from medai.image import Image
from medai.imageio.reading import read_image
from medai.imageio.sitk_bridge import array_of, matrix_of, quiet_itk

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# Luminance of red, green and blue (ITU-R BT.601).
_LUMINANCE = np.array([0.299, 0.587, 0.114])


def read_image_or_picture(path: Path | str) -> Image:
    """A medical image (`read_image`), or a picture as an image of k = 1.

    A picture has no place in a patient: its first row is taken for the front and its columns go to the left, as ITK
    and Slicer do; its spacing is the file's, or 1 mm. Colours become their luminance. Raises FileFormatError and
    InputError.
    """
    path = Path(path)
    if not path.name.lower().endswith(PICTURES):
        return read_image(path)
    if not path.is_file():
        raise FileFormatError(f"There is no file '{path}'.", "Check the path.")
    import SimpleITK as sitk

    try:
        with quiet_itk():
            picture = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise FileFormatError(
            f"'{path}' cannot be read as a picture.", "Check that it opens in a viewer; export it again."
        ) from error
    if picture.GetDimension() == 3 and picture.GetSize()[2] > 1:
        raise InputError(
            f"'{path}' is a stack of {picture.GetSize()[2]} pictures.", "Save the one that is to be classified."
        )
    flat = picture if picture.GetDimension() == 2 else picture[:, :, 0]
    volume = sitk.JoinSeries(flat)
    array = array_of(volume)
    if array.ndim == 4:  # (k, j, i, colours)
        array = _grey(array, path)
    return Image(array[None], matrix_of(volume), name=path.stem)


def _grey(array: np.ndarray, path: Path) -> np.ndarray:
    colours = array.shape[-1]
    if colours not in (2, 3, 4):
        raise InputError(f"'{path}' has {colours} values per pixel.", "Save it as a grey-scale or colour picture.")
    if colours == 2:  # grey and opacity
        return np.ascontiguousarray(array[..., 0])
    return (array[..., :3] @ _LUMINANCE).astype(np.float32)
