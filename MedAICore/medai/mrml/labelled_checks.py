"""The check of labelled cases of scenes: what would go wrong, or wrong unnoticed, in a training."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from medai.case_checks import CaseSummary, ChannelSummary, check_case, check_together, summarize_channel
from medai.case_report import CheckReport, Finding, report_of
from medai.mrml.labelled_nodes import CaseNodes, require_nodes
from medai.mrml.labelled_placement import Placement, cover, placement_of
from medai.mrml.labelled_table import LabelledCase, LabelTable
from medai.mrml.labelled_visit import visit
from medai.mrml.labelled_voxels import CaseLabels, label_steps
from medai.mrml.volumes import image_from_volume
from medai.nrrd_stream import slabs_of


def check_cases(scene: Any, cases: Sequence[LabelledCase], table: LabelTable) -> CheckReport:
    """Check the cases at once; `check_steps` does it in steps."""
    steps = check_steps(scene, cases, table)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            report: CheckReport = end.value
            return report


def check_steps(scene: Any, cases: Sequence[LabelledCase], table: LabelTable) -> Generator[float, None, CheckReport]:
    """Check the cases; yields the fraction done (0 to 1) after each short step and returns the report.

    Cases of scene files are checked in scenes of their own (`scene_cases`); `scene` is not changed.
    """
    findings = list(check_table(table))

    def work(place: Any, case: LabelledCase) -> Generator[float, None, CaseSummary]:
        return summary_steps(place, case, table)

    summaries, unreadable = yield from visit(scene, cases, work)
    findings += unreadable
    for summary in summaries.values():
        findings += check_case(summary)
    bad = {f.case for f in findings if f.severity == "error"}
    findings += check_together([s for s in summaries.values() if s.name not in bad])
    return report_of(findings)


def check_table(table: LabelTable) -> list[Finding]:
    """What is wrong with the table by itself."""
    if not table.used:
        return [Finding("", "error", "no-label", "There is no label to train.", "Add segments, or take labels in.")]
    return []


def summary_steps(scene: Any, case: LabelledCase, table: LabelTable) -> Generator[float, None, CaseSummary]:
    """Measure a case; yields the fraction done and returns the summary. InputError where it cannot be read."""
    nodes = require_nodes(scene, case)
    placement = placement_of(nodes.volumes[0])
    labels: CaseLabels | None = None
    steps = label_steps(case, nodes.segmentation, placement, table)
    labels = yield from _scaled(steps, 0.6)
    digest = yield from _digest(nodes.volumes[0])
    channels = []
    for number in range(len(nodes.volumes)):
        channels.append(_channel(case, nodes, number, placement))
        yield 0.7 + 0.3 * (number + 1) / len(nodes.volumes)
    spacing = np.linalg.norm(placement.ijk_to_ras[:3, :3], axis=0)
    return CaseSummary(
        name=case.name,
        patient=case.patient,
        shape=placement.shape,
        spacing_mm=(float(spacing[2]), float(spacing[1]), float(spacing[0])),
        channels=tuple(channels),
        label_voxels=labels.voxels,
        unknown=table.unknown_in(case),
        inside=labels.inside,
        overlaps=labels.overlaps,
        digest=digest,
        patient_name=case.patient_name,
        source=case.source,
    )


def _scaled(steps: Generator[float, None, CaseLabels], whole: float) -> Generator[float, None, CaseLabels]:
    while True:
        try:
            fraction = next(steps)
        except StopIteration as end:
            labels: CaseLabels = end.value
            return labels
        yield whole * fraction


def _channel(case: LabelledCase, nodes: CaseNodes, number: int, first: Placement) -> ChannelSummary:
    volume = nodes.volumes[number]
    modality = case.modalities[number] if number < len(case.modalities) else ""
    array = image_from_volume(volume, copy=False).channel(0)
    covered = cover(volume, first) if number else 1.0
    return summarize_channel(volume.GetName() or f"volume {number + 1}", modality, array, covered)


def _digest(volume: Any) -> Generator[float, None, str]:
    array = image_from_volume(volume, copy=False).channel(0)
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    for slab in slabs_of(array):
        digest.update(np.ascontiguousarray(slab).data)
        yield 0.65
    return digest.hexdigest()
