"""Losses of segmentation."""

from medai.losses.dice_ce import DeepSupervision, dice_and_cross_entropy

__all__ = ["DeepSupervision", "dice_and_cross_entropy"]
