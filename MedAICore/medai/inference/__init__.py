"""Trained networks on whole volumes: devices, engines, sliding window, memory."""

from medai.inference.device import available_devices, choose_device, half_precision
from medai.inference.predictor import MirroredPredictor, Predictor, TorchPredictor
from medai.inference.sliding_window import SlidingWindow

__all__ = [
    "MirroredPredictor",
    "Predictor",
    "SlidingWindow",
    "TorchPredictor",
    "available_devices",
    "choose_device",
    "half_precision",
]
