"""Slicer's scene and MedAI's images: volumes out, segmentations, tables and scene files in.

Needs `slicer` and `vtk`: Slicer 5.12 or newer, or the slicer-core wheel. The scene is always an argument.
"""

from medai.mrml.overwrite import OverwritePolicy
from medai.mrml.surfaces import create_surfaces
from medai.mrml.volumes import image_from_volume, volume_from_image
from medai.mrml.write_back import WriteResult, write_segmentation

__all__ = [
    "OverwritePolicy",
    "WriteResult",
    "create_surfaces",
    "image_from_volume",
    "volume_from_image",
    "write_segmentation",
]
