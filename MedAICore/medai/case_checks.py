"""Checks of labelled cases against each other and one by one, on summaries of them: numpy and standard library only.

A summary is made where the voxels are: of nodes in a scene (`medai.mrml.labelled_checks`) or of files
(`medai.dataset.report`). Severities: an *error* makes a case, or the data set, unfit for training; a *warning* is
something that a person should look at; a *note* explains what the training will do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medai.case_report import Finding, Severity
from medai.image import Array

TINY_VOXELS = 10
_OUTLIER = 5.0  # robust z-score; 3.5 is usual for normal data (Iglewicz and Hoaglin 1993), scanners differ more
_CASES_FOR_OUTLIERS = 6
_IMBALANCE = 1000.0  # voxels of the most frequent label per voxel of the rarest
_MOST_NON_FINITE = 0.01  # as inference accepts
_INSIDE_ERROR, _INSIDE_WARNING = 0.5, 0.9
_COVER_WARNING = 0.95
_SPACING_RATIO = 3.0
_SAMPLES = 100_000
_PERCENTILES = (5.0, 50.0, 95.0)


@dataclass(frozen=True)
class ChannelSummary:
    """Intensities of one channel: 5th, 50th and 95th percentile and extremes of its finite voxels.

    `non_finite` is the part of the voxels that is NaN or infinite, `cover` the part of the first channel's grid that
    this channel covers.
    """

    name: str
    modality: str = ""
    percentiles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low: float = 0.0
    high: float = 0.0
    non_finite: float = 0.0
    cover: float = 1.0


@dataclass(frozen=True)
class CaseSummary:
    """What the checks look at. `label_voxels` has the labels that the case knows, `inside` the part of each label that
    lies in the volume, `digest` the same text for the same voxels; `shape` and `spacing_mm` have the axes (k, j, i)."""

    name: str
    patient: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    channels: tuple[ChannelSummary, ...]
    label_voxels: Mapping[str, int]
    unknown: tuple[str, ...] = ()
    inside: Mapping[str, float] = field(default_factory=dict)
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    digest: str = ""
    patient_name: str = ""
    source: str = ""


def summarize_channel(name: str, modality: str, array: Array, cover: float = 1.0) -> ChannelSummary:
    """The summary of a channel's voxels; percentiles of an evenly spaced sample."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        non_finite = 1.0 - float(finite.mean()) if flat.size else 0.0
        flat = flat[finite] if non_finite else flat
    else:
        non_finite = 0.0
    if not flat.size:
        return ChannelSummary(name, modality, non_finite=non_finite, cover=cover)
    sample = flat[:: max(1, flat.size // _SAMPLES)].astype(np.float64)
    p5, p50, p95 = (float(v) for v in np.percentile(sample, _PERCENTILES))
    return ChannelSummary(name, modality, (p5, p50, p95), float(flat.min()), float(flat.max()), non_finite, cover)


def check_case(case: CaseSummary, empty: Severity = "error") -> Iterator[Finding]:
    """What is wrong with one case by itself; `empty` is how bad it is if not a single voxel is labelled."""
    yield from _check_channels(case)
    yield from _check_labels(case, empty)
    for name, inside in case.inside.items():
        if inside < _INSIDE_WARNING:
            yield Finding(
                case.name,
                "error" if inside < _INSIDE_ERROR else "warning",
                "outside",
                f"Only {inside:.0%} of the label '{name}' lies in the volume.",
                "Check that segmentation and volume belong together and lie under the same transform.",
            )
    yield from overlap_findings(case.name, case.overlaps)
    if case.unknown:
        names = ", ".join(f"'{name}'" for name in case.unknown)
        yield Finding(
            case.name,
            "note",
            "unknown",
            f"Nobody has labelled {names} here: the training does not count that place as background.",
            "Add an empty segment of that name where the structure is absent.",
        )


def overlap_findings(case: str, overlaps: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    """Warnings of labels that lost voxels to others; `overlaps` is (lost, won) -> voxels."""
    for (lost, won), count in overlaps.items():
        yield Finding(
            case,
            "warning",
            "overlap",
            f"'{lost}' and '{won}' overlap in {count} voxels; these count as '{won}'.",
            "Remove the overlap in the segment editor, or move the label that should win to the end of the table.",
        )


def _check_channels(case: CaseSummary) -> Iterator[Finding]:
    for channel in case.channels:
        where = f"The volume '{channel.name}'"
        if channel.non_finite > _MOST_NON_FINITE:
            message = f"{where} has {channel.non_finite:.1%} voxels that are NaN or infinite."
            yield Finding(case.name, "error", "not-finite", message, "Export it again, or leave the case out.")
        elif channel.non_finite > 0:
            message = f"{where} has some voxels that are NaN or infinite; they get its smallest value."
            yield Finding(case.name, "note", "not-finite", message)
        if channel.low == channel.high:
            message = f"Every voxel of {where[0].lower()}{where[1:]} is {channel.low:g}: there is nothing to see in it."
            yield Finding(case.name, "error", "constant", message, "Load the right volume, or leave the case out.")
        if channel.cover <= 0.0:
            message = f"{where} lies outside of the first volume: they share no place in the patient."
            yield Finding(case.name, "error", "geometry", message, "Register the volumes first, or choose others.")
        elif channel.cover < _COVER_WARNING:
            message = f"{where} covers only {channel.cover:.0%} of the first volume; the rest gets its smallest value."
            yield Finding(case.name, "warning", "geometry", message, "Check that the volumes lie in their places.")


def _check_labels(case: CaseSummary, empty: Severity) -> Iterator[Finding]:
    if not any(case.label_voxels.values()):
        yield Finding(
            case.name,
            empty,
            "empty-segmentation",
            "No label has a voxel in the volume.",
            "Draw the structures, choose the segmentation of this volume, or leave the case out.",
        )
        return
    for name, count in case.label_voxels.items():
        if count == 0:
            message = f"The label '{name}' has no voxels: it counts as absent here."
            remedy = "Draw it, or remove the empty segment if nobody looked for the structure."
            yield Finding(case.name, "warning", "empty-label", message, remedy)
        elif count < TINY_VOXELS:
            message = f"The label '{name}' has {count} voxel{'s' if count > 1 else ''} only."
            remedy = "Check that these are no stray voxels; a network hardly learns from so few."
            yield Finding(case.name, "warning", "tiny-label", message, remedy)


def check_together(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    """What is wrong with the cases as a data set."""
    yield from _check_numbers(cases)
    yield from _check_channel_counts(cases)
    yield from _check_label_counts(cases)
    yield from _check_duplicates(cases)
    yield from _check_patients(cases)
    yield from _check_intensities(cases)
    yield from _check_spacing(cases)


def _check_numbers(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    patients = {case.patient for case in cases}
    remedy = "Add cases of other patients: a training is measured on patients that it has not seen."
    if not cases:
        yield Finding("", "error", "no-case", "There is no case that can be used.", "Mend the errors, or add cases.")
    elif len(cases) == 1:
        yield Finding("", "error", "one-case", f"There is one case only ('{cases[0].name}').", remedy)
    elif len(patients) == 1:
        yield Finding(
            "", "error", "one-patient", f"All {len(cases)} cases are of the patient '{min(patients)}'.", remedy
        )


def _check_channel_counts(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    counts = Counter(len(case.channels) for case in cases)
    usual = counts.most_common(1)[0][0] if counts else 0
    for case in cases:
        if len(case.channels) != usual:
            message = f"It has {len(case.channels)} volume(s), most cases have {usual}."
            yield Finding(case.name, "error", "channels", message, "Give every case the same volumes, in one order.")
    for index in range(usual):
        kinds = {case.name: case.channels[index].modality for case in cases if len(case.channels) == usual}
        known = Counter(kind for kind in kinds.values() if kind)
        if len(known) > 1:
            common = known.most_common(1)[0][0]
            for name in sorted(name for name, kind in kinds.items() if kind and kind != common):
                message = f"Volume {index + 1} is {kinds[name]}, in most cases it is {common}."
                yield Finding(name, "warning", "channels", message, "Give the volumes of all cases in one order.")


def _check_label_counts(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    totals: Counter[str] = Counter()
    present: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        for name, count in case.label_voxels.items():
            totals[name] += count
            if count:
                present[name].add(case.patient)
    for name, total in totals.items():
        if total == 0:
            message = f"The label '{name}' has no voxels in any case."
            yield Finding("", "warning", "never-drawn", message, "Ignore it, or draw it.")
        elif len(present[name]) == 1 and len({case.patient for case in cases}) > 1:
            message = f"Only one patient has the label '{name}': it can be trained or tested, but not both."
            yield Finding("", "warning", "rare-label", message, "Add cases with it, or ignore it.")
    drawn = {name: total for name, total in totals.items() if total}
    if drawn:
        most = max(drawn, key=lambda name: drawn[name])
        for name, total in drawn.items():
            if drawn[most] / total >= _IMBALANCE:
                message = f"'{most}' has {drawn[most] / total:.0f} times the voxels of '{name}'."
                remedy = "Train it with a crop around it, more cases of it, or a loss for small structures (focal)."
                yield Finding("", "warning", "imbalance", message, remedy)


def _check_duplicates(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    first: dict[str, CaseSummary] = {}
    for case in cases:
        earlier = first.setdefault(case.digest, case) if case.digest else case
        if earlier is case:
            continue
        other = earlier.patient != case.patient
        tail = f", of '{case.patient}' and '{earlier.patient}'" if other else ""
        yield Finding(
            case.name,
            "error" if other else "warning",
            "duplicate",
            f"It has the same voxels as '{earlier.name}'{tail}.",
            "Leave one of them out: else the training may be tested on what it has learned.",
        )


def _check_patients(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    ids: dict[str, set[str]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        ids[(case.patient_name or case.patient).strip().casefold()].add(case.patient)
        sources[case.patient].add(case.source)
    for name, patients in sorted(ids.items()):
        if len(patients) > 1:
            listed = ", ".join(f"'{p}'" for p in sorted(patients))
            yield Finding(
                "",
                "warning",
                "patient-name",
                f"{len(patients)} patients have the name '{name}': {listed}.",
                "If they are one person, give their cases the same patient: else the person may be on both sides of "
                "a split.",
            )
    for patient, files in sorted(sources.items()):
        if len(files) > 1:
            yield Finding(
                "",
                "warning",
                "patient-name",
                f"{len(files)} scenes have a patient '{patient}'; they count as one person.",
                "Give their cases different patients if they are not.",
            )


def _check_intensities(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    channels = min((len(case.channels) for case in cases), default=0)
    if len(cases) < _CASES_FOR_OUTLIERS:
        return
    for index in range(channels):
        values = np.array([case.channels[index].percentiles for case in cases])
        if values.min() > 0:  # scales differ by factors between scanners: a factor counts the same up and down
            values = np.log(values)
        scores = _robust_z(values)
        for case, score in zip(cases, scores, strict=True):
            if score.max() > _OUTLIER:
                which = _PERCENTILES[int(score.argmax())]
                number = case.channels[index].percentiles[int(score.argmax())]
                yield Finding(
                    case.name,
                    "warning",
                    "intensity",
                    f"The volume '{case.channels[index].name}' is unlike those of the other cases: its {which:.0f}th "
                    f"percentile is {number:g} (robust z-score {score.max():.1f}).",
                    "Look at it: another contrast, other units, or a damaged file? Leave it out if it does not belong.",
                )


def _robust_z(values: Array) -> Array:
    """Distance from the median in units of the scaled median absolute deviation, for each column."""
    off = np.abs(values - np.median(values, axis=0))
    spread = 1.4826 * np.median(off, axis=0)
    scale = np.maximum(np.abs(values).max(axis=0), 1e-12)
    scores: Array = off / np.maximum(spread, 0.01 * scale)
    return scores


def _check_spacing(cases: Sequence[CaseSummary]) -> Iterator[Finding]:
    if not cases:
        return
    median = np.median([sorted(case.spacing_mm) for case in cases], axis=0)
    for case in cases:
        ratio = np.array(sorted(case.spacing_mm)) / median
        if max(float(ratio.max()), 1.0 / float(ratio.min())) > _SPACING_RATIO:
            shown = " x ".join(f"{s:.3g}" for s in case.spacing_mm)
            usual = " x ".join(f"{s:.3g}" for s in median)
            yield Finding(
                case.name,
                "warning",
                "geometry",
                f"Its voxels are {shown} mm (k, j, i), those of most cases about {usual} mm.",
                "It will be resampled; check that the spacing in its header is right.",
            )


def check_splits(splits: Iterable[tuple[Sequence[str], Sequence[str]]], patients: Mapping[str, str]) -> list[Finding]:
    """Problems of (training, validation) name lists, one pair per fold; `patients` is case name -> patient."""
    findings = []
    for number, (training, validation) in enumerate(splits, 1):
        where = f"Fold {number}"
        for name in sorted({*training, *validation} - patients.keys()):
            message = f"{where} names the case '{name}', which the data set does not have."
            findings.append(Finding("", "error", "fold-unknown", message, "Correct splits.json, or remove it."))
        for side, names in (("trains on", training), ("validates on", validation)):
            if not set(names) & patients.keys():
                message = f"{where} {side} no case of the data set."
                findings.append(Finding("", "error", "fold-empty", message, "Correct splits.json, or remove it."))
        seen = {patients[name] for name in training if name in patients}
        for name in validation:
            if name in patients and patients[name] in seen:
                message = f"{where} trains and validates on the patient '{patients[name]}' (case '{name}')."
                remedy = "Put all cases of a patient on one side in splits.json, or remove it."
                findings.append(Finding(name, "error", "fold-leak", message, remedy))
    return findings
