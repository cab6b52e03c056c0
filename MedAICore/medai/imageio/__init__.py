"""Image and label map files: the one place where files in LPS become `Image` in RAS, and back."""

from medai.imageio.atomic import atomic_output
from medai.imageio.describe import describe
from medai.imageio.finite import check_segmentable, finite_or_filled
from medai.imageio.label_maps import read_label_map, write_label_map
from medai.imageio.reading import read_image
from medai.imageio.writing import write_image

__all__ = [
    "atomic_output",
    "check_segmentable",
    "describe",
    "finite_or_filled",
    "read_image",
    "read_label_map",
    "write_image",
    "write_label_map",
]
