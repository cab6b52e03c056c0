"""What a click network sees: the image, the mask so far, the prompts, and what the prompts say of the intensities.

The further channels hand a small network what it could only learn with many more weights: ranks of intensities, which
no change of contrast touches, and how much each voxel is like those that were clicked on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from medai.networks.grow_cut import grow_cut, smoothed

CHANNELS = (
    "image",
    "rank",
    "like_positive",
    "rank_like_positive",
    "rank_like_negative",
    "previous",
    "positive",
    "negative",
    "region",
    "grown",
)
CLICK_SIGMA = 1.5
"""Width of a click's ball, in voxels of the network's grid."""
PERCENTILES = (1.0, 99.0)
"""Percentiles of an image's intensities in the cube that become 0 and 1."""
LIMITS = (-0.5, 1.5)
"""Where intensities beyond these percentiles are cut."""
SEED = 0.4
"""From this height on a click's ball is a seed."""
_ROUNDS = 4  # enough to go around corners; what is further off is reached by the network
_QUANTILES = 65
_WIDTH = 0.08  # of likeness, in units of the normalised image and of ranks (both 0..1)
_MOST_SAMPLES = 12
_CLICKED = 0.9  # of a click's ball: its very centre


def click_channels(
    image: torch.Tensor, previous: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, region: torch.Tensor
) -> torch.Tensor:
    """(b, len(CHANNELS), n, n, n) of five (b, 1, n, n, n).

    `image` has its 1st and 99th percentile at 0 and 1, `previous` is the mask so far (0..1), `positive` and `negative`
    are balls of height 1 at the clicks, `region` is 1 and -1 in positive and negative boxes and lassos.
    """
    rank = torch.stack([_ranks(sample) for sample in image])
    smooth_image, smooth_rank = (functional.avg_pool3d(x, 3, 1, 1, count_include_pad=False) for x in (image, rank))
    likeness = [
        _likeness(image, smooth_image, positive),
        _likeness(rank, smooth_rank, positive),
        _likeness(rank, smooth_rank, negative),
    ]
    grown = grow_cut(smoothed(image), click_seeds(positive, negative, region), _ROUNDS)
    return torch.cat((2 * image - 1, 2 * rank - 1, *likeness, previous, positive, negative, region, grown), dim=1)


def click_seeds(positive: torch.Tensor, negative: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Seeds (b, 1, n, n, n) for grow-cut: 1 at positive clicks and in the heart of positive regions, -1 at negative
    ones, outside of positive boxes, in negative regions, and at the border of the cube; 0 elsewhere.
    """
    seeds = torch.zeros_like(positive)
    for axis in (2, 3, 4):
        seeds.select(axis, 0).fill_(-1)
        seeds.select(axis, -1).fill_(-1)
    wanted = region > 0
    for sample in torch.nonzero(wanted.flatten(1).any(dim=1)).flatten().tolist():
        seeds[sample, 0][_heart(wanted[sample, 0])] = 1
    seeds[region < 0] = -1
    seeds[negative > SEED] = -1
    seeds[(positive > SEED) & (negative <= positive)] = 1
    return seeds


def _heart(region: torch.Tensor) -> torch.Tensor:
    """The middle of a region (n, n, n): the same shape, a third as wide, around its centre."""
    where = torch.nonzero(region).float()
    center = where.mean(dim=0)
    inner = (center + (where - center) / 3).round().long()
    heart = torch.zeros_like(region)
    heart[tuple(inner.T)] = True
    return heart & region


def stamp_ball(target: torch.Tensor, center: Sequence[int], sigma: float = CLICK_SIGMA) -> None:
    """Draw a Gaussian ball of height 1 around a voxel of `target` (n, n, n); the higher value stays."""
    reach = math.ceil(3 * sigma)
    low = [max(c - reach, 0) for c in center]
    high = [min(c + reach + 1, n) for c, n in zip(center, target.shape, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return
    k, j, i = (
        (torch.arange(a, b, device=target.device) - c).square() for a, b, c in zip(low, high, center, strict=True)
    )
    square = (k[:, None, None] + j[None, :, None] + i[None, None, :]).to(target.dtype)
    window = target[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    torch.maximum(window, torch.exp(-square / (2 * sigma**2)), out=window)


def _ranks(sample: torch.Tensor) -> torch.Tensor:
    """The part of all voxels that is darker, 0..1, between a few quantiles by interpolation; (1, n, n, n)."""
    some = sample.flatten()[::5].contiguous()
    levels = torch.linspace(0, 1, _QUANTILES, device=sample.device, dtype=sample.dtype)
    edges = torch.quantile(some, levels)
    upper = torch.searchsorted(edges, sample.contiguous()).clamp_(1, _QUANTILES - 1)
    low, high = edges[upper - 1], edges[upper]
    within = ((sample - low) / (high - low).clamp_min(1e-6)).clamp_(0, 1)
    return (upper - 1 + within) / (_QUANTILES - 1)


def _likeness(values: torch.Tensor, smooth: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """1 where a voxel is as bright as a place that was clicked on, falling to 0; 0 where there are no clicks."""
    result = torch.zeros_like(values)
    for sample in range(len(values)):
        clicked = smooth[sample][prompts[sample] > _CLICKED]
        if len(clicked) > _MOST_SAMPLES:
            clicked = torch.quantile(
                clicked[:: 1 + len(clicked) // 4096], torch.linspace(0.05, 0.95, _MOST_SAMPLES, device=values.device)
            )
        for value in clicked:
            difference = (values[sample] - value) / _WIDTH
            torch.maximum(result[sample], torch.exp(-0.5 * difference * difference), out=result[sample])
    return result
