"""The structures of a segmentation as a table node: how large, how bright, how sure, and whether that is usual."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import slicer
import vtk

from medai.config.requests import LabelFound, TotalFound


def table_of_structures(
    scene: Any, structures: Sequence[LabelFound], totals: Sequence[TotalFound] = (), name: str = "", node: Any = None
) -> Any:
    """A vtkMRMLTableNode with a row for each structure and, below them, for each total.

    Columns: structure, volume (mL), voxels, mean and standard deviation of the intensity; where the model tells, the
    Dice coefficient to expect, the lowest and highest usual volume, and a note where the volume lies outside of these.
    What is not known of a row is NaN. The contents of `node` are replaced where one is given, else a node is added.
    """
    if node is None:
        node = slicer.vtkMRMLTableNode()
        node.SetName(scene.GenerateUniqueName(name or "Segment volumes"))
        node = scene.AddNode(node)
    rows: list[LabelFound | TotalFound] = [*structures, *totals]
    columns = [
        _texts("Structure", [row.name for row in rows]),
        _numbers("Volume (mL)", [row.volume_ml for row in rows]),
        _counts("Voxels", [row.voxels for row in rows]),
        _numbers("Mean intensity", [getattr(row, "mean", None) for row in rows]),
        _numbers("Standard deviation", [getattr(row, "standard_deviation", None) for row in rows]),
    ]
    if any(row.quality is not None for row in structures):
        columns.append(_numbers("Expected Dice", [getattr(row, "quality", None) for row in rows]))
    if any(row.usual_ml is not None for row in rows):
        columns += [
            _numbers("Usual lowest (mL)", [None if row.usual_ml is None else row.usual_ml[0] for row in rows]),
            _numbers("Usual highest (mL)", [None if row.usual_ml is None else row.usual_ml[1] for row in rows]),
            _texts("Note", ["unusual volume" if is_unusual(row) else "" for row in rows]),
        ]
    was_modifying = node.StartModify()
    node.RemoveAllColumns()
    for column in columns:
        node.AddColumn(column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(was_modifying)
    return node


def is_unusual(row: LabelFound | TotalFound) -> bool:
    """Whether the volume is known to lie outside of the usual ones."""
    return row.usual_ml is not None and not row.usual_ml[0] <= row.volume_ml <= row.usual_ml[1]


def _texts(title: str, values: Sequence[str]) -> Any:
    return _filled(vtk.vtkStringArray(), title, values)


def _counts(title: str, values: Sequence[int]) -> Any:
    return _filled(vtk.vtkLongLongArray(), title, values)


def _numbers(title: str, values: Sequence[float | None]) -> Any:
    return _filled(vtk.vtkDoubleArray(), title, [math.nan if value is None else value for value in values])


def _filled(column: Any, title: str, values: Sequence[Any]) -> Any:
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value)
    return column
