"""Two evaluations of the same cases: which model is better on which label, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medai.errors import DatasetError
from medai.evaluate.reports import read_report
from medai.metrics.paired import PairedDifference, holm, paired_difference

COMPARED = ("dice", "hd95_mm", "assd_mm", "nsd")
OVERALL = "overall"
_FEWEST_FOR_P = 6  # pairs; with fewer the signed-rank test cannot come below 0.05


def compare(
    first: Path | str | Mapping[str, Any],
    second: Path | str | Mapping[str, Any],
    metrics: Sequence[str] = COMPARED,
    seed: int = 0,
) -> dict[str, Any]:
    """Paired differences, second minus first, of two reports (or their files) of the same cases.

    Result: ``metrics`` {metric: {label: figures}}, ``cases`` (names of the pairs), ``correction``, ``warnings``. The
    figures are `PairedDifference` with ``p_holm``, corrected over the labels of a metric (Holm 1979), and ``missing``,
    the pairs where the figure does not exist in one of both. ``overall`` is each case's mean over the labels that both
    have; as the one summary it is not corrected. Cases are independent here: where a patient has several, intervals
    are too narrow. Raises DatasetError where no case, or no label, is in both.
    """
    a, b = _cases(first), _cases(second)
    names = [name for name in a if name in b]
    if not names:
        raise DatasetError(
            f"The evaluations have no case in common: {_some(a)} and {_some(b)}.", "Evaluate both on the same cases."
        )
    labels = list(dict.fromkeys(label for name in names for label in a[name] if label in b[name]))
    if not labels:
        raise DatasetError(
            f"The evaluations have no label in common: {_some(a[names[0]])} and {_some(b[names[0]])}.",
            "Labels are paired by their names: name them alike.",
        )
    warnings = [
        f"{len(left)} case(s) are only in the {which} evaluation and were left out: {_some(left)}."
        for which, left in (("first", set(a) - set(b)), ("second", set(b) - set(a)))
        if left
    ]
    if len(names) < _FEWEST_FOR_P:
        warnings.append(f"With {len(names)} cases the test cannot find a difference: it needs {_FEWEST_FOR_P}.")
    return {
        "cases": names,
        "metrics": {metric: _compare_metric(metric, names, labels, a, b, seed) for metric in metrics},
        "correction": "p_holm: Holm over the labels of each metric",
        "warnings": warnings,
    }


def _compare_metric(
    metric: str, names: Sequence[str], labels: Sequence[str], a: Any, b: Any, seed: int
) -> dict[str, dict[str, float | None]]:
    found: dict[str, tuple[PairedDifference, int]] = {}
    by_case: dict[str, list[tuple[float, float]]] = {}
    for label in labels:
        pairs, missing = [], 0
        for name in names:
            values = a[name].get(label, {}).get(metric), b[name].get(label, {}).get(metric)
            if values[0] is None or values[1] is None:
                missing += values != (None, None)
                continue
            pairs.append((float(values[0]), float(values[1])))
            by_case.setdefault(name, []).append(pairs[-1])
        if pairs:
            found[label] = _difference(pairs, seed), missing
    corrected = holm([difference.p for difference, _ in found.values()])
    rows = {
        label: _row(difference, p, missing)
        for (label, (difference, missing)), p in zip(found.items(), corrected, strict=True)
    }
    if by_case:
        means = [tuple(sum(values) / len(values) for values in zip(*p, strict=True)) for p in by_case.values()]
        rows[OVERALL] = _row(_difference(means, seed), math.nan, len(names) - len(by_case))
    return rows


def _difference(pairs: Sequence[Sequence[float]], seed: int) -> PairedDifference:
    return paired_difference([pair[0] for pair in pairs], [pair[1] for pair in pairs], seed)


def _row(difference: PairedDifference, p_holm: float, missing: int) -> dict[str, float | None]:
    values = {**asdict(difference), "p_holm": p_holm, "missing": missing}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _cases(report: Path | str | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    data = report if isinstance(report, Mapping) else read_report(Path(report))
    return {case["case"]: case["labels"] for case in data["cases"]}


def _some(names: Any) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (" ..." if len(shown) > 5 else "")
