"""Images without end for training: random label maps, painted with random contrast (Billot et al. 2023: SynthSeg)."""

from medai.synthesis.painting import PaintSettings, paint
from medai.synthesis.shapes import SHAPES, random_labels
from medai.synthesis.spatial import RandomFrame, sample_linear, sample_nearest

__all__ = ["SHAPES", "PaintSettings", "RandomFrame", "paint", "random_labels", "sample_linear", "sample_nearest"]
