"""Classify volumes, regions or segments with one model: `load_model` once, `run` per image."""

from medai.classify.classification import ClassifiedItem, ClassifyResult, run
from medai.classify.decision import decide
from medai.classify.loading import LoadedClassifier, load_model
from medai.inference.anomaly import Anomaly

__all__ = [
    "Anomaly",
    "ClassifiedItem",
    "ClassifyResult",
    "LoadedClassifier",
    "decide",
    "load_model",
    "run",
]
