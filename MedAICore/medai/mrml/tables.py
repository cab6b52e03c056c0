"""Label statistics as a table node."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import slicer
import vtk

from medai.label_statistics import LabelStatistics


def table_from_statistics(scene: Any, statistics: Sequence[LabelStatistics], name: str = "", node: Any = None) -> Any:
    """A vtkMRMLTableNode with a row per label: segment, volume (mL), voxels, mean, standard deviation.

    The contents of `node` are replaced where one is given, else a node is added to the scene. An intensity that is not
    known (empty label, no image) is NaN.
    """
    if node is None:
        node = slicer.vtkMRMLTableNode()
        node.SetName(scene.GenerateUniqueName(name or "Segment volumes"))
        node = scene.AddNode(node)
    names = vtk.vtkStringArray()
    names.SetName("Segment")
    columns: list[Any] = [names]
    for title in ("Volume (mL)", "Voxels", "Mean", "Standard deviation"):
        column = vtk.vtkLongLongArray() if title == "Voxels" else vtk.vtkDoubleArray()
        column.SetName(title)
        columns.append(column)
    for row in statistics:
        columns[0].InsertNextValue(row.name)
        columns[1].InsertNextValue(row.volume_ml)
        columns[2].InsertNextValue(row.voxels)
        columns[3].InsertNextValue(math.nan if row.mean is None else row.mean)
        columns[4].InsertNextValue(math.nan if row.standard_deviation is None else row.standard_deviation)
    was_modifying = node.StartModify()
    node.RemoveAllColumns()
    for column in columns:
        node.AddColumn(column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(was_modifying)
    return node
