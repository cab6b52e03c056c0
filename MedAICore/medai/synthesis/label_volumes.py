"""Label maps as the generator takes them: indices into one table of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medai.config.label_maps import Contrast


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """One label map: uint8 `indices` (k, j, i), axes to superior, anterior, right, into the table of its set; 0 is air.

    `center_mm` and `extent_mm` (k, j, i) say where the segmented structures lie: the middle of their box and its size,
    in mm from the middle of the first voxel.
    """

    name: str
    indices: torch.Tensor
    spacing_mm: tuple[float, float, float]
    center_mm: npt.NDArray[np.float64]
    extent_mm: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelTable:
    """What the indices of a set of label volumes mean; entry 0 of every row is the background.

    `values` of the maps; `classes` 0..n that the network tells apart; `mirror` the index of the same structure on the
    other side; `tissue` the group of like structures (0 for none); `removable` whether it may be stripped.
    """

    values: tuple[int, ...]
    classes: torch.Tensor
    mirror: torch.Tensor
    tissue: torch.Tensor
    removable: torch.Tensor
    contrasts: tuple[Contrast, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sided(self) -> bool:
        """Whether any structure has a partner on the other side, so that mirrored images can be made."""
        return bool((self.mirror != torch.arange(len(self))).any())
