"""Write NRRD files: header, then gzip, slab by slab. No copy of the whole volume is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medai.errors import InputError
from medai.image import Image
from medai.nrrd_stream import slabs_of, write_slabs


def write_nrrd(path: Path, image: Image, pairs: Mapping[str, str] | None = None) -> None:
    """Write a one-channel image to exactly this `path` (callers make it atomic), with the key/value `pairs`.

    Sheared and left-handed grids are kept exactly. Raises OutputError for a voxel type that NRRD does not know.
    """
    if image.channels != 1:
        raise InputError(f"Image '{image.name}' has {image.channels} channels.", "Write one file per channel.")
    array = image.channel(0)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    for _planes in write_slabs(path, slabs_of(array), image.shape, array.dtype, image.ijk_to_ras, pairs):
        pass
