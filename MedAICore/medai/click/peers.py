"""Classic interactive tools, on the same clicks as the model: what it is measured against.

Each gets the part of the image around the clicks that a person would give it, and all clicks so far.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import SimpleITK as sitk

from medai.click.grow_cut import GrowCutEngine
from medai.click.session import ClickSession
from medai.click.simulation import SimulatedClick
from medai.image import Box, Image

Bools = npt.NDArray[np.bool_]
# What a tool makes of all clicks on one object so far, asked again after every click.
Peer = Callable[[Sequence[SimulatedClick]], Bools]
PeerFactory = Callable[[Image], Peer]
_MARGIN_MM = 60.0
_MULTIPLIERS = (3.0, 2.5, 2.0, 1.5, 1.0, 0.5)


def available_peers() -> tuple[dict[str, PeerFactory], list[str]]:
    """Name -> what makes the tool for one object of an image, and why others are left out."""
    peers: dict[str, PeerFactory] = {
        "grow-cut": grow_cut,
        "confidence-connected": lambda image: partial(confidence_connected, image),
        "fast-marching": lambda image: partial(fast_marching, image),
    }
    if importlib.util.find_spec("skimage") is None:
        return peers, ["The random walker is left out: the package scikit-image is not installed."]
    return peers | {"random-walker": lambda image: partial(random_walker, image)}, []


def grow_cut(image: Image) -> Peer:
    """Our own grow-cut, in a session as without a model."""
    session = ClickSession(image, GrowCutEngine())

    def after(clicks: Sequence[SimulatedClick]) -> Bools:
        for click in clicks[session.prompts :]:
            session.prompt(click.prompt(image))
        return session.mask > 0

    return after


def confidence_connected(image: Image, clicks: Sequence[SimulatedClick]) -> Bools:
    """Region growing by mean and deviation (ITK), as wide as no negative click is reached."""
    box = _around(image, clicks)
    picture = sitk.GetImageFromArray(np.asarray(image.channel(0)[box], np.float32))
    smooth = sitk.CurvatureFlow(picture, timeStep=0.0625, numberOfIterations=5)
    seeds = [_moved(click, box)[::-1] for click in clicks if click.positive]
    negatives = [_moved(click, box) for click in clicks if not click.positive]
    found = np.zeros(image.shape, bool)
    for multiplier in _MULTIPLIERS:
        grown = sitk.ConfidenceConnected(smooth, seeds, 2, multiplier, 1, 1)
        mask = sitk.GetArrayViewFromImage(sitk.BinaryFillhole(grown)) > 0
        if not any(mask[voxel] for voxel in negatives):
            found[box] = mask
            break
    return found


def fast_marching(image: Image, clicks: Sequence[SimulatedClick]) -> Bools:
    """Fronts from object and background (negative clicks, the border), slow at edges: who arrives first (ITK)."""
    box = _around(image, clicks)
    part = np.asarray(image.channel(0)[box], np.float32)
    spacing = np.array(image.spacing_mm)
    slope = scipy.ndimage.gaussian_gradient_magnitude(part, 1.0)
    speed = np.exp(-slope / max(float(np.percentile(slope, 75)), 1e-6)).astype(np.float32)
    wanted = [_moved(click, box) for click in clicks if click.positive]
    unwanted = [_moved(click, box) for click in clicks if not click.positive]
    # All of the border at once: a shell through which a front runs in no time.
    shell = np.pad(speed, 1, constant_values=np.float32(1e6))
    beyond = [(0, 0, 0), *((k + 1, j + 1, i + 1) for k, j, i in unwanted)]
    found = np.zeros(image.shape, bool)
    found[box] = _arrival(speed, wanted, spacing) < _arrival(shell, beyond, spacing)[1:-1, 1:-1, 1:-1]
    return found


def _arrival(
    speed: npt.NDArray[np.float32], seeds: Sequence[tuple[int, int, int]], spacing: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """When a front from the seeds (k, j, i) reaches each voxel."""
    picture = sitk.GetImageFromArray(speed)
    picture.SetSpacing([float(s) for s in spacing[::-1]])
    points = [(*seed[::-1], 0) for seed in seeds]
    arrival: npt.NDArray[np.float32] = sitk.GetArrayFromImage(sitk.FastMarching(picture, points, 1.0, 1e6))
    return arrival


def random_walker(image: Image, clicks: Sequence[SimulatedClick]) -> Bools:
    """Random walker (Grady 2006, scikit-image) with the border of the part as background."""
    from skimage.segmentation import random_walker as solve

    box = _around(image, clicks, 36.0)
    part = np.asarray(image.channel(0)[box], np.float64)
    low, high = np.percentile(part, (1, 99))
    seeds = np.full(part.shape, 2, np.int32)
    seeds[tuple(slice(1, -1) if n > 4 else slice(None) for n in part.shape)] = 0
    for click in clicks:
        seeds[_moved(click, box)] = 1 if click.positive else 2
    scaled = np.clip((part - low) / max(high - low, 1e-9), 0, 1)
    found = np.zeros(image.shape, bool)
    found[box] = solve(scaled, seeds, beta=130, mode="cg_j", spacing=image.spacing_mm) == 1
    return found


def _around(image: Image, clicks: Sequence[SimulatedClick], margin_mm: float = _MARGIN_MM) -> Box:
    voxels = np.array([click.voxel for click in clicks])
    margin = np.ceil(margin_mm / np.array(image.spacing_mm)).astype(int)
    low = np.maximum(voxels.min(axis=0) - margin, 0)
    high = np.minimum(voxels.max(axis=0) + margin + 1, image.shape)
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _moved(click: SimulatedClick, box: Box) -> tuple[int, int, int]:
    k, j, i = (v - side.start for v, side in zip(click.voxel, box, strict=True))
    return k, j, i
