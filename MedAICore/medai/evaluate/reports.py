"""The report of an evaluation as files: evaluation.json (all of it) and evaluation.csv (a line a case and label)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medai.config import read_json
from medai.config.training_run import write_whole
from medai.errors import FileFormatError
from medai.imageio import atomic_output

REPORT_NAME = "evaluation.json"
CSV_NAME = "evaluation.csv"
METRICS = ("dice", "hd95_mm", "assd_mm", "nsd", "reference_ml", "prediction_ml")
_HINT = "Give what `medai evaluate` wrote, as .json or .csv."


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write evaluation.json and evaluation.csv into `folder`, each whole or not at all."""
    write_whole(folder / REPORT_NAME, report)
    write_csv(folder / CSV_NAME, report)


def write_csv(path: Path, report: Mapping[str, Any]) -> None:
    """Write case, label and every metric as a table; what does not exist is empty. OutputError where that fails."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "label", *METRICS])
    for case in report["cases"]:
        for label, values in case["labels"].items():
            table.writerow([case["case"], label, *("" if values.get(m) is None else values[m] for m in METRICS)])
    with atomic_output(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def read_report(path: Path) -> dict[str, Any]:
    """The report in a .csv or .json file, or in a folder that `write_report` wrote; FileFormatError where it is none.

    Of a .csv only ``cases`` come back. Other columns than the known metrics are passed over.
    """
    file = path / REPORT_NAME if path.is_dir() else path
    if not file.is_file():
        raise FileFormatError(f"There is no evaluation '{file}'.", _HINT)
    report = _from_csv(file) if file.suffix.lower() == ".csv" else read_json(file)
    cases = report.get("cases") if isinstance(report, dict) else None
    if not isinstance(cases, list) or not cases or not all(_is_case(case) for case in cases):
        raise FileFormatError(f"'{file}' is no evaluation of segmentations.", _HINT)
    return {**report, "name": str(file)}


def _is_case(case: Any) -> bool:
    return isinstance(case, dict) and isinstance(case.get("case"), str) and isinstance(case.get("labels"), dict)


def _from_csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"'{path}' cannot be read: {error}.", _HINT) from error
    cases: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, 2):
        if not row.get("case") or not row.get("label"):
            raise FileFormatError(f"'{path}', line {number}: case or label is missing.", _HINT)
        values = {metric: _number(row[metric], path, number) for metric in METRICS if metric in row}
        labels = cases.setdefault(row["case"], {"case": row["case"], "labels": {}})["labels"]
        if row["label"] in labels:
            raise FileFormatError(f"'{path}', line {number}: {row['case']} has '{row['label']}' twice.", _HINT)
        labels[row["label"]] = values
    return {"cases": list(cases.values())}


def _number(text: str | None, path: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise FileFormatError(f"'{path}', line {line}: '{text}' is no number.", "Correct that line.") from error
    return value if math.isfinite(value) else None
