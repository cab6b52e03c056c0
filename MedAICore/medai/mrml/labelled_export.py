"""Labelled cases of scenes as a data set on disk, which `medai prepare` and `medai train` take.

FOLDER/images/<case>_0000.nrrd ...   a file per channel, where its parent transforms put it in the world
FOLDER/labels/<case>.seg.nrrd        on the grid of the first channel; Slicer opens it with names and colours
FOLDER/dataset.json                  labels, channels, patients, labels that are unknown in a case
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medai.case_checks import overlap_findings
from medai.case_report import Finding
from medai.dataset_json import DescribedCase, file_names, write_dataset_json
from medai.errors import DatasetError, OutputError, output_error
from medai.image import Array
from medai.labels import LabelScheme
from medai.mrml.labelled_nodes import CaseProblem, require_nodes
from medai.mrml.labelled_placement import placement_of, voxel_slabs
from medai.mrml.labelled_table import LabelledCase, LabelTable
from medai.mrml.labelled_visit import visit
from medai.mrml.labelled_voxels import CaseLabels, label_steps
from medai.nrrd_stream import segmentation_pairs, slabs_of, write_slabs

Overlaps = dict[tuple[str, str], int]


@dataclass(frozen=True)
class ExportResult:
    """What was written: `files` is case name -> name of its files. `findings` tell of cases that were left out, and of
    labels that overlap."""

    folder: Path
    files: dict[str, str]
    findings: tuple[Finding, ...]


def export_cases(
    scene: Any, cases: Sequence[LabelledCase], table: LabelTable, folder: str | Path, name: str = ""
) -> Generator[float, None, ExportResult]:
    """Write the cases as a data set to the new folder `folder`; yields the fraction done after each short step.

    Whole or not at all: closing the generator early leaves nothing. Each volume keeps its own grid: linear parent
    transforms go into its geometry, a volume under a warp or shear is interpolated to a regular grid. Labels lie on the
    grid of the first volume; where segments overlap, the label that comes later in the table wins. Cases that cannot be
    read or have no labelled voxel are left out, with a finding. Raises, before the first step, OutputError for a folder
    that is not empty, and DatasetError for a table without labels; later OutputError (disk full) and DatasetError (no
    case is left).
    """
    target = Path(folder).absolute()
    if not table.used:
        raise DatasetError("The table has no label to train.", "Take at least one label in.")
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise OutputError(f"'{target}' exists already.", "Give a new folder.")
    if not target.parent.is_dir():
        raise OutputError(f"The folder '{target.parent}' does not exist.", "Make it first, or choose another folder.")
    return _export(scene, cases, table, target, name or target.name)


def _export(
    scene: Any, cases: Sequence[LabelledCase], table: LabelTable, target: Path, name: str
) -> Generator[float, None, ExportResult]:
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}.partial-{target.name[-60:]}")
    files = file_names([case.name for case in cases])
    labels_path, images_path = temporary / "labels", temporary / "images"

    def work(place: Any, case: LabelledCase) -> Generator[float, None, Overlaps]:
        return _write_case(place, case, table, images_path, labels_path, files[case.name])

    try:
        images_path.mkdir(parents=True)
        labels_path.mkdir()
        same, findings = _with_equal_channels(cases)
        written, problems = yield from visit(scene, same, work)
        findings += problems
        findings += [f for case, overlaps in written.items() for f in overlap_findings(case, overlaps)]
        if not written:
            reasons = " ".join(f"{f.case}: {f.message}" for f in findings[:5])
            raise DatasetError(f"No case could be exported. {reasons}".strip(), "Check the cases and mend the errors.")
        kept = [case for case in same if case.name in written]
        _describe(temporary / "dataset.json", name, kept, files, table, findings)
        _sync(temporary)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ExportResult(target, {case: files[case] for case in written}, tuple(findings))


def _with_equal_channels(cases: Sequence[LabelledCase]) -> tuple[list[LabelledCase], list[Finding]]:
    counts = [len(case.volume_ids) for case in cases if case.volume_ids]
    usual = max(set(counts), key=counts.count) if counts else 0
    same = [case for case in cases if len(case.volume_ids) in (0, usual)]
    message = "It has {} volume(s), most cases have {}."
    remedy = "Give every case the same volumes, in one order."
    return same, [
        Finding(case.name, "error", "channels", message.format(len(case.volume_ids), usual), remedy)
        for case in cases
        if case not in same
    ]


def _write_case(
    scene: Any, case: LabelledCase, table: LabelTable, images: Path, labels: Path, file: str
) -> Generator[float, None, Overlaps]:
    nodes = require_nodes(scene, case)
    placement = placement_of(nodes.volumes[0])
    steps = label_steps(case, nodes.segmentation, placement, table)
    while True:
        try:
            fraction = next(steps)
        except StopIteration as end:
            found: CaseLabels = end.value
            break
        yield 0.4 * fraction
    if not any(found.voxels.values()):
        raise CaseProblem(
            "empty-segmentation",
            "No label has a voxel in the volume.",
            "Draw the structures, choose the segmentation of this volume, or leave the case out.",
        )
    known = LabelScheme(tuple(label for label in table.labels if label.name in found.voxels))
    extents = yield from _extents(found.array, known)
    pairs = segmentation_pairs(known, extents)
    writing = write_slabs(
        labels / f"{file}.seg.nrrd", slabs_of(found.array), placement.shape, found.array.dtype, placement.ijk_to_ras,
        pairs,
    )  # fmt: skip
    for planes in writing:
        yield 0.4 + 0.1 * planes / placement.shape[0]
    for number, volume in enumerate(nodes.volumes):
        place = placement if number == 0 else placement_of(volume)
        dtype, slabs = voxel_slabs(volume, place)
        path = images / f"{file}_{number:04d}.nrrd"
        for planes in write_slabs(path, slabs, place.shape, dtype, place.ijk_to_ras):
            yield 0.5 + 0.5 * (number + planes / place.shape[0]) / len(nodes.volumes)
    return found.overlaps


def _extents(labels: Array, scheme: LabelScheme) -> Generator[float, None, dict[int, str]]:
    """Label value -> Slicer's extent text (i0 i1 j0 j1 k0 k1) of its voxels."""
    highest = max(scheme.values)
    low = np.full((highest + 1, 3), np.iinfo(np.int64).max)
    high = np.full((highest + 1, 3), -1)
    for k, plane in enumerate(labels):
        j, i = np.nonzero(plane)
        values = plane[j, i]
        for axis, index in enumerate((i, j, np.full(len(i), k))):
            np.minimum.at(low[:, axis], values, index)
            np.maximum.at(high[:, axis], values, index)
        if k % 8 == 7:
            yield 0.4
    return {
        value: " ".join(f"{low[value, axis]} {high[value, axis]}" for axis in range(3))
        for value in scheme.values
        if high[value, 0] >= 0
    }


def _describe(
    path: Path,
    name: str,
    cases: Sequence[LabelledCase],
    files: dict[str, str],
    table: LabelTable,
    findings: Sequence[Finding],
) -> None:
    first = cases[0]
    modalities = [first.modalities[n] if n < len(first.modalities) else "" for n in range(len(first.volume_ids))]
    described = [DescribedCase(files[case.name], case.patient, table.unknown_in(case)) for case in cases]
    excluded = {files.get(f.case, f.case): f.message for f in findings if f.severity == "error" and f.case}
    write_dataset_json(path, name, modalities, table, described, excluded, first.around)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
