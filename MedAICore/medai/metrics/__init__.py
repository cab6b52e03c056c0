"""Agreement of two masks: Dice, surface distances in mm, volumes in mL, with one rule for empty masks."""

from medai.metrics.comparison import Comparison, compare
from medai.metrics.overlap import dice, volume_ml
from medai.metrics.surface import SurfaceDistances, assd_mm, hd95_mm, nsd, surface_distances

__all__ = [
    "Comparison",
    "SurfaceDistances",
    "assd_mm",
    "compare",
    "dice",
    "hd95_mm",
    "nsd",
    "surface_distances",
    "volume_ml",
]
