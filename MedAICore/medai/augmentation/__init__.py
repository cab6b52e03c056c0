"""Batched augmentation in torch: runs on the GPU where training does, and cheaply on a CPU."""

from medai.augmentation.pipeline import augment, augment_inputs
from medai.augmentation.settings import AugmentationSettings

__all__ = ["AugmentationSettings", "augment", "augment_inputs"]
