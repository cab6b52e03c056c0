"""Slicer's scene and MedAI's images: volumes out, segmentations, tables and scene files in.

Needs `slicer` and `vtk`: Slicer 5.12 or newer, or the slicer-core wheel. The scene is always an argument.
"""

from medai.mrml.class_table import ClassRow, append_to_class_table, is_class_table
from medai.mrml.evaluation_plots import has_curves, write_curves
from medai.mrml.overlay import show_over
from medai.mrml.overwrite import OverwritePolicy
from medai.mrml.probability_maps import new_map_data, write_map
from medai.mrml.read_back import label_map_from_segmentation
from medai.mrml.regions import roi_in_volume
from medai.mrml.resampling import GridResampler, linear_between
from medai.mrml.scene_file import save_scene_mrb
from medai.mrml.segment_maps import SegmentMap, SegmentMaps
from medai.mrml.surfaces import create_surfaces, surface_steps
from medai.mrml.tables import is_unusual, table_of_structures
from medai.mrml.volumes import image_from_volume, volume_from_image
from medai.mrml.write_back import WriteResult, write_segmentation

__all__ = [
    "ClassRow",
    "GridResampler",
    "OverwritePolicy",
    "SegmentMap",
    "SegmentMaps",
    "WriteResult",
    "append_to_class_table",
    "create_surfaces",
    "has_curves",
    "image_from_volume",
    "is_class_table",
    "is_unusual",
    "label_map_from_segmentation",
    "linear_between",
    "new_map_data",
    "roi_in_volume",
    "save_scene_mrb",
    "show_over",
    "surface_steps",
    "table_of_structures",
    "volume_from_image",
    "write_curves",
    "write_map",
    "write_segmentation",
]
