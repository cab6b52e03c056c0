"""Losses of segmentation."""

from medai.losses.by_name import LOSSES, segmentation_loss
from medai.losses.dice_ce import DeepSupervision, dice_and_cross_entropy
from medai.losses.unknown_labels import merge_unknown

__all__ = ["LOSSES", "DeepSupervision", "dice_and_cross_entropy", "merge_unknown", "segmentation_loss"]
