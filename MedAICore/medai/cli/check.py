"""``medai check``: what a person should know about labelled cases before a training."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medai.case_report import CheckReport
from medai.cli.console import EXIT_FAILED, EXIT_OK, Outcome, Session, execute
from medai.cli.labelled_sources import plain_dataset
from medai.cli.options import DebugOption, JsonOption
from medai.errors import DatasetError

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def check(
    dataset: Annotated[
        Path,
        typer.Argument(help="A data set, scenes (.mrb, .mrml, or a folder of them), or DICOM with DICOM SEG."),
    ],
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check labelled cases: geometry, empty labels, duplicates, intensities, imbalance, patients, splits.

    The exit code is 1 where something was found that keeps a case, or all of them, from being trained on.
    """
    found: list[CheckReport] = []
    code = execute(lambda session: _check(dataset, found, session), json_output, debug)
    return EXIT_FAILED if code == EXIT_OK and any(report.errors for report in found) else code


def _check(dataset: Path, found: list[CheckReport], session: Session) -> Outcome:
    from medai.dataset.report import check_dataset

    if not dataset.exists():
        raise DatasetError(f"There is no data set '{dataset}'.", "Check the path.")
    with (
        tempfile.TemporaryDirectory(prefix="medai-check-") as work,
        plain_dataset(dataset, Path(work), session) as data,
        session.progress() as progress,
    ):
        report = check_dataset(data, progress, session.cancelled)
    found.append(report)
    counts = Counter(finding.severity for finding in report.findings)
    result = {
        "dataset": str(dataset),
        "errors": counts["error"],
        "warnings": counts["warning"],
        "notes": counts["note"],
        "findings": [asdict(finding) for finding in report.findings],
    }
    return Outcome(result, lambda console: _show(report, console))


def _show(report: CheckReport, console: Console) -> None:
    from rich.text import Text

    for finding in report.findings:
        line = Text(f"{finding.severity:8}", style=_STYLES[finding.severity])
        line.append(f"{finding.case or 'data set'}: ", style="bold")
        line.append(f"{finding.message} ", style="default")
        line.append(finding.remedy, style="italic")
        console.print(line, highlight=False)
    counts = Counter(finding.severity for finding in report.findings)
    console.print(f"{counts['error']} errors, {counts['warning']} warnings, {counts['note']} notes.", highlight=False)
