"""Segment one case with one model: `load_model` once, `run` per case."""

from medai.segment.loading import LoadedModel, load_model
from medai.segment.map_files import MapPlace
from medai.segment.segmentation import SegmentResult, run
from medai.segment.volumes import StructureVolume

__all__ = ["LoadedModel", "MapPlace", "SegmentResult", "StructureVolume", "load_model", "run"]
