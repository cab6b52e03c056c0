"""Evaluations as the panel shows them: figures of each structure and case, worst cases, comparison. No Qt."""

from __future__ import annotations

import csv
import html
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from medai.errors import FileFormatError
from MedAITrainLib.compared_case import CaseFiles

METRICS = ("dice", "hd95_mm", "assd_mm", "nsd")
# Of these more is better; of distances less is.
GROWING = ("dice", "nsd")


def metricTitle(metric: str) -> str:
    """The metric as the panel shows it."""
    return {
        "dice": _("Dice"),
        "hd95_mm": _("HD95 (mm)"),
        "assd_mm": _("ASSD (mm)"),
        "nsd": _("NSD"),
    }.get(metric, metric)


@dataclass(frozen=True)
class WorstCase:
    """One figure of one structure in one case; `value` is None where the structure is missing in one of the two."""

    case: str
    label: str
    value: float | None


@dataclass(frozen=True)
class Report:
    """An evaluation: what ``medai evaluate --json`` prints, and where it lies."""

    name: str
    data: dict[str, Any]
    path: Path | None = None
    cases: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The structures, in the order of the report."""
        return list(dict.fromkeys(label for labels in self.cases.values() for label in labels))

    def values(self, label: str, metric: str) -> list[float]:
        """The figures of a structure over all cases, those that exist."""
        found = [labels[label].get(metric) for labels in self.cases.values() if label in labels]
        return [value for value in found if value is not None and math.isfinite(value)]

    def mean(self, label: str, metric: str) -> float | None:
        """The mean of those figures, None where there is none."""
        values = self.values(label, metric)
        return sum(values) / len(values) if values else None

    def worst(self, metric: str) -> list[WorstCase]:
        """All figures, the worst first; a structure that is missing in one of the two is worst of all."""
        found = [
            WorstCase(case, label, figures.get(metric))
            for case, labels in self.cases.items()
            for label, figures in labels.items()
        ]
        sign = 1.0 if metric in GROWING else -1.0
        return sorted(found, key=lambda f: -math.inf if f.value is None else sign * f.value)

    def files(self, case: str, dataset: Path | None = None) -> CaseFiles:
        """Where the case lies: as the report names it, else where data sets and evaluations have it."""
        entry = next((entry for entry in self.data.get("cases", ()) if entry.get("case") == case), {})
        root = self.path.parent if self.path is not None else Path()
        image = entry.get("image") or (entry.get("images") or [None])[0]
        return CaseFiles(
            root / image if image else _find(dataset, ("images", "imagesTr"), case),
            root / entry["reference"] if entry.get("reference") else _find(dataset, ("labels", "labelsTr"), case),
            root / entry["prediction"] if entry.get("prediction") else _find(root, ("predictions", "."), case),
        )


def _find(root: Path | None, folders: tuple[str, ...], case: str) -> Path | None:
    """The file of the case in one of these folders."""
    for folder in folders if root is not None else ():
        for name in (case, f"{case}_0000"):
            for suffix in (".seg.nrrd", ".nrrd", ".nii.gz", ".nii", ".mha"):
                path = root / folder / f"{name}{suffix}"
                if path.is_file():
                    return path
    return None


def reportFrom(data: Any, name: str, path: Path | None = None) -> Report:
    """The report in this JSON object; FileFormatError where it is none of a segmentation."""
    cases = data.get("cases") if isinstance(data, dict) else None
    try:
        figures = {
            str(entry["case"]): {
                str(label): {key: None if values.get(key) is None else float(values[key]) for key in METRICS}
                for label, values in entry["labels"].items()
            }
            for entry in cases or ()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        figures = {}
    if not figures:
        raise FileFormatError(
            _("'{name}' is no evaluation of a segmentation.").format(name=path or name),
            _("Choose what 'medai evaluate --json' printed, or the CSV of an evaluation."),
        )
    return Report(name, data, path, figures)


def readReport(path: Path) -> Report:
    """The report in a .json or .csv file."""
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix.lower() == ".json" else _fromCsv(text)
    except (OSError, ValueError, KeyError) as error:
        raise FileFormatError(
            _("'{path}' cannot be read: {error}").format(path=path, error=error),
            _("Choose what 'medai evaluate --json' printed, or the CSV of an evaluation."),
        ) from error
    return reportFrom(data, path.stem, path)


def _fromCsv(text: str) -> dict[str, Any]:
    cases: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(text.splitlines()):
        labels = cases.setdefault(row["case"], {"case": row["case"], "labels": {}})["labels"]
        labels[row["label"]] = {key: float(row[key]) if row.get(key) else None for key in METRICS}
    return {"cases": list(cases.values())}


def writeCsv(report: Report, path: Path) -> None:
    """All figures, a line for each case and structure; FileFormatError where it cannot be written."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["case", "label", *METRICS])
            for case, labels in report.cases.items():
                for label, figures in labels.items():
                    table.writerow([case, label, *("" if figures[m] is None else figures[m] for m in METRICS)])
        temporary.replace(path)
    except OSError as error:
        raise FileFormatError(
            _("'{path}' cannot be written: {error}").format(path=path, error=error.strerror or error),
            _("Choose another place."),
        ) from error


def comparisonHtml(data: dict[str, Any], metric: str, first: str, second: str) -> str:
    """What ``medai compare --json`` found about this metric, for a person: `second` against `first`."""
    rows = (data.get("metrics") or {}).get(metric) or {}
    head = (_("Structure"), first, second, _("Difference (95 %)"), "p")
    lines = ["".join(f"<th align='left'>{html.escape(text)}&nbsp;&nbsp;</th>" for text in head)]
    for label, row in rows.items():
        interval = _("{difference} ({low} to {high})").format(
            difference=_signed(row.get("difference")), low=_signed(row.get("low")), high=_signed(row.get("high"))
        )
        cells = (
            label, _number(row.get("mean_first")), _number(row.get("mean_second")), interval,
            _number(row.get("p_holm", row.get("p"))),
        )  # fmt: skip
        lines.append("".join(f"<td>{html.escape(str(cell))}&nbsp;&nbsp;</td>" for cell in cells))
    title = _("{metric} of the same {count} cases:").format(
        metric=metricTitle(metric), count=len(data.get("cases") or ())
    )
    notes = "".join(f"<br><i>{html.escape(str(note))}</i>" for note in data.get("warnings") or ())
    correction = html.escape(str(data.get("correction") or ""))
    return f"{html.escape(title)}<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{correction}{notes}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
