"""Brings what is classified (a volume, a region of it, a structure) to the one size that a classifier sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medai.config.model_card import FramingSpec, InputSpec, ModelCard
from medai.errors import InputError
from medai.image import Affine, Array, Box, Image
from medai.preprocessing.axis_sampling import AxisSampling, sample
from medai.preprocessing.normalization import normalize
from medai.preprocessing.orientation import Orientation, closest_to_ras

MASK = "SEG"
"""Modality of an input that is the binary mask of what is classified, not an image."""


@dataclass(frozen=True, eq=False)
class Framed:
    """The network's input for one item: `array` (c, k, j, i) float32, and where its voxels lie (4x4, RAS mm)."""

    array: npt.NDArray[np.float32]
    ijk_to_ras: Affine


@dataclass(frozen=True)
class Framing:
    """The preprocessing of a classifier: axes to RAS, a box cut out, resampled to `patch`, normalised.

    A `patch` of k = 1 is a 2D network, which sees one slice. Intensity statistics are those of the input that the
    network sees.
    """

    inputs: tuple[InputSpec, ...]
    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    spec: FramingSpec

    @classmethod
    def from_card(cls, card: ModelCard) -> Framing:
        """The preprocessing that the model was trained with."""
        return cls(card.inputs, card.spacing_mm, card.patch, card.framing or FramingSpec())

    @property
    def planar(self) -> bool:
        """Whether the network sees one slice."""
        return self.patch[0] == 1

    def apply(
        self, image: Image, box: Box | None = None, mask: Array | None = None, structure: bool = False
    ) -> tuple[Framed, list[str]]:
        """The network's input for the part `box` (slices over k, j, i) of `image`, and warnings.

        `image` has one channel for each input that is no mask (one channel, whose values are not looked at, where all
        are masks). `mask` (k, j, i) on the image's grid is what inputs of the modality SEG show; without it the image's
        first channel above 0 is the mask. `structure`: the box is that of a structure and gets the margin. Raises
        InputError where a 3D network is given a single slice.
        """
        orientation, warnings = self._orientation(image)
        part = _whole(image.shape) if box is None else box
        if mask is None and all(spec.modality == MASK for spec in self.inputs):
            mask = image.channel(0) > 0
            part = _mask_box(mask, part)
        box = orientation.apply_box(part, image.shape)
        if structure:
            box = _widened(box, self.spec.margin)
        spacing = orientation.apply_shape(image.spacing_mm)  # type: ignore[arg-type]
        axes, note = self._axes(box, orientation.apply_shape(image.shape), (spacing[0], spacing[1], spacing[2]))
        warnings += note
        channels = iter(orientation.apply(image.array))
        shown = None if mask is None else orientation.apply(mask)
        array = np.empty((len(self.inputs), *self.patch), np.float32)
        for n, spec in enumerate(self.inputs):
            if spec.modality == MASK:
                array[n] = 0.0 if shown is None else sample(shown, axes, "linear", 0.0) >= 0.5
            else:
                array[n] = _image_channel(next(channels), axes, spec)
        return Framed(array, _geometry(image, orientation, axes)), warnings

    def _orientation(self, image: Image) -> tuple[Orientation, list[str]]:
        if not self.planar:
            if min(image.shape) == 1 and max(image.shape) > 1:
                raise InputError(
                    f"Image '{image.name}' is a single slice ({image.shape[2]} x {image.shape[1]} voxels); the model "
                    "looks at volumes.",
                    "Give a 3D volume, or use a model for 2D images.",
                )
            return closest_to_ras(image.ijk_to_ras), []
        if min(image.shape) == 1:
            return closest_to_ras(image.ijk_to_ras, first_axis=image.shape.index(1)), []
        return closest_to_ras(image.ijk_to_ras), [
            f"The model looks at single images; of the volume '{image.name}' only the slice in the middle is used."
        ]

    def _axes(
        self, box: Sequence[slice], shape: Sequence[int], spacing: tuple[float, float, float]
    ) -> tuple[tuple[AxisSampling, ...], list[str]]:
        """How the network's grid lies in the oriented one, per axis."""
        axes = []
        if self.planar:
            middle = (box[0].start + box[0].stop - 1) // 2
            axes.append(AxisSampling(min(max(middle, 0), shape[0] - 1), 1.0, 1))
        rest = range(len(axes), 3)
        steps = self._steps(box, spacing, rest)
        for axis in rest:
            count, step = self.patch[axis], steps[axis]
            start = (box[axis].start + box[axis].stop) / 2 - count * step / 2
            if abs(step - 1.0) < 0.02 and self.spec.method == "spacing":
                # The voxels have the right size: half a voxel to the side is better than to blur them all.
                step, start = 1.0, float(np.floor(start + 0.5))
            axes.append(AxisSampling(start, step, count))
        return tuple(axes), []

    def _steps(self, box: Sequence[slice], spacing: tuple[float, float, float], axes: range) -> dict[int, float]:
        """Source voxels per voxel of the network's grid."""
        if self.spec.method == "spacing":
            return {axis: self.spacing_mm[axis] / spacing[axis] for axis in axes}
        steps = {axis: (box[axis].stop - box[axis].start) / self.patch[axis] for axis in axes}
        if self.spec.method == "proportional":
            # One scale in mm for all axes: the smallest, so that nothing outside of the box is seen.
            scale = min(steps[axis] * spacing[axis] for axis in axes)
            steps = {axis: scale / spacing[axis] for axis in axes}
        return steps


def _image_channel(channel: Array, axes: Sequence[AxisSampling], spec: InputSpec) -> npt.NDArray[np.float32]:
    outside = float(channel.min())
    return normalize(spec.normalization, sample(channel, axes, "cubic", outside))


def _geometry(image: Image, orientation: Orientation, axes: Sequence[AxisSampling]) -> Affine:
    matrix = orientation.apply_affine(image.ijk_to_ras, image.shape)
    step_ijk = np.array([axis.step for axis in axes[::-1]])
    # From outer faces to the centre of the first voxel.
    first_ijk = np.array([axis.start for axis in axes[::-1]]) + 0.5 * step_ijk - 0.5
    matrix[:3, 3] += matrix[:3, :3] @ first_ijk
    matrix[:3, :3] *= step_ijk
    return matrix


def _whole(shape: tuple[int, int, int]) -> Box:
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


def _mask_box(mask: Array, box: Box) -> Box:
    """The box around the mask inside `box`; `box` where the mask is empty there."""
    inside = mask[box]
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(hit) == 0:
            return box
        slices.append(slice(box[axis].start + int(hit[0]), box[axis].start + int(hit[-1]) + 1))
    return slices[0], slices[1], slices[2]


def _widened(box: Box, margin: float) -> Box:
    sides = [(part.start, part.stop, round(margin * (part.stop - part.start))) for part in box]
    slices = [slice(start - more, stop + more) for start, stop, more in sides]
    return slices[0], slices[1], slices[2]
