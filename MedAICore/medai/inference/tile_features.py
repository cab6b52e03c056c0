"""One row of features for a whole volume: the means over some tiles of what a segmentation network sees in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import nn

from medai.image import Array
from medai.inference.anomaly import Features, feature_layers
from medai.inference.classification import pooled_features

_MOST_TILES = 8


def tile_layers(network: nn.Module, channels: int, patch: Sequence[int], device: torch.device) -> tuple[str, ...]:
    """The layers of a segmentation network whose features are compared, for tiles of `patch` voxels (k, j, i)."""
    example = torch.zeros((1, channels, *patch), device=device)
    return feature_layers(network, example.squeeze(2) if patch[0] == 1 else example)


@torch.no_grad()
def tile_features(
    network: nn.Module, array: Array, patch: Sequence[int], layers: Sequence[str], device: torch.device
) -> Features:
    """Features (1, d) of a preprocessed image (c, k, j, i): means over at most eight tiles spread over it.

    Few tiles are enough to tell another organ or modality, and keep this a small part of a segmentation's time.
    """
    rows = []
    for start in _tile_starts(array.shape[1:], patch):
        tile = np.asarray(array[(slice(None), *(slice(s, s + n) for s, n in zip(start, patch, strict=True)))])
        missing = [(0, n - size) for n, size in zip(patch, tile.shape[1:], strict=True)]
        if any(after for _, after in missing):
            tile = np.pad(tile, [(0, 0), *missing], mode="edge")
        x = torch.from_numpy(tile.astype(np.float32))[None].to(device)
        rows.append(pooled_features(network, layers, x.squeeze(2) if patch[0] == 1 else x))
    mean: Features = np.concatenate(rows).mean(axis=0, keepdims=True)
    return mean


def _tile_starts(shape: Sequence[int], patch: Sequence[int]) -> list[tuple[int, ...]]:
    """First voxels (k, j, i) of tiles that lie evenly over the volume: two along an axis that has room for it."""
    along = []
    for size, width in zip(shape, patch, strict=True):
        room = max(size - width, 0)
        along.append([room // 2] if room < width // 2 else [room // 4, room - room // 4])
    return list(product(*along))[:_MOST_TILES]
