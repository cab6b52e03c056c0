"""Write an image, whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

from medai.errors import MedAIError, OutputError
from medai.image import Image
from medai.imageio.atomic import atomic_output
from medai.imageio.nrrd_writer import write_nrrd
from medai.imageio.reading import check_complete
from medai.imageio.sitk_bridge import quiet_itk, to_sitk
from medai.imageio.suffixes import WRITABLE, writable_suffix

_log = logging.getLogger(__name__)


def write_image(path: Path | str, image: Image) -> None:
    """Write a one-channel image by its suffix: .nii.gz, .nii, .nrrd or .mha. An existing file is replaced.

    The geometry is the image's own. Raises OutputError (folder, permission, full disk, suffix), with nothing left
    behind.
    """
    path = Path(path)
    suffix = writable_suffix(path, WRITABLE)
    if suffix != ".nrrd":
        _write_by_itk(path, image)
        return
    with atomic_output(path) as temporary:
        write_nrrd(temporary, image)


def _write_by_itk(path: Path, image: Image) -> None:
    import SimpleITK as sitk

    itk_image = to_sitk(image)
    with atomic_output(path) as temporary:
        try:
            with quiet_itk():
                sitk.WriteImage(itk_image, str(temporary), useCompression=True, compressionLevel=1)
            check_complete(temporary)  # ITK's writers do not always notice a full disk
        except (RuntimeError, MedAIError) as error:
            _log.debug("ITK could not write %s: %s", path, error)
            raise OutputError(
                f"'{path}' was not written completely.",
                "Check the free space and the permissions of the folder, and that the format holds this voxel type.",
            ) from error
