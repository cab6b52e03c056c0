"""The check of a data set on disk: the same report as of the labelled cases of a scene."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from medai.case_checks import CaseSummary, check_case, check_splits, check_together, summarize_channel
from medai.case_report import CheckReport, Finding, report_of
from medai.dataset.cache import ExcludedCase
from medai.dataset.checks import ReadCase, read_case
from medai.dataset.layouts import Case, Listing, list_dataset
from medai.dataset.split import read_splits
from medai.errors import DatasetError
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress


def check_dataset(
    dataset: Path,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
    *,
    label_values: Collection[int] = (),
) -> CheckReport:
    """Read every case of the data set and report what a person should know; nothing is written.

    `label_values` are the values that count as labels where the data set does not name them.
    """
    listing = list_dataset(dataset)
    stage = Stage(progress, "checking", 0.0, 1.0)
    values = tuple(label_values) or tuple(listing.labels)
    summaries, excluded = [], list(listing.excluded)
    for number, case in enumerate(listing.cases):
        check_cancelled(cancelled)
        try:
            summaries.append(summarize(case, read_case(case, len(listing.channels), values), listing))
        except DatasetError as error:
            excluded.append(ExcludedCase(case.name, str(error)))
        stage((number + 1) / len(listing.cases))
    return report_of(dataset_findings(summaries, excluded, splits_folder(dataset)))


def splits_folder(dataset: Path) -> Path:
    """Where the data set's own splits.json lies."""
    return dataset if dataset.is_dir() else dataset.parent


def dataset_findings(
    summaries: Sequence[CaseSummary], excluded: Sequence[ExcludedCase], splits: Path | None = None
) -> list[Finding]:
    """All findings about a data set, of which `summaries` could be read and `excluded` not.

    A case without any labelled voxel is a warning only: in files it may show that the structure can be absent.
    """
    findings = [Finding(case.name, "error", "unreadable", case.reason, "Repair or replace it.") for case in excluded]
    for summary in summaries:
        findings += check_case(summary, empty="warning")
    bad = {f.case for f in findings if f.severity == "error"}
    good = [summary for summary in summaries if summary.name not in bad]
    findings += check_together(good)
    stored = read_splits(splits) if splits is not None else None
    if stored is not None:
        folds = ((split.training, split.validation) for split in stored.folds)
        findings += check_splits(folds, {s.name: s.patient for s in summaries} | {c.name: "" for c in excluded})
    return findings


def summarize(case: Case, read: ReadCase, listing: Listing) -> CaseSummary:
    """What the checks look at, of a case that was read."""
    labels = read.labels.channel(0)
    counts = np.bincount(labels.ravel())
    names = listing.labels or {int(value): f"label {value}" for value in np.flatnonzero(counts) if value}
    first = np.ascontiguousarray(read.image.channel(0))
    return CaseSummary(
        name=case.name,
        patient=case.patient,
        shape=read.image.shape,
        spacing_mm=read.image.spacing_mm,
        channels=tuple(
            summarize_channel(channel.name, channel.modality, read.image.channel(n), read.covers[n])
            for n, channel in enumerate(listing.channels)
        ),
        label_voxels={
            name: int(counts[value]) if value < len(counts) else 0
            for value, name in names.items()
            if name not in case.unknown
        },
        unknown=case.unknown,
        digest=hashlib.sha256(first.data).hexdigest(),
    )
