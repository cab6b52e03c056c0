"""Labelled cases of scenes: which volumes and segmentations belong together, what is wrong, and their export.

    cases = find_cases(scene)  # the open scene
    cases += find_scene_cases("patient.mrb", like=scene)  # a file, loaded in a scene of its own
    cases = with_own_names(with_common_channels(cases))
    table = labels_of(cases)  # .rename, .merge, .ignore
    report = check_cases(scene, cases, table)
    for fraction in export_cases(scene, cases, table, folder):
        ...  # progress; `medai prepare` and `medai train` take the folder

`check_steps` and `export_cases` do their work in short steps, so that a timer can drive them while Slicer stays usable;
what a generator returns (`StopIteration.value`) is the CheckReport or ExportResult. `case_of` makes a case of nodes
that a person chose. The scene is only read: no node is added, changed or removed.
"""

from __future__ import annotations

from medai.case_report import CheckReport, Finding
from medai.mrml.labelled_checks import check_cases, check_steps
from medai.mrml.labelled_export import ExportResult, export_cases
from medai.mrml.labelled_find import case_of, find_cases, with_common_channels, with_own_names
from medai.mrml.labelled_scenes import find_scene_cases, loaded_scene, scene_cases, scene_files
from medai.mrml.labelled_table import LabelledCase, LabelRow, LabelTable, SegmentInfo, labels_of

__all__ = [
    "CheckReport",
    "ExportResult",
    "Finding",
    "LabelRow",
    "LabelTable",
    "LabelledCase",
    "SegmentInfo",
    "case_of",
    "check_cases",
    "check_steps",
    "export_cases",
    "find_cases",
    "find_scene_cases",
    "labels_of",
    "loaded_scene",
    "scene_cases",
    "scene_files",
    "with_common_channels",
    "with_own_names",
]
