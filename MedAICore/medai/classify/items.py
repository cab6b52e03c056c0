"""What a run classifies: the whole volume, regions, or each label of a label map; and the inputs made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.ndimage

from medai.classify.loading import LoadedClassifier
from medai.errors import InputError
from medai.image import Array, Box, Image, Roi
from medai.label_statistics import LabelExtent, label_extents
from medai.labels import LabelScheme, unnamed_scheme
from medai.preprocessing.framing import MASK, Framed
from medai.segment.channels import combine_channels


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to classify. `value` is its label (None: no segment), `framed` what the network sees."""

    name: str
    value: int | None
    framed: Framed
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Scene:
    """The input of a run: one image with the model's image channels, and the regions or the label map."""

    image: Image
    rois: Sequence[Roi] = ()
    label_map: Image | None = None
    labels: LabelScheme | None = None

    def items(self, model: LoadedClassifier) -> Iterator[Item]:
        """The items, made one by one, so that no more than a batch of them is held."""
        if self.label_map is not None:
            yield from self._segments(model, self.label_map)
        elif self.rois:
            for number, roi in enumerate(self.rois, start=1):
                framed, notes = model.framing.apply(self.image, roi.index_box(self.image))
                yield Item(f"ROI {number}", None, framed, tuple(notes))
        else:
            framed, notes = model.framing.apply(self.image)
            yield Item(self.image.name or "volume", None, framed, tuple(notes))

    def count(self) -> int:
        """How many items there are."""
        if self.label_map is not None:
            return len(self._wanted(self.label_map))
        return len(self.rois) or 1

    @cached_property
    def _extents(self) -> dict[int, LabelExtent]:
        """Size and box of every label, from one pass over the label map."""
        return {} if self.label_map is None else label_extents(self.label_map.channel(0))

    def _wanted(self, label_map: Image) -> LabelScheme:
        scheme = self.labels or unnamed_scheme(list(self._extents))
        if not len(scheme):
            raise InputError(
                f"The segmentation '{label_map.name}' holds no segment.", "Give one with at least one segment."
            )
        return scheme

    def _segments(self, model: LoadedClassifier, label_map: Image) -> Iterator[Item]:
        # A model that sees nothing but masks works on the label map's own grid: nothing has to be resampled.
        own_grid = model.image_inputs == 0 or label_map.same_grid(self.image)
        grid = label_map if model.image_inputs == 0 else self.image
        for label in self._wanted(label_map):
            extent = self._extents.get(label.value)
            if extent is None:
                raise InputError(
                    f"Segment '{label.name}' (value {label.value}) of '{label_map.name}' is empty.",
                    "Leave it out, or draw it first.",
                )
            mask, box = (
                _on_own_grid(label_map, label.value, extent)
                if own_grid
                else _on_image_grid(label_map, label.value, extent, self.image)
            )
            framed, notes = model.framing.apply(grid, box, mask if model.mask_inputs else None, structure=True)
            yield Item(label.name, label.value, framed, tuple(notes))


def channels_of(images: Sequence[Image], model: LoadedClassifier) -> tuple[Image, list[str]]:
    """One image with the model's image channels on the grid of `images[0]`, and warnings for a person."""
    card = model.card
    if not images:
        raise InputError(f"Model '{card.id}' got no image.", "Give the volume to classify.")
    if model.image_inputs == 0:
        if len(images) > 1 or images[0].channels != 1:
            raise InputError(
                f"Model '{card.id}' looks at one mask, got {len(images)} images.", "Give one mask or segmentation."
            )
        return images[0], []
    visible = tuple(spec for spec in card.inputs if spec.modality != MASK)
    return combine_channels(images, replace(card, inputs=visible))


def _on_own_grid(label_map: Image, value: int, extent: LabelExtent) -> tuple[Array, Box]:
    return label_map.channel(0) == value, extent.box


def _on_image_grid(label_map: Image, value: int, extent: LabelExtent, image: Image) -> tuple[Array, Box]:
    """Mask of one label on another image's grid (nearest voxel), and its box there."""
    to_image = np.linalg.inv(image.ijk_to_ras) @ label_map.ijk_to_ras
    ends = [(part.start - 0.5, part.stop - 0.5) for part in extent.box]
    corners = np.array([(i, j, k, 1.0) for k in ends[0] for j in ends[1] for i in ends[2]])
    ijk = (corners @ to_image.T)[:, :3]
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, np.array(image.shape[::-1]))
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 0, np.array(image.shape[::-1]))
    if (low >= high).any():
        raise InputError(
            f"Label {value} of '{label_map.name}' lies outside of image '{image.name}'.",
            "Give the segmentation of this image.",
        )
    box = slice(int(low[2]), int(high[2])), slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    back = np.linalg.inv(to_image)
    offset = (back @ np.array([*low, 1.0]))[:3][::-1]
    shape = tuple(part.stop - part.start for part in box)
    piece = (label_map.channel(0)[extent.box] == value).astype(np.uint8)
    offset = offset - np.array([part.start for part in extent.box])
    inside = scipy.ndimage.affine_transform(
        piece, back[:3, :3][::-1, ::-1], offset, output_shape=shape, order=0, mode="constant", cval=0
    )
    mask = np.zeros(image.shape, bool)
    mask[box] = inside > 0
    if not inside.any():
        raise InputError(
            f"Label {value} of '{label_map.name}' is smaller than a voxel of image '{image.name}', or outside of it.",
            "Give the segmentation of this image.",
        )
    return mask, box
