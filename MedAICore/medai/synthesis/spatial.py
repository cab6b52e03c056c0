"""Cut a cube out of a volume: any place, size, direction; anisotropic voxels are handled in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from medai.synthesis.draws import chance, uniform


@dataclass(frozen=True, eq=False)
class RandomFrame:
    """A cube of `size` voxels of `voxel_mm` around `center` (voxel position k, j, i of the volume).

    `axes` (3, 3) are the cube's axes in mm along the volume's (k, j, i): columns, orthonormal.
    """

    center: npt.NDArray[np.float64]
    voxel_mm: float
    size: int
    axes: npt.NDArray[np.float64]

    @staticmethod
    def random_axes(tilt: float, generator: torch.Generator) -> npt.NDArray[np.float64]:
        """A random choice of the volume's axes, mirrored at random; half of the time tilted by up to `tilt` rad."""
        order = torch.randperm(3, generator=generator).numpy()
        axes = np.eye(3)[:, order] * np.array([1.0 if chance(0.5, generator) else -1.0 for _ in range(3)])
        if tilt <= 0 or chance(0.5, generator):
            return axes
        a, b, c = (uniform(-tilt, tilt, generator) for _ in range(3))
        spin = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
        rotation, _ = np.linalg.qr(np.eye(3) + spin)
        turned: npt.NDArray[np.float64] = rotation @ axes
        return turned

    def positions(self, spacing_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Voxel positions (size, size, size, 3), (k, j, i), of the cube's voxels in a volume of this spacing."""
        offsets = (np.arange(self.size) - (self.size - 1) / 2) * self.voxel_mm
        k, j, i = (offsets[:, None] * self.axes[:, a] / spacing_mm for a in range(3))  # each (size, 3)
        return np.asarray(self.center + k[:, None, None] + j[None, :, None] + i[None, None, :], np.float32)

    def steps(self, spacing_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How many voxels of the volume a voxel of the cube is long, along (k, j, i) of the volume."""
        lengths: npt.NDArray[np.float64] = np.abs(self.axes).max(axis=1) * self.voxel_mm / spacing_mm
        return lengths

    def inside(self, shape: tuple[int, ...], positions: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """(size, size, size): whether a position lies in the volume's extent."""
        beyond = (positions <= -0.5) | (positions >= np.array(shape) - 0.5)
        return ~np.asarray(beyond.any(axis=-1), bool)


def sample_linear(
    volume: npt.NDArray[np.generic],
    positions: npt.NDArray[np.float32],
    step_voxels: npt.NDArray[np.float64],
    label: int | None = None,
) -> torch.Tensor:
    """float32 (n, n, n): the volume (k, j, i) at positions (n, n, n, 3), linear; averaged where steps are long.

    Of a label map it is the part (0..1) of `label`. Beyond the volume its border is repeated. Only the part of the
    volume around the positions is read.
    """
    part, moved = _part(volume, positions)
    values = np.array(part if label is None else part == label, dtype=np.float32)
    tensor = torch.from_numpy(values)[None, None]
    pooling = [max(1, min(int(step), n)) for step, n in zip(step_voxels, part.shape, strict=True)]
    if max(pooling) > 1:
        tensor = functional.avg_pool3d(tensor, pooling, pooling, ceil_mode=True, count_include_pad=False)
        moved = ((moved + 0.5) / np.asarray(pooling, np.float32) - 0.5).astype(np.float32)
    return _grid_sample(tensor, moved, "bilinear")


def sample_nearest(volume: npt.NDArray[np.generic], positions: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
    """The volume (k, j, i) at positions (n, n, n, 3), nearest voxel, the border repeated."""
    last = np.array(volume.shape) - 1
    k, j, i = np.clip(np.rint(positions), 0, last).astype(np.int64).transpose(3, 0, 1, 2)
    found: npt.NDArray[np.generic] = volume[k, j, i]
    return found


def _part(
    volume: npt.NDArray[np.generic], positions: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float32]]:
    flat = positions.reshape(-1, 3)
    last = np.array(volume.shape) - 1
    low = np.clip(np.floor(flat.min(axis=0)).astype(int) - 1, 0, last)
    high = np.clip(np.ceil(flat.max(axis=0)).astype(int) + 1, 0, last)
    part = volume[low[0] : high[0] + 1, low[1] : high[1] + 1, low[2] : high[2] + 1]
    return part, positions - low.astype(np.float32)


def _grid_sample(tensor: torch.Tensor, positions: npt.NDArray[np.float32], mode: str) -> torch.Tensor:
    size = np.array(tensor.shape[2:], np.float32)
    scaled = (2 * positions + 1) / size - 1
    grid = torch.from_numpy(np.ascontiguousarray(scaled[..., ::-1]))[None]
    return functional.grid_sample(tensor, grid, mode=mode, padding_mode="border", align_corners=False)[0, 0]
