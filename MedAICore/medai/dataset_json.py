"""dataset.json of a data set that MedAI writes, and names of files that every system takes. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medai.config import to_json
from medai.label_table import LabelTable

_UNFIT = re.compile(r"[^\w.\-]+")
_CHANNEL_NUMBER = re.compile(r"_(\d{4})$")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class DescribedCase:
    """One case of dataset.json: the name of its files, its patient, and the labels that nobody looked for in it."""

    file: str
    patient: str
    unknown: tuple[str, ...] = ()


def write_dataset_json(
    path: Path,
    name: str,
    modalities: Sequence[str],
    table: LabelTable,
    cases: Sequence[DescribedCase],
    excluded: Mapping[str, str],
    around: int = 0,
) -> None:
    """Write dataset.json: nnU-Net's keys (labels, channel_names, file_ending), and MedAI's own beside them.

    `modalities` has one entry per channel, "" where it is not known; `around` says that the channels are so many frames
    before and after the labelled one.
    """
    titles = frame_titles("image", around) if around else channel_titles(modalities)
    description = {
        "name": name,
        "channel_names": {str(n): title for n, title in enumerate(titles)},
        "modalities": list(modalities),
        "labels": {"background": 0, **{label.name: label.value for label in table.labels}},
        "label_details": [to_json(label) for label in table.labels],
        "numTraining": len(cases),
        "file_ending": ".nrrd",
        "patients": {case.file: case.patient for case in cases},
        "unknown": {case.file: list(case.unknown) for case in cases if case.unknown},
        "excluded": dict(excluded),
    }
    with path.open("w", encoding="utf-8") as stream:
        json.dump(description, stream, indent=1, ensure_ascii=False)


def channel_titles(modalities: Sequence[str]) -> list[str]:
    """Names of the channels: the modalities where these tell them apart, as names of volumes may name a person."""
    if all(modalities) and len(set(modalities)) == len(modalities):
        return list(modalities)
    return [f"image {n}" if len(modalities) > 1 else "image" for n in range(len(modalities))]


def frame_titles(name: str, around: int) -> list[str]:
    """Names of channels that are frames of one sequence, as the planning of networks knows them: ``cine t-1`` ..."""
    return [f"{name} t{offset:+d}" if offset else f"{name} t" for offset in range(-around, around + 1)]


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Name -> a file name of its own that every system takes and that no channel number ends."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = _UNFIT.sub("_", name).strip("._ ")[:_LONGEST_NAME] or "case"
        plain = _CHANNEL_NUMBER.sub(r"-\1", plain)
        unique, number = plain, 2
        while unique.casefold() in taken:
            unique, number = f"{plain}-{number}", number + 1
        taken.add(unique.casefold())
        found[name] = unique
    return found
