"""The heat maps of all items of a run, as one volume on the image's grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from medai.classify.loading import LoadedClassifier
from medai.config.classify import ClassifyConfig
from medai.image import Affine, Array, Image
from medai.preprocessing.framing import Framed
from medai.progress import CancelCheck

_SLAB_VOXELS = 1 << 20


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Collects heat maps; `image` is None where none was asked for."""

    config: ClassifyConfig
    model: LoadedClassifier
    image: Image | None

    @classmethod
    def start(cls, config: ClassifyConfig, model: LoadedClassifier, grid: Image) -> HeatMap:
        """An empty map on the grid of `grid`; nothing is collected where the configuration asks for none."""
        if not config.explain:
            return cls(config, model, None)
        array = np.zeros((1, *grid.shape), np.float32)
        return cls(config, model, Image(array, grid.ijk_to_ras, f"{grid.name} heat map"))

    def add(
        self, framed: Framed, predicted: str, cancelled: CancelCheck, progress: Callable[[float], None] | None = None
    ) -> None:
        """Lay the map of one item over what is there: at each voxel the larger value stays.

        `progress` gets the part of this item that is done, 0 to 1.
        """
        if self.image is None or not self.config.explain:
            return
        import torch

        from medai.explain import heat_map

        index = self.model.classes.index(self.config.explain_class or predicted)
        x = torch.from_numpy(framed.array)[None].to(self.model.device)
        if self.model.planar:
            x = x.squeeze(2)
        networks = self.model.networks_of(self.config.folds)
        told = progress or (lambda fraction: None)
        maps = [
            heat_map(
                net,
                x,
                index,
                self.config.explain,
                cancelled=cancelled,
                progress=lambda part, n=n: told((n + part) / len(networks)),  # type: ignore[misc]
            )
            for n, net in enumerate(networks)
        ]
        heat = torch.stack(maps).mean(dim=0).cpu().numpy()
        if heat.max() > 0:  # networks of an ensemble look at different places: their mean has no 1 any more
            heat /= heat.max()
        lay_over(self.image, heat.reshape(framed.array.shape[1:]), framed.ijk_to_ras)


def lay_over(target: Image, heat: Array, ijk_to_ras: Affine) -> None:
    """Put `heat` (k, j, i), whose voxels lie where `ijk_to_ras` says, into `target`: the maximum of both stays.

    Voxels of the target whose centre lies outside of the heat map's grid (its voxels' outer faces) are left as they
    are; between the centres it is interpolated linearly.
    """
    heat_of_target = np.linalg.inv(ijk_to_ras) @ target.ijk_to_ras
    size_ijk = np.array(heat.shape[::-1], dtype=float)
    ends = np.array([(i, j, k, 1.0) for i in (-0.5, size_ijk[0] - 0.5) for j in (-0.5, size_ijk[1] - 0.5)
                     for k in (-0.5, size_ijk[2] - 0.5)])  # fmt: skip
    corners = (ends @ np.linalg.inv(heat_of_target).T)[:, :3]
    low = np.clip(np.ceil(corners.min(axis=0) - 1e-6).astype(int), 0, np.array(target.shape[::-1]))
    high = np.clip(np.floor(corners.max(axis=0) + 1e-6).astype(int) + 1, 0, np.array(target.shape[::-1]))
    if (low >= high).any():
        return
    # A slab at a time: the places of all voxels of a large CT would take gigabytes.
    planes = max(1, _SLAB_VOXELS // int((high[0] - low[0]) * (high[1] - low[1])))
    for first in range(int(low[2]), int(high[2]), planes):
        last = min(first + planes, int(high[2]))
        sides = np.arange(first, last), np.arange(low[1], high[1]), np.arange(low[0], high[0])
        k, j, i = np.meshgrid(*sides, indexing="ij")
        places = np.stack([i, j, k, np.ones_like(k)]).reshape(4, -1)
        ijk = (heat_of_target @ places)[:3]
        inside = ((ijk >= -0.5 - 1e-6) & (ijk <= size_ijk[:, None] - 0.5 + 1e-6)).all(axis=0)
        values = scipy.ndimage.map_coordinates(heat, ijk[::-1], order=1, mode="nearest", output=np.float32)
        values = np.where(inside, values, 0.0).reshape(k.shape)
        part = target.array[0, first:last, low[1] : high[1], low[0] : high[0]]
        np.maximum(part, values, out=part)
