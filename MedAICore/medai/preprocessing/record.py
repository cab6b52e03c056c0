"""What preprocessing did to an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medai.image import Affine, Array, Box
from medai.preprocessing.orientation import Orientation
from medai.preprocessing.resampling import Orders, Shape


@dataclass(frozen=True, eq=False)
class Record:
    """What was done to an image: enough to do it to its labels and to undo it. Axes are (k, j, i).

    `source_shape` is the input grid, `box` the kept part of the *oriented* grid, `shape` the network's grid.
    """

    source_shape: Shape
    source_ijk_to_ras: Affine
    orientation: Orientation
    box: Box
    shape: Shape
    orders: Orders

    @property
    def box_shape(self) -> Shape:
        """Voxels of the kept part before resampling."""
        k, j, i = (part.stop - part.start for part in self.box)
        return k, j, i

    @property
    def resampled(self) -> bool:
        """Whether the network's grid is another than the image's."""
        return self.shape != self.box_shape

    @property
    def ijk_to_ras(self) -> Affine:
        """Geometry of the network's grid, 4x4 RAS mm."""
        matrix = self.orientation.apply_affine(self.source_ijk_to_ras, self.source_shape)
        start_ijk = np.array([part.start for part in self.box[::-1]], dtype=np.float64)
        scale_ijk = np.array(self.box_shape[::-1]) / np.array(self.shape[::-1])
        # The outer faces of both grids coincide, so the first centre moves by half the change of the spacing.
        matrix[:3, 3] += matrix[:3, :3] @ (start_ijk + 0.5 * scale_ijk - 0.5)
        matrix[:3, :3] *= scale_ijk
        return matrix

    def view(self, native: Array) -> Array:
        """The kept part of `native` (..., k, j, i on the input grid) in oriented axes; writes go through."""
        return self.orientation.apply(native)[(..., *self.box)]
