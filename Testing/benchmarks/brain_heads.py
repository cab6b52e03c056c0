"""Heads for the brain model: label maps rendered to images whose truth is known, and altered copies of one head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from medai.image import Array, Image
from medai.imageio.sitk_bridge import array_of, matrix_of, to_sitk
from medai.synthesis.contrasts import draw_intensities
from medai.synthesis.draws import blur, uniform
from medai.synthesis.label_volumes import LabelTable, LabelVolume

_AIR_MM = 10  # around the head
_ROTATION_DEGREES = (12.0, -9.0, 15.0)


@dataclass(frozen=True, eq=False)
class Head:
    """An image with the classes (k, j, i) of its voxels, 1..n of the model's labels."""

    image: Image
    truth: Array


def rendered(volume: LabelVolume, table: LabelTable, seed: int, slice_mm: int = 1) -> Head:
    """A whole head of random contrast (no known one) at 1 mm, or in axial slices `slice_mm` thick; noise, bias, blur.

    The truth of a thick slice's voxel is the class of most of its millimetres.
    """
    generator = torch.Generator().manual_seed(seed)
    indices = torch.nn.functional.pad(volume.indices, (_AIR_MM,) * 6).long()
    means, spreads = draw_intensities(replace(table, contrasts=()), generator)
    image = means[indices] + spreads[indices] * torch.randn(indices.shape, generator=generator)
    image = blur(image, [uniform(0.3, 0.8, generator)] * 3)
    cells = torch.randn(1, 1, 4, 4, 4, generator=generator) * uniform(0, 0.3, generator)
    bias = torch.nn.functional.interpolate(cells, size=indices.shape, mode="trilinear", align_corners=True)[0, 0]
    image = image * bias.exp()
    classes = table.classes.to(torch.uint8)[indices]
    if slice_mm > 1:
        count = len(indices) // slice_mm
        kept = count * slice_mm
        image = image[:kept].reshape(count, slice_mm, *image.shape[1:]).mean(1)
        classes = classes[:kept].reshape(count, slice_mm, *classes.shape[1:]).mode(1).values
    noise = uniform(0.01, 0.06, generator) * float(image.max() - image.min())
    image = 1000 * (image + noise * torch.randn(image.shape, generator=generator))
    matrix = np.diag([1.0, 1.0, float(slice_mm), 1.0])
    return Head(Image(image.numpy()[None].astype(np.float32), matrix, volume.name, "MR"), classes.numpy())


@dataclass(frozen=True, eq=False)
class Copy:
    """An altered copy of a head; `back` takes its labels (k, j, i) to the head's grid, `swap` says left is right.

    `covered` is the part of the head's grid that the copy shows.
    """

    name: str
    image: Image
    back: Callable[[Array], Array]
    covered: Array
    swap: bool = False


def copies(image: Image) -> list[Copy]:
    """Rotated, flipped, cropped, resampled and inverted copies of a head in RAS axes."""
    everywhere = np.ones(image.shape, bool)
    low, high = float(image.array.min()), float(image.array.max())
    inverted = image.with_array((low + high - image.array).astype(np.float32))
    flipped = image.with_array(np.ascontiguousarray(image.array[..., ::-1]))
    return [
        _on_grid("rotated", image, _turned_grid(image)),
        Copy("flipped", flipped, lambda labels: labels[..., ::-1], everywhere, swap=True),
        _cropped(image),
        _on_grid("resampled", image, _other_spacing(image)),
        Copy("inverted", inverted, lambda labels: labels, everywhere),
    ]


def _cropped(image: Image) -> Copy:
    """Without the lowest fifth of the slices and an eighth of the rows in front."""
    k, j, _ = image.shape
    box = (slice(k // 5, k), slice(0, j - j // 8), slice(None))
    matrix = image.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] * (k // 5)
    covered = np.zeros(image.shape, bool)
    covered[box] = True

    def back(labels: Array) -> Array:
        whole = np.zeros(image.shape, labels.dtype)
        whole[box] = labels
        return whole

    part = Image(np.ascontiguousarray(image.array[(slice(None), *box)]), matrix, image.name, image.modality)
    return Copy("cropped", part, back, covered)


def _on_grid(name: str, image: Image, grid: sitk.Image) -> Copy:
    source = to_sitk(image)
    resampled = sitk.Resample(source, grid, sitk.Transform(), sitk.sitkLinear, float(image.array.min()))
    there = Image(array_of(resampled)[None], matrix_of(grid), image.name, image.modality)

    def back(labels: Array) -> Array:
        found = sitk.GetImageFromArray(labels.astype(np.uint16))
        found.CopyInformation(grid)
        return array_of(sitk.Resample(found, source, sitk.Transform(), sitk.sitkNearestNeighbor))

    covered = back(np.ones(there.shape, np.uint16)) > 0
    return Copy(name, there, back, covered)


def _turned_grid(image: Image) -> sitk.Image:
    """The head's grid turned about its centre and large enough to hold it."""
    source = to_sitk(image)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(np.deg2rad(angle) for angle in _ROTATION_DEGREES))
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ np.array(source.GetDirection()).reshape(3, 3)
    size = [int(n * 1.15) for n in source.GetSize()]
    center = np.array(source.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in source.GetSize()]))
    half = np.array([(n - 1) / 2 for n in size]) * np.array(source.GetSpacing())
    return _grid(size, source.GetSpacing(), direction, center - direction @ half)


def _other_spacing(image: Image) -> sitk.Image:
    source = to_sitk(image)
    spacing = np.array([1.5, 1.2, 0.9])
    extent = np.array(source.GetSize()) * np.array(source.GetSpacing())
    direction = np.array(source.GetDirection()).reshape(3, 3)
    shift = (spacing - np.array(source.GetSpacing())) / 2
    return _grid(
        [int(n) for n in extent / spacing], spacing, direction, np.array(source.GetOrigin()) + direction @ shift
    )


def _grid(size: list[int], spacing: Any, direction: Array, origin: Array) -> sitk.Image:
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([float(mm) for mm in spacing])
    grid.SetDirection([float(v) for v in direction.ravel()])
    grid.SetOrigin([float(v) for v in origin])
    return grid
