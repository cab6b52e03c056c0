"""Splits by patient: no patient is on both sides. They are stored, so that every training of a data set has the same.

    splits.json    {"source": "drawn" or "given", "seed": 0, "folds": [{"train": [names], "val": [names]}, ...]}

or the bare list of folds, as nnU-Net's splits_final.json. A person may write or edit it, in a data set or in a cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medai.case_checks import check_splits
from medai.config import read_json
from medai.dataset.cache import Cache, CachedCase
from medai.errors import DatasetError, output_error

SPLITS_NAME = "splits.json"
_NAMES = (SPLITS_NAME, "splits_final.json")
USUAL_FOLDS = 5
_USUAL_FRACTION = 1 / USUAL_FOLDS


@dataclass(frozen=True)
class Split:
    """Names of the training and of the validation cases."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class StoredSplits:
    """The folds of a data set; `source` tells whether a person gave them or they were drawn with `seed`."""

    folds: tuple[Split, ...]
    source: Literal["drawn", "given"] = "given"
    seed: int = 0


def split_by_patient(
    cases: Sequence[CachedCase], folds: int, fold: int, validation_fraction: float, seed: int
) -> Split:
    """A seeded split of whole patients.

    With one fold, `validation_fraction` of the patients (at least one) are held back; with more, the patients are dealt
    into `folds` equal parts and part `fold` is held back. The result does not depend on the order of `cases`.
    """
    patients = sorted({case.patient for case in cases})
    if len(patients) < max(2, folds):
        raise DatasetError(
            f"The data set has {len(patients)} patients, too few for {folds} fold(s) and a validation part.",
            f"Add cases, so that there are at least {max(2, folds)} patients.",
        )
    order = np.random.default_rng(seed).permutation(len(patients))
    if folds == 1:
        count = min(max(1, round(validation_fraction * len(patients))), len(patients) - 1)
        held = {patients[index] for index in order[:count]}
    else:
        held = {patients[index] for index in order[fold::folds]}
    names = sorted((case.name, case.patient in held) for case in cases)
    return Split(tuple(n for n, is_held in names if not is_held), tuple(n for n, is_held in names if is_held))


def draw_splits(cases: Sequence[CachedCase], folds: int, seed: int) -> StoredSplits | None:
    """`folds` folds by patient, fewer where there are fewer patients; None where there are not even two."""
    count = min(folds, len({case.patient for case in cases}))
    if count < 2:
        return None
    return StoredSplits(tuple(split_by_patient(cases, count, n, 0.5, seed) for n in range(count)), "drawn", seed)


def split_for(cache: Cache, folds: int, fold: int, validation_fraction: float, seed: int) -> Split:
    """The split that a training uses: the cache's own where it has one, else one drawn with `seed`.

    One fold is the first of those stored. Other numbers of folds, or another part for validation than a fifth, are
    drawn anew, unless a person gave the folds: then another number of folds is a DatasetError. The stored folds are
    checked each time, as they may have been edited: an unknown case, an empty side or a patient on both sides is a
    DatasetError.
    """
    stored = read_splits(cache.root)
    if stored is None:
        return split_by_patient(cache.card.cases, folds, fold, validation_fraction, seed)
    fits = folds in (1, len(stored.folds))
    if stored.source == "drawn" and (not fits or (folds == 1 and validation_fraction != _USUAL_FRACTION)):
        return split_by_patient(cache.card.cases, folds, fold, validation_fraction, seed)
    if not fits:
        raise DatasetError(
            f"The data set has {len(stored.folds)} folds of its own, {folds} were asked for.",
            f"Train {len(stored.folds)} folds, or remove '{cache.root / SPLITS_NAME}'.",
        )
    require_sound(stored, {case.name: case.patient for case in cache.card.cases}, cache.root / SPLITS_NAME)
    return stored.folds[fold]


def require_sound(stored: StoredSplits, patients: Mapping[str, str], where: Path) -> None:
    """DatasetError for the first problem of the folds; `patients` is case name -> patient."""
    for finding in check_splits(((s.training, s.validation) for s in stored.folds), patients):
        raise DatasetError(f"'{where}': {finding.message}", finding.remedy)


def read_splits(folder: Path) -> StoredSplits | None:
    """The splits that lie in a data set or cache; None where there are none, DatasetError where they are broken."""
    path = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if path is None:
        return None
    data: Any = read_json(path)
    rows: Any = data.get("folds") if isinstance(data, dict) else data
    try:
        folds = tuple(Split(_names(row["train"]), _names(row["val"])) for row in rows)
    except (TypeError, KeyError) as error:
        raise DatasetError(
            f"'{path}' is not a list of folds.", 'Give [{"train": [names], "val": [names]}, ...], or remove it.'
        ) from error
    if not folds:
        raise DatasetError(f"'{path}' has no fold.", "Add one, or remove the file.")
    drawn = isinstance(data, dict) and data.get("source") == "drawn"
    return StoredSplits(folds, "drawn" if drawn else "given", int(data.get("seed", 0)) if drawn else 0)


def _names(row: Any) -> tuple[str, ...]:
    if not isinstance(row, list) or not all(isinstance(name, str) for name in row):
        raise TypeError
    return tuple(row)


def write_splits(folder: Path, splits: StoredSplits) -> None:
    """Write splits.json into a cache."""
    folds = [{"train": list(split.training), "val": list(split.validation)} for split in splits.folds]
    data = {"source": splits.source, "seed": splits.seed, "folds": folds}
    temporary = folder / f".{SPLITS_NAME}.part"
    try:
        temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
        temporary.replace(folder / SPLITS_NAME)
    except OSError as error:
        raise output_error(folder / SPLITS_NAME, error) from error
