"""Several images of one case as the channels of one image, on the first one's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from medai.config.model_card import ModelCard
from medai.errors import GeometryError, InputError
from medai.image import Array, Image
from medai.imageio import check_segmentable, finite_or_filled

# Less of the first image covered by another than this is worth a warning.
_EXPECTED_COVER = 0.95


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
            filled, notes = _on_grid(filled, images[0])
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


def _on_grid(image: Image, target: Image) -> tuple[Image, list[str]]:
    """`image` interpolated linearly on the grid of `target`; voxels outside of it get its minimum."""
    ijk_of_target = np.linalg.inv(image.ijk_to_ras) @ target.ijk_to_ras
    cover = _cover(ijk_of_target, image, target)
    if cover == 0.0:
        raise GeometryError(
            f"Image '{image.name}' lies outside of image '{target.name}': they share no place in the patient.",
            "Give images of one study, or register them first.",
        )
    matrix, offset = ijk_of_target[:3, :3][::-1, ::-1], ijk_of_target[:3, 3][::-1]
    array = np.empty((image.channels, *target.shape), np.float32)
    for source, result in zip(image.array, array, strict=True):
        scipy.ndimage.affine_transform(
            source.astype(np.float32),
            matrix,
            offset,
            output=result,
            order=1,
            mode="constant",
            cval=float(source.min()),
        )
    warnings = [f"Image '{image.name}' was interpolated to the grid of image '{target.name}'."]
    if cover < _EXPECTED_COVER:
        warnings.append(f"Image '{image.name}' covers only {cover:.0%} of image '{target.name}'.")
    return Image(array, target.ijk_to_ras, image.name, image.modality), warnings


def _cover(ijk_of_target: Array, image: Image, target: Image) -> float:
    """The part of `target` that lies inside `image`, judged on up to 32 places along each axis."""
    axes = [np.unique(np.linspace(0, n - 1, min(n, 32)).astype(int)) for n in target.shape]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    places = np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(k.size)])
    ijk = (ijk_of_target @ places)[:3]
    size = np.array(image.shape[::-1])[:, None]
    return float(((ijk >= -0.5) & (ijk <= size - 0.5)).all(axis=0).mean())
