"""Several images of one case as the channels of one image, on the first one's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medai.config.model_card import ModelCard
from medai.errors import InputError
from medai.image import Array, Image
from medai.imageio import check_segmentable, finite_or_filled
from medai.preprocessing.common_grid import on_grid_of


def combine_channels(images: Sequence[Image], card: ModelCard) -> tuple[Image, list[str]]:
    """The model's input channels as one image on the grid of `images[0]`, and warnings for a person.

    Images on other grids are interpolated linearly to the first one's, by their positions in the patient. Raises
    InputError (wrong number of channels, too many NaN, too small) and GeometryError (images that do not overlap).
    """
    _check_count(images, card)
    warnings: list[str] = []
    channels: list[Array] = []
    for image in images:
        check_segmentable(image, dimensions=2 if card.patch[0] == 1 else 3)
        filled, notes = finite_or_filled(image)
        warnings += notes
        if not filled.same_grid(images[0]):
            filled, notes = on_grid_of(filled, images[0])
            warnings += notes
        channels += list(filled.array)
    for spec, channel, image in zip(card.inputs, channels, _per_channel(images), strict=True):
        if is_constant(channel):
            warnings.append(
                f"Every voxel of image '{image.name}' ({spec.name}) is {channel.flat[0]:g}: nothing can be seen in it."
            )
        if spec.modality and image.modality and spec.modality.casefold() != image.modality.casefold():
            warnings.append(
                f"Image '{image.name}' is {image.modality}; the model expects {spec.modality} for '{spec.name}'."
            )
    if len(images) == 1 and channels[0].base is not None and not warnings:
        return images[0], warnings
    merged = Image(np.stack(channels), images[0].ijk_to_ras, images[0].name, images[0].modality)
    return merged, warnings


def check_not_constant(image: Image) -> None:
    """InputError where every channel holds one single value: there is nothing that could be segmented."""
    if not all(is_constant(channel) for channel in image.array):
        return
    values = ", ".join(f"{channel.flat[0]:g}" for channel in image.array)
    raise InputError(
        f"Every voxel of image '{image.name}' is {values}: there is nothing to segment.",
        "Check that the right volume was chosen and that it was loaded or exported completely.",
    )


def is_constant(channel: Array) -> bool:
    """Whether all voxels (k, j, i) are equal; looks no further than to the first plane that has another value."""
    return channel.size > 0 and all(bool((plane == channel.flat[0]).all()) for plane in channel)


def _check_count(images: Sequence[Image], card: ModelCard) -> None:
    names = [spec.name for spec in card.inputs]
    count = sum(image.channels for image in images)
    if not images or count != len(names):
        given = ", ".join(f"'{image.name}' ({image.channels} channels)" for image in images) or "nothing"
        raise InputError(
            f"Model '{card.id}' takes {len(names)} channels ({', '.join(names)}), got {count}: {given}.",
            "Give one grey-scale image for each, in this order.",
        )


def _per_channel(images: Sequence[Image]) -> list[Image]:
    return [image for image in images for _ in range(image.channels)]
