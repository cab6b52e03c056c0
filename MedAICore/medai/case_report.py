"""What a check of labelled cases found: findings that a person can act on. Standard library and numpy only.

The same report is made of the cases of a scene (`medai.mrml.labelled_cases`) and of a data set on disk
(`medai.dataset.report`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was found: about `case` ("" for the whole data set), how bad it is, and what can be done.

    `code` is the machine-readable kind, e.g. "missing-volume", "empty-label", "geometry", "duplicate", "intensity",
    "imbalance", "patient-name", "fold-leak", "one-case", "outside", "not-finite", "overlap", "tiny-label".
    """

    case: str
    severity: Severity
    code: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class CheckReport:
    """All findings, errors first. Cases with an error cannot be trained on as they are."""

    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What has to be mended, or left out, before a training."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What a person should look at."""
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def bad_cases(self) -> frozenset[str]:
        """Names of the cases that have an error of their own."""
        return frozenset(f.case for f in self.errors if f.case)

    def of_case(self, case: str) -> tuple[Finding, ...]:
        """The findings about one case ("": about the whole data set)."""
        return tuple(f for f in self.findings if f.case == case)


def report_of(findings: Iterable[Finding]) -> CheckReport:
    """A report with the findings in the order in which a person should read them."""
    return CheckReport(tuple(sorted(findings, key=lambda f: (_ORDER[f.severity], f.case != "", f.case, f.code))))
