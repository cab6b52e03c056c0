"""The prepared cache: what training reads, and all that it needs (`medai prepare` writes it).

    CACHE/dataset.json                  CacheCard: labels, inputs, spacing, fingerprint, cases with patients
    CACHE/splits.json                   which cases each fold trains on (medai.dataset.split)
    CACHE/cases/<case>.image.npy        float16 or float32 (c, k, j, i), preprocessed
    CACHE/cases/<case>.labels.npy       uint8 or int16 (k, j, i); value n is the n-th label of the scheme, 0 background
    CACHE/cases/<case>.foreground.npz   label index as text -> voxel coordinates (n, 3) int32, a random sample

Only numpy and the standard library are needed, so that training runs on a bare GPU machine too.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medai.config import from_json, read_json, to_json
from medai.config.model_card import InputSpec, LabelSpec
from medai.dataset.fingerprint import Fingerprint
from medai.errors import DatasetError
from medai.image import Array

CARD_NAME = "dataset.json"
_FORMAT = 1
_FOREGROUND_SAMPLE = 5000  # coordinates per label and case: enough to place patches, small beside the image
_FLOAT16_LIMIT = 256.0  # below it float16 is good to 1/8 at worst, and to 1/500 within a z-score of 4


@dataclass(frozen=True)
class CachedCase:
    """One case of the cache; `patient` groups the cases that must stay on one side of a split.

    `unknown_labels` are the label indices (1, 2, ...) that nobody drew in this case: whether the structure is there is
    not known, and its voxels are among the background's.
    """

    name: str
    patient: str
    shape: tuple[int, int, int]
    unknown_labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class ExcludedCase:
    """A file or case that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class CacheCard:
    """dataset.json. `labels` are the foreground labels in the order of the cache's label indices 1, 2, ...

    `inputs`, `spacing_mm` (k, j, i), `crop` and `planar` are the preprocessing that the voxels went through. `warnings`
    are what the check of the data set found for a person to look at.
    """

    name: str
    labels: tuple[LabelSpec, ...]
    inputs: tuple[InputSpec, ...]
    spacing_mm: tuple[float, float, float]
    crop: Literal["none", "nonzero", "body"]
    planar: bool
    fingerprint: Fingerprint
    cases: tuple[CachedCase, ...]
    excluded: tuple[ExcludedCase, ...] = ()
    warnings: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    format: Literal[1] = 1


@dataclass(frozen=True)
class CaseArrays:
    """Voxels of one case, memory-mapped; see the module's docstring for the types and shapes.

    `unknown` are the indices of the labels that nobody drew in it.
    """

    image: Array
    labels: Array
    foreground: dict[int, Array]
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cache:
    """An opened cache."""

    root: Path
    card: CacheCard

    def load(self, case: CachedCase) -> CaseArrays:
        """The arrays of one case; DatasetError where a file is missing or does not fit dataset.json."""
        base = self.root / "cases" / case.name
        try:
            image = np.load(f"{base}.image.npy", mmap_mode="r", allow_pickle=False)
            labels = np.load(f"{base}.labels.npy", mmap_mode="r", allow_pickle=False)
            with np.load(f"{base}.foreground.npz", allow_pickle=False) as archive:
                foreground = {int(key): archive[key] for key in archive.files}
        except (OSError, ValueError) as error:
            raise DatasetError(f"Case '{case.name}' of the cache '{self.root}' cannot be read: {error}.",
                               "Run `medai prepare` again.") from error  # fmt: skip
        if image.shape[1:] != case.shape or labels.shape != case.shape:
            raise DatasetError(
                f"Case '{case.name}' of the cache '{self.root}' has the shape {image.shape[1:]}, not {case.shape}.",
                "Run `medai prepare` again.",
            )
        return CaseArrays(image, labels, foreground, case.unknown_labels)


def is_cache(path: Path) -> bool:
    """Whether `medai prepare` wrote the folder `path` (an MSD data set has another dataset.json)."""
    card = path / CARD_NAME
    if not (card.is_file() and (path / "cases").is_dir()):
        return False
    data = read_json(card)
    return isinstance(data, dict) and "fingerprint" in data


def open_cache(path: Path) -> Cache:
    """Open a cache; ConfigError or DatasetError where it is damaged."""
    if not is_cache(path):
        raise DatasetError(
            f"'{path}' is not a prepared cache.", "Make one with `medai prepare DATASET --output CACHE`."
        )
    return Cache(path, from_json(CacheCard, read_json(path / CARD_NAME), f"{path / CARD_NAME}:"))


def write_case(root: Path, name: str, image: Array, labels: Array, label_count: int) -> CachedCase:
    """Write one case; `labels` holds the indices 0..label_count. The caller fills in the patient."""
    folder = root / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    small = float(np.abs(image).max(initial=0.0)) < _FLOAT16_LIMIT
    np.save(folder / f"{name}.image.npy", image.astype(np.float16 if small else np.float32))
    np.save(folder / f"{name}.labels.npy", labels.astype(np.uint8 if label_count < 256 else np.int16))
    foreground: dict[str, Any] = {str(k): v for k, v in sample_foreground(labels, label_count).items()}
    np.savez(folder / f"{name}.foreground.npz", **foreground)
    return CachedCase(name, name, (labels.shape[0], labels.shape[1], labels.shape[2]))


def sample_foreground(labels: Array, label_count: int) -> dict[int, Array]:
    """Up to 5000 coordinates (n, 3) of each label that is present, drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    found: dict[int, Array] = {}
    for index in range(1, label_count + 1):
        coordinates = np.argwhere(labels == index).astype(np.int32)
        if len(coordinates) > _FOREGROUND_SAMPLE:
            coordinates = coordinates[rng.choice(len(coordinates), _FOREGROUND_SAMPLE, replace=False)]
        if len(coordinates):
            found[index] = coordinates
    return found


def write_card(root: Path, card: CacheCard) -> None:
    """Write dataset.json last and atomically: a cache without it was not finished."""
    temporary = root / f".{CARD_NAME}.part"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(to_json(card), stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(root / CARD_NAME)
