"""Splits that keep the share of each class, and all cases of a patient on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratified_folds(labels: Sequence[int], patients: Sequence[str], folds: int, seed: int) -> list[list[int]]:
    """Indices of `folds` parts, each with about the same share of every class; a patient is in one part only.

    Patients (in an order drawn from `seed`, those with the most cases first) go one by one to the part that lacks
    their classes most. Each class comes to every part if it has as many patients as there are parts.
    """
    classes = sorted(set(labels))
    by_patient: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        by_patient.setdefault(patient, []).append(index)
    counts = {p: np.array([sum(labels[i] == c for i in rows) for c in classes]) for p, rows in by_patient.items()}
    names = sorted(by_patient)
    order = np.random.default_rng(seed).permutation(len(names))
    totals = np.maximum(sum(counts.values()), 1)
    filled = np.zeros((folds, len(classes)))
    parts: list[list[int]] = [[] for _ in range(folds)]
    for name in sorted((names[n] for n in order), key=lambda p: -len(by_patient[p])):
        # The part with the smallest share of what this patient brings; of equal ones the smallest part.
        share = (filled * counts[name] / totals).sum(axis=1)
        part = min(range(folds), key=lambda f: (share[f], len(parts[f]), f))
        filled[part] += counts[name]
        parts[part] += by_patient[name]
    return [sorted(part) for part in parts]
