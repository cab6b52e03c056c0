"""Segment one case with one model: `load_model` once, `run` per case."""

from medai.segment.loading import LoadedModel, load_model
from medai.segment.map_files import MapPlace
from medai.segment.segmentation import SegmentResult, run

__all__ = ["LoadedModel", "MapPlace", "SegmentResult", "load_model", "run"]
