"""Finds what a classifier is trained and measured on, in the forms that people have.

* a table, ``*.csv``: a row per case with the columns ``path`` (the image, relative to the table) and ``label``, and, if
  wanted, ``patient``, ``split`` (train, val or test), ``name``, and ``segments`` with ``segment`` (a segmentation and
  the name or value of one of its segments: the row is about that structure). MedAI Classification exports such a table
  from volume node attributes and from table nodes.
* a folder with a folder per class (``DATASET/<class>/image.nii.gz``), or with one of these per split
  (``DATASET/train/<class>/...``, ``val``, ``test``)
* an ``.npz`` as MedMNIST's (Yang et al. 2023): ``train_images`` (n, [k,] j, i) and ``train_labels``, and the same for
  ``val`` and ``test``, of which any may be missing
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medai.errors import DatasetError
from medai.image import Array

Split = Literal["", "train", "val", "test"]
_SPLITS: dict[str, Split] = {
    "": "", "train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
_PATH_COLUMNS = ("path", "image", "file", "volume")
_LABEL_COLUMNS = ("label", "class")
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp",
             ".dcm")  # fmt: skip


@dataclass(frozen=True)
class LabelledItem:
    """One labelled case: a file (and a segment of its segmentation), or row `index` of an array.

    `label` is the index of its class; `patient` groups the cases that must stay on one side of a split.
    """

    name: str
    label: int
    patient: str
    split: Split = ""
    path: Path | None = None
    segments: Path | None = None
    segment: str = ""
    index: int = 0


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """The labelled cases of a data set. `arrays` holds the images (n, [k,] j, i) of each split of an .npz."""

    name: str
    source: Path
    classes: tuple[str, ...]
    items: tuple[LabelledItem, ...]
    arrays: dict[str, Array] = field(default_factory=dict)

    def part(self, *splits: Split) -> list[LabelledItem]:
        """The cases of these splits."""
        return [item for item in self.items if item.split in splits]


def list_labelled(path: Path, classes: Sequence[str] = ()) -> LabelledSet:
    """The labelled cases of the data set at `path`.

    `classes` are the names to which the labels must belong, in their order (of a model, say); without them the labels
    found are the classes, sorted. DatasetError names the file, the row and what is wrong.
    """
    if not path.exists():
        raise DatasetError(f"There is no data set '{path}'.", "Check the path.")
    if path.is_dir():
        found = _from_folder(path, classes)
    elif path.suffix.lower() == ".npz":
        found = _from_npz(path, classes)
    elif path.suffix.lower() == ".csv":
        found = _from_table(path, classes)
    else:
        raise DatasetError(
            f"'{path}' is no data set for classification.",
            "Give a .csv table, a folder with a folder per class, or an .npz as MedMNIST's.",
        )
    if not found.items:
        raise DatasetError(f"'{path}' holds no labelled case.", "See docs/classification.md for the forms.")
    return found


def check_trainable(found: LabelledSet) -> None:
    """DatasetError where there is one class only, or where a class is missing among the training or validation cases.

    A data set without splits needs two cases of each class, so that each side of a split has one.
    """
    counts = {split: Counter(item.label for item in found.part(split)) for split in ("train", "val", "")}
    present = {item.label for item in found.items}
    if len(found.classes) < 2 or len(present) < 2:
        only = found.classes[next(iter(present))] if present else "none"
        raise DatasetError(
            f"All {len(found.items)} cases of '{found.source}' are of one class, '{only}'.",
            "Add cases of another class: there is nothing to tell apart.",
        )
    for index, name in enumerate(found.classes):
        pool = counts["train"][index] + counts[""][index]
        if pool == 0:
            raise DatasetError(
                f"Class '{name}' has no training case in '{found.source}'.", "Add some, or remove the class."
            )
        if counts["val"] and counts["val"][index] == 0:
            raise DatasetError(
                f"Class '{name}' has no validation case in '{found.source}'.",
                "Move some of its cases to the split 'val', or leave out the column to have a split made.",
            )
        if not counts["val"] and pool < 2:
            raise DatasetError(
                f"Class '{name}' has one case only in '{found.source}'.",
                "Add cases: one is needed for training and one for validation.",
            )


def _from_table(path: Path, classes: Sequence[str]) -> LabelledSet:
    rows = _read_table(path)
    header = list(rows[0]) if rows else []
    paths = next((name for name in _PATH_COLUMNS if name in header), None)
    labels = next((name for name in _LABEL_COLUMNS if name in header), None)
    if paths is None or labels is None:
        missing = _PATH_COLUMNS[0] if paths is None else _LABEL_COLUMNS[0]
        raise DatasetError(
            f"The table '{path}' has no column '{missing}'; it has {', '.join(header) or 'no columns'}.",
            "Give a header with path and label; patient, split, segments and segment are optional.",
        )
    texts = [row[labels] for row in rows]
    for number, text in enumerate(texts, start=2):
        if not text:
            raise DatasetError(
                f"Row {number} of '{path}' ({rows[number - 2][paths] or 'no path'}) has no label"
                f"{_and_more(texts.count('') - 1)}.",
                "Fill in the label, or remove the row.",
            )
    names = tuple(classes) or tuple(sorted(set(texts)))
    items: list[LabelledItem] = []
    seen: dict[tuple[str, str, str], int] = {}
    for number, row in enumerate(rows, start=2):
        item = _item_of_row(path, number, row, (row[paths], row[labels]), names)
        key = (str(item.path), str(item.segments), item.segment)
        if key in seen:
            raise DatasetError(
                f"Rows {seen[key]} and {number} of '{path}' are the same case, '{row[paths]}'.", "Remove one of them."
            )
        seen[key] = number
        items.append(item)
    return LabelledSet(path.stem, path, names, tuple(items))


def _item_of_row(
    table: Path, number: int, row: dict[str, str], path_and_label: tuple[str, str], names: tuple[str, ...]
) -> LabelledItem:
    text, label = path_and_label
    where = f"Row {number} of '{table}'"
    if not text:
        raise DatasetError(f"{where} names no file.", "Fill in the path, or remove the row.")
    file = _existing(table, text, where)
    if label not in names:
        raise DatasetError(
            f"{where} has the label '{label}', which is no class of the model.", f"The classes are {', '.join(names)}."
        )
    split = row.get("split", "").casefold()
    if split not in _SPLITS:
        raise DatasetError(f"{where} has the split '{row['split']}'.", "Use train, val, test, or leave it empty.")
    segments = _existing(table, row["segments"], where) if row.get("segments") else None
    segment = row.get("segment", "")
    if bool(segments) != bool(segment):
        raise DatasetError(
            f"{where} has segments '{row.get('segments', '')}' and segment '{segment}'.",
            "Give a segmentation file and the name or value of one of its segments, or neither.",
        )
    name = row.get("name") or _stem(file.name) + (f" {segment}" if segment else "")
    patient = row.get("patient") or _stem(file.name)
    return LabelledItem(name, names.index(label), patient, _SPLITS[split], file, segments, segment)


def _existing(table: Path, text: str, where: str) -> Path:
    file = table.parent / text
    if not file.exists():
        raise DatasetError(
            f"{where} names the volume '{text}', which is not there ('{file}').",
            "Correct the path; paths are relative to the table's folder.",
        )
    return file


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"The table '{path}' cannot be read: {error}.", "Save it as CSV in UTF-8.") from error
    # Spreadsheets of many countries write semicolons.
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    lines = [[cell.strip() for cell in line] for line in reader]
    if not lines or not any(any(line) for line in lines[1:]):
        raise DatasetError(f"The table '{path}' has no rows.", "Give a header and a row per case.")
    header = [name.casefold() for name in lines[0]]
    doubled = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if doubled:
        raise DatasetError(f"The table '{path}' has the column '{doubled[0]}' twice.", "Remove one.")
    rows = []
    for line in lines[1:]:
        if any(line):
            line = line + [""] * (len(header) - len(line))
            rows.append({name: cell for name, cell in zip(header, line, strict=False) if name})
    return rows


def _from_folder(path: Path, classes: Sequence[str]) -> LabelledSet:
    folders = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_dir() and entry.name[0] != "."}
    by_split = {name: folder for name, folder in folders.items() if _SPLITS.get(name.casefold())}
    parts = by_split if by_split and len(by_split) == len(folders) else {"": path}
    found: list[tuple[str, Split, Path]] = []
    for split, folder in parts.items():
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and entry.name[0] != ".":
                found += [(entry.name, _SPLITS[split.casefold()], file) for file in _images(entry)]
    loose = [file.name for folder in parts.values() for file in _images(folder) if file.is_file()]
    if loose:
        raise DatasetError(
            f"'{path}' holds images beside the class folders: {loose[0]}{_and_more(len(loose) - 1)}.",
            "Move each into the folder of its class.",
        )
    names = tuple(classes) or tuple(sorted({name for name, _, _ in found}))
    unknown = sorted({name for name, _, _ in found} - set(names))
    if unknown:
        raise DatasetError(
            f"The folder '{unknown[0]}' of '{path}' is no class of the model.", f"The classes are {', '.join(names)}."
        )
    if not classes:
        empty = sorted({e.name for f in parts.values() for e in f.iterdir() if e.is_dir() and e.name[0] != "."}
                       - set(names))  # fmt: skip
        if empty:
            raise DatasetError(f"The class folder '{empty[0]}' of '{path}' has no image.", "Fill or remove it.")
    items = [
        LabelledItem(_stem(file.name), names.index(name), _stem(file.name), split, file) for name, split, file in found
    ]
    return LabelledSet(path.name, path, names, tuple(items))


def _images(folder: Path) -> list[Path]:
    """Image files of a class folder, and folders in it (DICOM series)."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.name[0] != "." and entry.is_file() and entry.name.lower().endswith(_SUFFIXES)
    ]


def _from_npz(path: Path, classes: Sequence[str]) -> LabelledSet:
    arrays: dict[str, Array] = {}
    labels: dict[str, Array] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for split in ("train", "val", "test"):
                if f"{split}_images" not in archive.files:
                    continue
                if f"{split}_labels" not in archive.files:
                    raise DatasetError(
                        f"'{path}' has {split}_images without {split}_labels: its rows are unlabelled.",
                        f"Add {split}_labels.",
                    )
                arrays[split] = archive[f"{split}_images"]
                labels[split] = archive[f"{split}_labels"]
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"'{path}' cannot be read as .npz: {error}.", "Download or export it again.") from error
    if not arrays:
        raise DatasetError(
            f"'{path}' has none of train_images, val_images and test_images.", "Give the arrays MedMNIST's names."
        )
    numbers = {split: _label_numbers(path, split, labels[split], len(arrays[split])) for split in arrays}
    count = 1 + max(int(n.max()) for n in numbers.values() if len(n))
    names = tuple(classes) or tuple(f"class {n}" for n in range(count))
    if count > len(names):
        raise DatasetError(
            f"'{path}' has the label {count - 1}; there are {len(names)} classes ({', '.join(names)}).",
            "Use labels from 0 to the number of classes minus 1.",
        )
    dims = {array.ndim for array in map(_grey, arrays.values())}
    if len(dims) != 1 or not dims <= {3, 4}:
        shapes = {split: array.shape for split, array in arrays.items()}
        raise DatasetError(f"'{path}' holds images of wrong dimensions: {shapes}.", "Give (n, j, i) or (n, k, j, i).")
    items = [
        LabelledItem(f"{split} {n}", int(label), f"{split} {n}", split, index=n)  # type: ignore[arg-type]
        for split in arrays
        for n, label in enumerate(numbers[split])
    ]
    grey = {split: _grey(array) for split, array in arrays.items()}
    return LabelledSet(path.stem, path, names, tuple(items), grey)


def _label_numbers(path: Path, split: str, labels: Array, count: int) -> Array:
    flat = labels.reshape(len(labels), -1) if labels.ndim else labels.reshape(0, 1)
    if len(flat) != count:
        raise DatasetError(
            f"'{path}' has {count} {split}_images and {len(flat)} {split}_labels.", "Give one label for each image."
        )
    if flat.shape[1] != 1:
        raise DatasetError(
            f"{split}_labels of '{path}' has {flat.shape[1]} labels per image.",
            "One class per image can be learned; give one number each.",
        )
    column: Array = flat[:, 0]
    values: Any = column.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0) | (values != np.round(values)))
    if len(bad):
        raise DatasetError(
            f"Row {bad[0]} of {split}_labels in '{path}' is {column[bad[0]]}: not a class number"
            f"{_and_more(len(bad) - 1)}.",
            "Label every row with a whole number from 0 up, or remove it.",
        )
    numbers: Array = values.astype(np.int64)
    return numbers


def _grey(array: Array) -> Array:
    """Colour images (n, j, i, 3) as their luminance (ITU-R BT.601)."""
    if array.ndim == 4 and array.shape[-1] == 3 and array.shape[1] > 3:
        return array @ np.array([0.299, 0.587, 0.114], np.float32)
    return array


def _stem(name: str) -> str:
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)] if suffix else name


def _and_more(count: int) -> str:
    return f" (and {count} more)" if count > 0 else ""
