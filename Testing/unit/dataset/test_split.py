from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medai.dataset.cache import CachedCase
from medai.dataset.split import split_by_patient
from medai.errors import DatasetError


def cases(patients: list[int]) -> list[CachedCase]:
    return [CachedCase(f"case{n}", f"patient{patient}", (1, 1, 1)) for n, patient in enumerate(patients)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other work may slow the machine
@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.integers(0, 5), st.floats(0.05, 0.6))
def test_no_patient_is_on_both_sides(patients: list[int], seed: int, fraction: float) -> None:
    if len(set(patients)) < 2:
        return
    everything = cases(patients)
    split = split_by_patient(everything, 1, 0, fraction, seed)
    patient_of = {case.name: case.patient for case in everything}
    assert split.training
    assert split.validation
    assert not {patient_of[n] for n in split.training} & {patient_of[n] for n in split.validation}
    assert sorted(split.training + split.validation) == sorted(patient_of)


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    everything = cases(list(range(20)))
    first = split_by_patient(everything, 1, 0, 0.2, 0)
    assert len(first.validation) == 4
    assert split_by_patient(everything[::-1], 1, 0, 0.2, 0) == first
    assert split_by_patient(everything, 1, 0, 0.2, 1) != first


def test_folds_hold_back_every_patient_once() -> None:
    everything = cases([0, 0, 1, 2, 3, 4, 5, 6])
    held = [split_by_patient(everything, 3, fold, 0.2, 7).validation for fold in range(3)]
    assert sorted(name for fold in held for name in fold) == sorted(case.name for case in everything)


@pytest.mark.parametrize("folds", [1, 5])
def test_too_few_patients(folds: int) -> None:
    with pytest.raises(DatasetError, match="1 patients, too few"):
        split_by_patient(cases([0, 0, 0]), folds, 0, 0.2, 0)
