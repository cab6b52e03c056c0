"""Scenes and DICOM folders as the data set on disk that `medai prepare` and `medai check` read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medai.cli.console import Session
from medai.cli.scene import check_scenes_possible, quiet_vtk
from medai.errors import DatasetError, MedAIError, OutputError
from medai.progress import Progress, check_cancelled

_SCENES = (".mrb", ".mrml")
_LAYOUT_FOLDERS = ("images", "imagesTr", "cases")


@contextmanager
def plain_dataset(dataset: Path, work: Path, session: Session) -> Iterator[Path]:
    """Give a data set in files: `dataset` itself, or what its scenes or DICOM SEG hold, in a folder within `work`.

    The folder is deleted when the block ends. What was left out and what a person should know is told as warnings.
    """
    if _is_layout(dataset):
        yield dataset
        return
    scenes = _scenes_of(dataset)
    if not scenes and not _is_dicom(dataset):
        yield dataset  # the listing says what is wrong with it
        return
    try:
        holder = tempfile.TemporaryDirectory(prefix=".medai-", dir=work)
    except OSError as error:
        raise OutputError(f"'{work}' cannot be written to: {error.strerror or error}.", "Choose another.") from error
    with holder as folder:
        target = Path(folder) / (dataset.stem if dataset.is_file() else dataset.name)
        if scenes:
            _export_scenes(scenes, target, session)
        else:
            _export_dicom(dataset, target, session)
        yield target


def _is_layout(dataset: Path) -> bool:
    return dataset.is_dir() and any((dataset / name).is_dir() for name in _LAYOUT_FOLDERS)


def _scenes_of(dataset: Path) -> list[Path]:
    if dataset.is_file():
        return [dataset] if dataset.suffix.lower() in _SCENES else []
    found = [file for file in sorted(dataset.rglob("*")) if file.suffix.lower() in _SCENES and file.is_file()]
    return [file for file in found if not file.name.startswith(".")]


def _is_dicom(dataset: Path) -> bool:
    from medai.dataset.dicom_cases import has_dicom_segmentations

    return dataset.is_dir() and has_dicom_segmentations(dataset)


def _export_scenes(scenes: list[Path], target: Path, session: Session) -> None:
    check_scenes_possible()
    from medai.mrml.labelled_cases import (
        LabelledCase,
        export_cases,
        find_scene_cases,
        labels_of,
        with_common_channels,
        with_own_names,
    )

    cases: list[LabelledCase] = []
    with quiet_vtk(), session.progress() as progress:
        for number, scene in enumerate(scenes):
            check_cancelled(session.cancelled)
            try:
                found = find_scene_cases(scene)
            except MedAIError as error:
                session.warn(f"{scene.name} was left out: {error}")
                continue
            if not found:
                session.warn(f"{scene.name} was left out: it has no segmentation.")
            cases += found
            progress(Progress(0.3 * (number + 1) / len(scenes), "looking into scenes"))
        if not cases:
            raise DatasetError("No scene has a segmentation.", "Give scenes with volumes and segmentations.")
        cases = with_own_names(with_common_channels(cases))
        steps = export_cases(None, cases, labels_of(cases), target)
        while True:
            check_cancelled(session.cancelled)
            try:
                fraction = next(steps)
            except StopIteration as end:
                result = end.value
                break
            progress(Progress(0.3 + 0.7 * fraction, "reading scenes"))
    for finding in result.findings:
        if finding.severity != "error":
            session.warn(f"{finding.case}: {finding.message} {finding.remedy}".strip())


def _export_dicom(dataset: Path, target: Path, session: Session) -> None:
    from medai.dataset.dicom_cases import export_dicom

    with session.progress() as progress:
        for note in export_dicom(dataset, target, progress, session.cancelled):
            session.warn(note)
