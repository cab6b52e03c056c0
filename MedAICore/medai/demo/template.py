"""The MNI152 head that the package nilearn carries: the average of 152 people's T1 MR, brain only, 1 mm."""

from __future__ import annotations

import numpy as np

from medai.errors import EnvironmentFailure
from medai.image import Image

TEMPLATE_NAME = "MNI152 T1 1 mm"


def load_template() -> Image:
    """The template as a float32 `Image`, intensities 0 to 1, zero outside the brain. Needs no network."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise EnvironmentFailure(
            f"The demo's head comes with the package nilearn, which cannot be imported ({error}).",
            "Install it in this environment: pip install nilearn.",
        ) from error
    head = load_mni152_template(resolution=1)
    voxels = np.asarray(head.dataobj, dtype=np.float32).transpose(2, 1, 0)  # nibabel has (i, j, k)
    return Image(np.ascontiguousarray(voxels)[None], np.asarray(head.affine), name=TEMPLATE_NAME, modality="MR")
