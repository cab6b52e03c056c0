"""Finds the cases of a data set in the layouts that people have.

* a folder with ``images/`` and ``labels/``: files of equal names; several channels as ``NAME_0000.nii.gz``, ``_0001``
* nnU-Net and Medical Segmentation Decathlon: ``imagesTr/``, ``labelsTr/`` and ``dataset.json``
* a list: JSON (``{"cases": [{"image" or "images", "label", "patient"?, "name"?, "unknown"?}], "labels"?, ...}`` or the
  bare list) or CSV with columns ``image`` (or ``image_0``, ``image_1`` ...), ``label`` and, if wanted, ``patient`` and
  ``name``

In dataset.json MedAI knows beside nnU-Net's keys: ``patients`` (case -> patient), ``unknown`` (case -> names of labels
that nobody looked for there), ``label_details`` (labels with colours and codes), ``modalities`` and ``excluded``.

Nothing is read but names and the lists: whether image and label fit is checked in `medai.dataset.checks`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medai.config import from_json, read_json
from medai.config.model_card import LabelSpec
from medai.dataset.cache import ExcludedCase
from medai.errors import DatasetError

_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
_MODALITIES = {"MRI": "MR", "MR": "MR", "CT": "CT", "PET": "PT", "PT": "PT", "US": "US"}


@dataclass(frozen=True)
class Case:
    """One labelled case: an image file per channel, in the order of the channels, and the label map.

    `unknown` names the labels that nobody looked for in this case.
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    labels: Path
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Channel:
    """Name and modality (DICOM's code, "" where the data set does not tell) of one channel."""

    name: str
    modality: str = ""


@dataclass(frozen=True)
class Listing:
    """What a data set's files and description say; `labels` (value -> name) is empty where nothing names them.

    `details` are the labels with colours and codes, where the description has them.
    """

    name: str
    cases: tuple[Case, ...]
    channels: tuple[Channel, ...]
    labels: Mapping[int, str]
    excluded: tuple[ExcludedCase, ...]
    licence: str = ""
    citation: str = ""
    details: tuple[LabelSpec, ...] = ()


def list_dataset(path: Path) -> Listing:
    """The cases of the data set at `path`; DatasetError where it is none, or where no case has image and label."""
    if path.is_file():
        listing = _from_list(path)
    elif path.is_dir():
        listing = _from_folder(path)
    else:
        raise DatasetError(f"There is no data set '{path}'.", "Check the path.")
    if not listing.cases:
        raise DatasetError(
            f"The data set '{path}' has no case with image and label.{explain(listing.excluded)}",
            "Give every image a label map of the same name.",
        )
    return listing


def explain(excluded: Sequence[ExcludedCase], limit: int = 5) -> str:
    """The first reasons for which cases were left out, as the continuation of a sentence."""
    reasons = [f" {case.name}: {case.reason}" for case in excluded[:limit]]
    more = f" And {len(excluded) - limit} more." if len(excluded) > limit else ""
    return "".join(reasons) + more


def _from_folder(path: Path) -> Listing:
    for images, labels in (("imagesTr", "labelsTr"), ("images", "labels")):
        if (path / images).is_dir() and (path / labels).is_dir():
            break
    else:
        raise DatasetError(
            f"'{path}' has neither images/ and labels/ nor imagesTr/ and labelsTr/.",
            "Arrange the files so, or give a JSON or CSV list of them. Scenes (.mrb, .mrml) and DICOM with DICOM SEG: "
            "make a cache of them with `medai prepare`.",
        )
    description: Any = read_json(path / "dataset.json") if (path / "dataset.json").is_file() else {}
    if not isinstance(description, dict):
        raise DatasetError(f"'{path / 'dataset.json'}' is not an object.", "Correct it, or remove it.")
    label_files = _by_name(path / labels)
    channels_of = _channels_by_case(_by_name(path / images), label_files)
    patients, unknown = description.get("patients", {}), description.get("unknown", {})
    named = _labels(description, path)
    cases = []
    excluded = [ExcludedCase(str(n), str(why)) for n, why in dict(description.get("excluded") or {}).items()]
    for name in sorted({*channels_of, *label_files}):
        if name not in label_files:
            excluded.append(ExcludedCase(name, f"there is no label map of this name in {labels}/."))
        elif name not in channels_of:
            excluded.append(ExcludedCase(name, f"there is no image of this name in {images}/."))
        else:
            missing = _unknown(unknown.get(name, ()), named, f"case '{name}' of '{path / 'dataset.json'}'")
            cases.append(Case(name, str(patients.get(name, name)), channels_of[name], label_files[name], missing))
    channels = _channels(description) or _unnamed_channels(cases)
    cases, wrong = _with_all_channels(cases, len(channels))
    return Listing(
        str(description.get("name", "")) or path.name,
        tuple(cases),
        channels,
        named,
        (*excluded, *wrong),
        str(description.get("licence") or description.get("license") or ""),
        str(description.get("reference") or description.get("citation") or ""),
        _details(description, named, path / "dataset.json"),
    )


def _by_name(folder: Path) -> dict[str, Path]:
    """Image files of a folder by name without suffix; hidden files (macOS writes ._NAME) are none."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        suffix = next((s for s in _SUFFIXES if file.name.lower().endswith(s)), None)
        if suffix is not None and file.is_file() and not file.name.startswith("."):
            files.setdefault(file.name[: -len(suffix)], file)
    return files


def _channels_by_case(images: Mapping[str, Path], labels: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Image files by case. ``_0000`` is taken for a channel number unless a label map has that whole name."""
    found: dict[str, list[Path]] = {}
    for name, file in sorted(images.items()):
        match = _CHANNEL.match(name)
        case = match["case"] if match and name not in labels else name
        found.setdefault(case, []).append(file)
    return {case: tuple(files) for case, files in found.items()}


def _channels(description: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Channels of dataset.json: ``channel_names`` of nnU-Net version 2, ``modality`` of version 1 and MSD."""
    named = description.get("channel_names") or description.get("modality") or description.get("channels") or {}
    names = list(named) if isinstance(named, list) else [named[key] for key in sorted(named, key=int)]
    modalities = [str(kind) for kind in description.get("modalities") or [""] * len(names)]
    return tuple(
        Channel(str(name), kind or _MODALITIES.get(str(name).upper(), ""))
        for name, kind in zip(names, modalities, strict=False)
    )


def _unnamed_channels(cases: Sequence[Case]) -> tuple[Channel, ...]:
    counts = [len(case.images) for case in cases]
    most_common = max(set(counts), key=counts.count) if counts else 0
    return tuple(Channel(f"image {number}" if most_common > 1 else "image") for number in range(most_common))


def _with_all_channels(cases: Sequence[Case], count: int) -> tuple[list[Case], list[ExcludedCase]]:
    wrong = [
        ExcludedCase(case.name, f"it has {len(case.images)} channel(s), the data set has {count}.")
        for case in cases
        if len(case.images) != count
    ]
    return [case for case in cases if len(case.images) == count], wrong


def _labels(description: Mapping[str, Any], where: Path) -> dict[int, str]:
    """Foreground labels: ``{"1": "liver"}`` (MSD, nnU-Net 1) or ``{"liver": 1}`` (nnU-Net 2)."""
    names: dict[int, str] = {}
    for key, value in dict(description.get("labels") or {}).items():
        by_value = str(key).isdigit() and isinstance(value, str)
        number, name = (key, value) if by_value else (value, key)
        if not str(number).isdigit():
            raise DatasetError(
                f"The label '{name}' of '{where}' has the value {number!r}.",
                "Give one whole number per label; overlapping regions cannot be trained yet.",
            )
        if int(number) != 0 and str(name).casefold() != "ignore":
            names[int(number)] = str(name)
    return dict(sorted(names.items()))


def _unknown(names: Any, labels: Mapping[int, str], where: str) -> tuple[str, ...]:
    """The names of labels that a case does not know, checked against those of the data set."""
    listed = [names] if isinstance(names, str) else [str(name) for name in names or ()]
    strange = [name for name in listed if name not in labels.values()]
    if strange:
        raise DatasetError(
            f"The {where} does not know the label '{strange[0]}', which the data set does not have.",
            f"The labels are: {', '.join(labels.values()) or 'not named'}.",
        )
    return tuple(listed)


def _details(description: Mapping[str, Any], labels: Mapping[int, str], where: Path) -> tuple[LabelSpec, ...]:
    """The labels with colours and codes (``label_details``); DatasetError where they contradict ``labels``."""
    details = tuple(
        from_json(LabelSpec, row, f"{where}: label_details:") for row in description.get("label_details", ())
    )
    if details and {spec.value: spec.name for spec in details} != dict(labels):
        raise DatasetError(f"'{where}' has other labels in label_details than in labels.", "Correct or remove them.")
    return details


def _from_list(path: Path) -> Listing:
    if path.suffix.lower() == ".csv":
        description: Any = {}
        rows: Any = _read_csv(path)
    elif path.suffix.lower() == ".json":
        data = read_json(path)
        description = data if isinstance(data, dict) else {}
        rows = description.get("cases") or description.get("training") if isinstance(data, dict) else data
    else:
        raise DatasetError(
            f"'{path}' is not a data set.",
            "Give a folder, or a .json or .csv list; of scenes (.mrb, .mrml) make a cache with `medai prepare`.",
        )
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"'{path}' has no list of cases.", 'Give {"cases": [{"image": ..., "label": ...}, ...]}.')
    cases: list[Case] = []
    excluded: list[ExcludedCase] = []
    named = _labels(description, path)
    for number, row in enumerate(rows):
        case = _case_of_row(row, number, path.parent, named)
        if isinstance(case, ExcludedCase):
            excluded.append(case)
        elif case.name in {other.name for other in cases}:
            excluded.append(ExcludedCase(case.name, "the list has an earlier case of this name."))
        else:
            cases.append(case)
    channels = _channels(description) or _unnamed_channels(cases)
    cases, wrong = _with_all_channels(cases, len(channels))
    name = str(description.get("name", "")) or path.stem
    licence, citation = str(description.get("licence", "")), str(description.get("citation", ""))
    details = _details(description, named, path)
    return Listing(name, tuple(cases), channels, named, (*excluded, *wrong), licence, citation, details)


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [{k.strip(): (v or "").strip() for k, v in row.items() if k} for row in csv.DictReader(stream)]


def _case_of_row(row: Mapping[str, Any], number: int, root: Path, named: Mapping[int, str]) -> Case | ExcludedCase:
    columns = sorted((key for key in row if re.fullmatch(r"image_\d+", key)), key=lambda key: int(key[6:]))
    images = row.get("images") or ([row["image"]] if row.get("image") else [row[key] for key in columns if row[key]])
    label = row.get("label") or row.get("labels")
    name = str(row.get("name") or (_stem(str(images[0])) if images else f"row {number + 1}"))
    if not images or not label:
        return ExcludedCase(name, f"row {number + 1} names no {'image' if not images else 'label'}.")
    files = [root / str(file) for file in (*images, label)]
    for file in files:
        if not file.exists():
            return ExcludedCase(name, f"there is no file '{file}'.")
    if not re.fullmatch(r"[\w.\- ]+", name):
        return ExcludedCase(name, "its name has characters that a file name cannot have.")
    unknown = _unknown(row.get("unknown"), named, f"case '{name}'")
    return Case(name, str(row.get("patient") or name), tuple(files[:-1]), files[-1], unknown)


def _stem(file: str) -> str:
    name = Path(file).name
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), Path(name).suffix)
    return name[: len(name) - len(suffix)]
