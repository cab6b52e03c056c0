"""The whole way from an image as it came to the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medai.config.model_card import InputSpec, ModelCard, Normalization
from medai.errors import GeometryError, InputError
from medai.image import Array, Box, Image, crop
from medai.preprocessing.cropping import CropName, crop_box, intersect
from medai.preprocessing.normalization import normalize, scaling
from medai.preprocessing.orientation import Orientation, closest_to_ras
from medai.preprocessing.record import Record
from medai.preprocessing.resampling import Shape, resample, resample_labels, spline_orders, target_shape
from medai.progress import CancelCheck, check_cancelled, never_cancelled


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network's input: float32 (c, k, j, i), contiguous, and how it came about.

    With `part` the array holds only this box (slices over k, j, i) of the record's grid.

    `array` is the image's own where nothing had to be done to it: not to be written to.
    """

    array: npt.NDArray[np.float32]
    record: Record
    part: Box | None = None

    def as_image(self) -> Image:
        """The prepared voxels with the geometry of the network's grid."""
        if self.part is None:
            return Image(self.array, self.record.ijk_to_ras)
        whole = np.broadcast_to(self.array[:, :1, :1, :1], (len(self.array), *self.record.shape))
        return replace(crop(Image(whole, self.record.ijk_to_ras), self.part), array=self.array)

    def only(self, part: Box) -> Prepared:
        """The same with a box of the voxels: to compute the very numbers of the whole, in a part of it."""
        return Prepared(np.ascontiguousarray(self.array[(slice(None), *part)]), self.record, part)


@dataclass(frozen=True)
class Preprocessing:
    """Orientation to RAS, crop, normalisation, resampling to `spacing_mm` (k, j, i): in this order, as nnU-Net does.

    Normalising comes before resampling so that a background of zeros stays sharp. With `planar` (2D models) the slice
    axis is left as it is: no reordering, no resampling along it.
    """

    inputs: tuple[InputSpec, ...]
    spacing_mm: tuple[float, float, float]
    crop: CropName = "none"
    planar: bool = False

    @classmethod
    def from_card(cls, card: ModelCard) -> Preprocessing:
        """The preprocessing that the model was trained with."""
        return cls(card.inputs, card.spacing_mm, card.crop, planar=card.patch[0] == 1)

    @classmethod
    def from_plan(
        cls, inputs: Sequence[InputSpec], spacing_mm: tuple[float, float, float], crop: CropName, planar: bool = False
    ) -> Preprocessing:
        """The preprocessing that a training plan asks for."""
        return cls(tuple(inputs), spacing_mm, crop, planar)

    def apply(self, image: Image, region: Box | None = None, cancelled: CancelCheck = never_cancelled) -> Prepared:
        """The network's input for `image`; only its `region` (slices over k, j, i of the input grid) where given.

        Intensity statistics come from the whole image in any case, so that a region is scaled as the whole would be.
        Raises InputError where the number of channels is not the model's, and Cancelled.
        """
        if image.channels != len(self.inputs):
            names = ", ".join(spec.name for spec in self.inputs)
            raise InputError(
                f"Image '{image.name}' has {image.channels} channels, the model takes {len(self.inputs)} ({names}).",
                "Give one image of one channel for each, in this order.",
            )
        orientation = self._orientation(image)
        oriented = orientation.apply(image.array)
        foreground = crop_box(oriented, self.crop)
        box = foreground
        if region is not None:
            wanted = orientation.apply_box(region, image.shape)
            # A region in the empty part is computed all the same: it was asked for.
            box = intersect(foreground, wanted) or wanted
        record = self._record(image, orientation, box)
        if not record.resampled and all(spec.normalization == Normalization("none") for spec in self.inputs):
            # Nothing to do: a copy of a large image would be the largest thing in memory.
            return Prepared(np.ascontiguousarray(oriented[(slice(None), *box)], dtype=np.float32), record)
        array = np.empty((image.channels, *record.box_shape), np.float32)
        for n, spec in enumerate(self.inputs):
            check_cancelled(cancelled)
            by = scaling(spec.normalization, oriented[(n, *foreground)])
            array[n] = normalize(spec.normalization, oriented[(n, *box)], by)
        if record.resampled:
            array = resample(array, record.shape, record.orders, cancelled)
        return Prepared(np.ascontiguousarray(array), record)

    def apply_labels(self, label_map: Image, record: Record) -> Array:
        """Labels (k, j, i) on the network's grid, for training; dtype is kept.

        Raises GeometryError where the label map is not on the image's grid.
        """
        if not np.issubdtype(label_map.array.dtype, np.integer):
            raise InputError(f"Label map '{label_map.name}' holds {label_map.array.dtype}.", "Give whole numbers.")
        source = Image(np.empty((1, *record.source_shape), np.uint8), record.source_ijk_to_ras)
        if not label_map.same_grid(source, tolerance_voxels=0.05):
            raise GeometryError(
                f"Label map '{label_map.name}' of shape {label_map.shape} is not on the grid of its image "
                f"(shape {record.source_shape}).",
                "Export the labels on the image's grid.",
            )
        return np.ascontiguousarray(resample_labels(record.view(label_map.array[0]), record.shape, record.orders))

    def _orientation(self, image: Image) -> Orientation:
        if not self.planar:
            return closest_to_ras(image.ijk_to_ras)
        if min(image.shape) == 1:
            return closest_to_ras(image.ijk_to_ras, first_axis=image.shape.index(1))
        return closest_to_ras(image.ijk_to_ras)

    def _record(self, image: Image, orientation: Orientation, box: Box) -> Record:
        shape: Shape = (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
        spacing = orientation.apply_shape(image.spacing_mm)  # type: ignore[arg-type]
        target: tuple[float, float, float] = self.spacing_mm
        if self.planar:
            target = (float(spacing[0]), target[1], target[2])
        new_shape = target_shape(shape, spacing, target)
        return Record(
            source_shape=image.shape,
            source_ijk_to_ras=image.ijk_to_ras,
            orientation=orientation,
            box=box,
            shape=new_shape,
            orders=(0, 3, 3) if self.planar else spline_orders(spacing, target, order=3),
        )
