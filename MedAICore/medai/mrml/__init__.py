"""Slicer's scene and MedAI's images: volumes out, segmentations, tables and scene files in.

Needs `slicer` and `vtk`: Slicer 5.12 or newer, or the slicer-core wheel. The scene is always an argument.
"""

from medai.mrml.overwrite import OverwritePolicy
from medai.mrml.probability_maps import new_map_data, write_map
from medai.mrml.read_back import label_map_from_segmentation
from medai.mrml.regions import roi_in_volume
from medai.mrml.resampling import GridResampler, linear_between
from medai.mrml.scene_file import save_scene_mrb
from medai.mrml.surfaces import create_surfaces, surface_steps
from medai.mrml.tables import table_from_statistics
from medai.mrml.volumes import image_from_volume, volume_from_image
from medai.mrml.write_back import WriteResult, write_segmentation

__all__ = [
    "GridResampler",
    "OverwritePolicy",
    "WriteResult",
    "create_surfaces",
    "image_from_volume",
    "label_map_from_segmentation",
    "linear_between",
    "new_map_data",
    "roi_in_volume",
    "save_scene_mrb",
    "surface_steps",
    "table_from_statistics",
    "volume_from_image",
    "write_map",
    "write_segmentation",
]
