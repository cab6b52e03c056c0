"""Orientation, crop, normalisation and resampling of images for a network, and the exact way back."""

from medai.preprocessing.inversion import LabelWriter, invert_labels, invert_logits, label_dtype, running_argmax
from medai.preprocessing.normalization import NORMALIZATIONS, fit_normalization, normalize
from medai.preprocessing.pipeline import Prepared, Preprocessing
from medai.preprocessing.probability_maps import ProbabilityMaps
from medai.preprocessing.record import Record

__all__ = [
    "NORMALIZATIONS",
    "LabelWriter",
    "Prepared",
    "Preprocessing",
    "ProbabilityMaps",
    "Record",
    "fit_normalization",
    "invert_labels",
    "invert_logits",
    "label_dtype",
    "normalize",
    "running_argmax",
]
