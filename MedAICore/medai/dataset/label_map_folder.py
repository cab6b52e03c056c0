"""Read a folder of label maps for the training that paints its own images from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medai.config.label_maps import LabelMapsDescription, MapLabel
from medai.config.model_card import LabelSpec
from medai.config.validation import from_json, read_json
from medai.errors import DatasetError, InputError
from medai.image import Array, Image
from medai.imageio.label_maps import read_label_map
from medai.imageio.suffixes import stem
from medai.labels import distinct_color
from medai.preprocessing.orientation import closest_to_ras
from medai.progress import Progress, ProgressCallback, no_progress
from medai.synthesis.label_volumes import LabelTable, LabelVolume

_log = logging.getLogger(__name__)
DESCRIPTION_NAME = "label_maps.json"
_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
_MOST_VALUES = 255
_TISSUES = ("other", "white", "grey", "fluid")


@dataclass(frozen=True, eq=False)
class LabelMapFolder:
    """The label maps of a folder, what their values mean, and the labels of the model, in the network's order."""

    volumes: tuple[LabelVolume, ...]
    table: LabelTable
    labels: tuple[LabelSpec, ...]
    held_out: tuple[str, ...]


def read_description(folder: Path, file: Path | None) -> LabelMapsDescription:
    """The description in `file`, else in the folder's own label_maps.json, else one without entries."""
    own = folder / DESCRIPTION_NAME
    path = file or (own if own.is_file() else None)
    if path is None:
        return LabelMapsDescription()
    return from_json(LabelMapsDescription, read_json(path), f"{path}:")


def read_label_maps(
    folder: Path,
    description: LabelMapsDescription,
    progress: ProgressCallback = no_progress,
    names: Sequence[str] = (),
) -> LabelMapFolder:
    """The label maps of `folder`, turned to superior, anterior, right (k, j, i) and cropped to what they show.

    `names` (without suffix) are the only ones to read; all by default.

    Raises DatasetError: no label map, a map without any label, more than 255 values, a described value that no map
    has; and what reading the files raises.
    """
    files = [file for file in label_map_files(folder) if not names or stem(file) in names]
    maps = []
    for number, file in enumerate(files):
        progress(Progress(number / len(files), "reading label maps"))
        image = _oriented(read_label_map(file)[0])
        if not image.array.any():
            raise DatasetError(f"The label map '{file}' has no label.", "Remove it from the folder.")
        maps.append((stem(file), image))
    present = sorted({value for _, image in maps for value in _values(image.array)} - {0})
    entries = _entries(present, description, folder)
    table, labels = _table(entries, description)
    volumes = tuple(_volume(name, image, table) for name, image in maps)
    unknown = sorted({*description.held_out, *names} - {stem(file) for file in label_map_files(folder)})
    if unknown:
        raise DatasetError(f"There is no label map '{unknown[0]}' in '{folder}'.", "Correct held_out.")
    return LabelMapFolder(volumes, table, labels, description.held_out)


def label_map_files(folder: Path) -> list[Path]:
    """The label maps of a folder by name; DatasetError where there is none."""
    if not folder.is_dir():
        raise DatasetError(f"There is no folder '{folder}'.", "Give the folder that holds the label maps.")
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.name.lower().endswith(_SUFFIXES))
    if not files:
        raise DatasetError(f"'{folder}' holds no label map.", f"Put files of {', '.join(_SUFFIXES)} there.")
    return files


def _oriented(image: Image) -> Image:
    orientation = closest_to_ras(image.ijk_to_ras)
    matrix = orientation.apply_affine(image.ijk_to_ras, image.shape)
    return Image(np.ascontiguousarray(orientation.apply(image.array)), matrix, image.name)


def _values(array: Array) -> list[int]:
    """The values that whole numbers have; counting takes a tenth of the time of sorting a volume."""
    if array.max() < 2**16:
        found: list[int] = np.flatnonzero(np.bincount(array.ravel())).tolist()
        return found
    return [int(value) for value in np.unique(array)]


def _entries(present: Sequence[int], description: LabelMapsDescription, folder: Path) -> list[MapLabel]:
    """One entry per value that the maps have, in the order of values."""
    if len(present) > _MOST_VALUES:
        raise DatasetError(
            f"The label maps in '{folder}' have {len(present)} values.",
            f"At most {_MOST_VALUES} can be told apart: are these label maps?",
        )
    described = {entry.value: entry for entry in description.values}
    missing = sorted(set(described) - set(present))
    if missing:
        _log.info("No label map in '%s' has the described values %s.", folder, missing)
    entries = [described.get(value, MapLabel(value)) for value in present]
    for entry in entries:
        if entry.mirror is not None and entry.mirror not in present:
            raise DatasetError(
                f"{entry.value} has {entry.mirror} as its mirror, which no label map in '{folder}' has.",
                "Remove `mirror` from the description, or add a map with both sides.",
            )
    if not any(entry.target for entry in entries):
        raise DatasetError(f"No value of '{folder}' is to be segmented.", "Give one a `label` in the description.")
    return entries


def _table(entries: Sequence[MapLabel], description: LabelMapsDescription) -> tuple[LabelTable, tuple[LabelSpec, ...]]:
    import torch

    values = [0, *(entry.value for entry in entries)]
    index = {value: n for n, value in enumerate(values)}
    targets = sorted({entry.target for entry in entries} - {0})
    classes = {0: 0} | {target: n for n, target in enumerate(targets, start=1)}
    names = {entry.target: entry.name for entry in entries if entry.target == entry.value and entry.name}
    given = {spec.value: spec for spec in description.labels}
    labels = tuple(
        given.get(target) or LabelSpec(target, names.get(target, f"label {target}"), distinct_color(index))
        for index, target in enumerate(targets)
    )
    table = LabelTable(
        tuple(values),
        torch.tensor([0, *(classes[entry.target] for entry in entries)]),
        torch.tensor([0, *(index[entry.value if entry.mirror is None else entry.mirror] for entry in entries)]),
        torch.tensor([0, *(_TISSUES.index(entry.tissue) for entry in entries)]),
        torch.tensor([False, *(entry.removable for entry in entries)]),
        description.contrasts,
    )
    return table, labels


def _volume(name: str, image: Image, table: LabelTable) -> LabelVolume:
    import torch

    array = image.array[0]
    lookup = np.zeros(max(table.values) + 1, np.uint8)
    lookup[list(table.values)] = np.arange(len(table))
    indices = lookup[array[_box(array != 0)]]
    # One layer of background on every side: positions beyond the map are clamped to it.
    indices = np.pad(indices, 1)
    spacing = image.spacing_mm
    segmented = np.asarray(table.classes) > 0
    # What may be stripped (fluid that reaches far down the neck) does not say where a patch is of use.
    kept = segmented & ~np.asarray(table.removable)
    wanted = _box((kept if kept.any() else segmented)[indices])
    low = np.array([part.start for part in wanted]) * np.array(spacing)
    high = np.array([part.stop - 1 for part in wanted]) * np.array(spacing)
    if not segmented[indices].any():
        raise InputError(f"The label map '{name}' has no structure that is segmented.", "Remove it from the folder.")
    k, j, i = (float(mm) for mm in spacing)
    return LabelVolume(name, torch.from_numpy(indices), (k, j, i), (low + high) / 2, high - low)


def _box(mask: Array) -> tuple[slice, slice, slice]:
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        slices.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, mask.shape[axis]))
    return slices[0], slices[1], slices[2]
