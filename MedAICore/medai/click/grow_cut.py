"""Segment without a model: grow-cut from the prompts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import torch

from medai.click.grid import Floats
from medai.click.prompts import PromptMaps
from medai.networks.click_channels import click_seeds
from medai.networks.grow_cut import grow_cut, smoothed
from medai.progress import CancelCheck, check_cancelled, never_cancelled

# Difference across the object's surface over the spread within it.
_LEAST_CONTRAST = 1.0


class GrowCutEngine:
    """Segments the grid from its prompts alone; what touches the border of the grid counts as background."""

    name = "grow-cut"
    size = 48
    refines = False

    def warm_up(self, cancelled: CancelCheck = never_cancelled) -> None:
        """Nothing has to be prepared."""

    def rate(self, image: Floats, values: Floats, cut_off: bool, first: bool) -> float:
        """Contrast at the object's surface: a first cube that lies within the object gives a border just anywhere."""
        if not first:
            return 0.0 if cut_off else 1.0
        contrast = edge_contrast(image, values > 0.5) / _LEAST_CONTRAST
        return min(contrast, 0.5) if cut_off else contrast

    def steadied(self, image: Floats, values: Floats, maps: PromptMaps) -> Floats:
        """The result as it is."""
        return values

    def predict(
        self, image: Floats, previous: Floats, maps: PromptMaps, cancelled: CancelCheck = never_cancelled
    ) -> Floats:
        """Object (1) and background (0) on the grid; `image` has its intensities in 0..1, `previous` is not used."""
        check_cancelled(cancelled)
        positive, negative, region = (
            torch.from_numpy(a)[None, None] for a in (maps.positive, maps.negative, maps.region)
        )
        seeds = click_seeds(positive, negative, region)
        seeds[0, 0][torch.from_numpy(~maps.allowed)] = -1
        strength = grow_cut(smoothed(torch.from_numpy(image)[None, None]), seeds)
        return (strength[0, 0] > 0).numpy().astype(np.float32)


def edge_contrast(image: Floats, found: npt.NDArray[np.bool_]) -> float:
    """Difference of the mean intensities on both sides of the surface, in standard deviations within the object."""
    inner = found & ~scipy.ndimage.binary_erosion(found, iterations=2)
    outer = scipy.ndimage.binary_dilation(found, iterations=2) & ~found
    if not inner.any() or not outer.any():
        return 0.0
    difference = abs(float(image[inner].mean() - image[outer].mean()))
    return difference / max(float(image[found].std()), 1e-6)
