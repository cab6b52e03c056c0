"""Labelled cases brought to the network's input once, and kept in a folder that training reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medai.config import from_json, read_json, to_json
from medai.dataset.classification import LabelledItem, LabelledSet, Split
from medai.errors import DatasetError, MedAIError
from medai.image import Array, Image
from medai.preprocessing.framing import MASK, Framed, Framing
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled, never_cancelled, no_progress

_CARD, _ARRAY = "cases.json", "inputs.npy"
# How a file without directions is placed, so that rows of an array are seen as those of a picture are.
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class FramedCase:
    """One case of the cache."""

    name: str
    label: int
    patient: str
    split: Split


@dataclass(frozen=True)
class FramedCard:
    """cases.json: what the rows of inputs.npy are, and the framing that they went through, as text."""

    classes: tuple[str, ...]
    cases: tuple[FramedCase, ...]
    framing: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FramedSet:
    """Inputs (n, c, k, j, i), memory-mapped, float32 (uint8 where all are masks), and what each of them is."""

    card: FramedCard
    inputs: Array

    @property
    def labels(self) -> Array:
        """Class indices (n,) int64."""
        return np.array([case.label for case in self.card.cases], dtype=np.int64)

    def rows(self, *splits: Split) -> list[int]:
        """Rows of the cases of these splits."""
        return [n for n, case in enumerate(self.card.cases) if case.split in splits]


def frame_dataset(
    found: LabelledSet,
    framing: Framing,
    folder: Path,
    splits: Sequence[Split] = ("train", "val", ""),
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> FramedSet:
    """Frame the cases of `splits` into `folder`, or open what an earlier call with the same framing left there.

    DatasetError where a case cannot be read, or has another dimension than the network looks at.
    """
    card_file = folder / _CARD
    text = json.dumps(to_json(framing), sort_keys=True)
    items = [item for item in found.items if item.split in splits]
    cases = tuple(FramedCase(item.name, item.label, item.patient, item.split) for item in items)
    if card_file.is_file():
        card = from_json(FramedCard, read_json(card_file), f"{card_file}:")
        if card.framing == text and card.cases == cases and card.classes == found.classes:
            return FramedSet(card, np.load(folder / _ARRAY, mmap_mode="r", allow_pickle=False))
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.uint8 if all(spec.modality == MASK for spec in framing.inputs) else np.float32
    shape = (len(items), len(framing.inputs), *framing.patch)
    array = np.lib.format.open_memmap(folder / _ARRAY, mode="w+", dtype=dtype, shape=shape)
    warnings: dict[str, None] = {}
    for n, item in enumerate(items):
        check_cancelled(cancelled)
        framed, notes = frame_item(found, item, framing)
        array[n] = framed.array
        warnings.update(dict.fromkeys(notes))
        if n % 50 == 0:
            progress(Progress(n / len(items), "Reading"))
    array.flush()
    card = FramedCard(found.classes, cases, text, tuple(warnings)[:20])
    temporary = folder / f".{_CARD}.part"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(to_json(card), stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(card_file)
    return FramedSet(card, array)


def frame_item(found: LabelledSet, item: LabelledItem, framing: Framing) -> tuple[Framed, list[str]]:
    """What the network sees of one labelled case, and warnings; DatasetError names the case and its file."""
    try:
        image = image_of(found, item)
        if framing.planar and min(image.shape) != 1:
            raise DatasetError(
                f"Case '{item.name}' of '{found.source}' is a volume of {image.shape} voxels (k, j, i); the network "
                "looks at single images.",
                "Give 2D images, or train a network for volumes.",
            )
        if item.segments is None:
            _check_mask_input(framing)
            return framing.apply(image)
        return _frame_segment(image, item, framing)
    except DatasetError:
        raise
    except MedAIError as error:
        raise DatasetError(f"Case '{item.name}' of '{found.source}': {error.message}", error.remedy) from error


def image_of(found: LabelledSet, item: LabelledItem) -> Image:
    """The image of a labelled case."""
    if item.path is None:
        array = found.arrays[item.split][item.index]
        array = array[None] if array.ndim == 2 else array
        return Image(array[None], _LPS, item.name)
    from medai.imageio import finite_or_filled
    from medai.imageio.pictures import read_image_or_picture

    return finite_or_filled(read_image_or_picture(item.path))[0]


def _check_mask_input(framing: Framing) -> None:
    modalities = {spec.modality for spec in framing.inputs}
    if MASK in modalities and len(modalities) > 1:
        raise DatasetError(
            "The network looks at a structure and its surroundings, and the data set names no segments.",
            "Give a table with the columns segments and segment.",
        )


def _frame_segment(image: Image, item: LabelledItem, framing: Framing) -> tuple[Framed, list[str]]:
    from medai.imageio import read_label_map
    from medai.label_statistics import label_extents
    from medai.labels import unnamed_scheme

    assert item.segments is not None
    label_map, scheme = read_label_map(item.segments)
    scheme = scheme or unnamed_scheme(np.unique(label_map.array).tolist())
    numbered = item.segment.isdigit() and item.segment not in scheme.names
    label = scheme.by_value(int(item.segment)) if numbered else scheme.by_name(item.segment)
    extent = label_extents(label_map.channel(0)).get(label.value)
    if extent is None:
        raise DatasetError(f"Segment '{item.segment}' of '{item.segments}' is empty.", "Leave the row out.")
    only_masks = all(spec.modality == MASK for spec in framing.inputs)
    if not only_masks and not label_map.same_grid(image, tolerance_voxels=0.05):
        raise DatasetError(
            f"'{item.segments}' is not on the grid of '{item.path}'.", "Export the segmentation on the image's grid."
        )
    has_mask = any(spec.modality == MASK for spec in framing.inputs)
    mask = label_map.channel(0) == label.value if has_mask else None
    return framing.apply(label_map if only_masks else image, extent.box, mask, structure=True)
