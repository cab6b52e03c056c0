"""Splits by patient: no patient is on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medai.dataset.cache import CachedCase
from medai.errors import DatasetError


@dataclass(frozen=True)
class Split:
    """Names of the training and of the validation cases."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


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
