"""Results of classifications as rows of a table node, one for each volume, region or segment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from medai.errors import InputError

TEXT_COLUMNS = ("Volume", "Item", "Predicted")
LAST_COLUMNS = ("Anomaly score", "Unlike the training data", "Model", "Time")
TABLE_ATTRIBUTE = "MedAI.table"


@dataclass(frozen=True)
class ClassRow:
    """One row: what was classified, as what, how sure, by which model, and when (ISO 8601, local time)."""

    volume: str
    item: str
    predicted: str
    probabilities: Mapping[str, float]
    model: str
    time: str
    anomaly_score: float | None = None
    anomaly: bool | None = None


def append_to_class_table(scene: Any, rows: Sequence[ClassRow], node: Any = None, name: str = "") -> Any:
    """Add rows to a table of earlier runs (`node`), or to a new vtkMRMLTableNode; gives the node.

    Columns: volume, item, predicted, a probability for each class, the anomaly, model, time. Classes that the table
    does not have yet get a column of their own; what does not apply to a row is empty. Raises InputError for a table
    that is something else.
    """
    if node is None:
        node = slicer.vtkMRMLTableNode()
        node.SetName(scene.GenerateUniqueName(name or "Classification"))
        node = scene.AddNode(node)
        node.SetAttribute(TABLE_ATTRIBUTE, "classification")
    elif not is_class_table(node):
        raise InputError(
            f"The table '{node.GetName()}' has other columns than a classification.",
            "Choose another table, or let a new one be made.",
        )
    was_modifying = node.StartModify()
    for title in (*TEXT_COLUMNS, *(f"P({name})" for row in rows for name in row.probabilities), *LAST_COLUMNS):
        if _column(node, title) < 0:
            _add_column(node, title)
    for row in rows:
        _fill(node, node.AddEmptyRow(), row)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(was_modifying)
    return node


def is_class_table(node: Any) -> bool:
    """Whether rows can be appended: an empty table, or one with the columns of a classification."""
    return not node.GetNumberOfColumns() or all(_column(node, t) >= 0 for t in (*TEXT_COLUMNS, *LAST_COLUMNS))


def _fill(node: Any, at: int, row: ClassRow) -> None:
    texts = {
        "Volume": row.volume,
        "Item": row.item,
        "Predicted": row.predicted,
        "Unlike the training data": "" if row.anomaly is None else ("yes" if row.anomaly else "no"),
        "Model": row.model,
        "Time": row.time,
    }
    numbers = {f"P({name})": round(probability, 4) for name, probability in row.probabilities.items()}
    if row.anomaly_score is not None:
        numbers["Anomaly score"] = float(f"{row.anomaly_score:.4g}")
    for n in range(node.GetNumberOfColumns()):
        column, title = node.GetTable().GetColumn(n), node.GetColumnName(n)
        if title in texts or column.IsA("vtkStringArray"):
            # Of a table that was saved and loaded, all columns are texts.
            node.SetCellText(at, n, texts.get(title, str(numbers.get(title, ""))))
        else:
            column.SetValue(at, numbers.get(title, math.nan))


def _add_column(node: Any, title: str) -> None:
    is_number = title.startswith("P(") or title == "Anomaly score"
    column = vtk.vtkDoubleArray() if is_number else vtk.vtkStringArray()
    column.SetName(title)
    column.SetNumberOfValues(node.GetNumberOfRows())
    for at in range(node.GetNumberOfRows()):
        column.SetValue(at, math.nan if is_number else "")
    titles = [node.GetColumnName(n) for n in range(node.GetNumberOfColumns())]
    behind = titles.index(LAST_COLUMNS[0]) if LAST_COLUMNS[0] in titles and title.startswith("P(") else len(titles)
    node.AddColumn(column)
    if behind < len(titles):
        _move_last_column(node, behind)


def _move_last_column(node: Any, target: int) -> None:
    """vtkTable can only add at the end: the columns behind the target are taken off and put back."""
    table = node.GetTable()
    moved = [table.GetColumn(n) for n in range(target, table.GetNumberOfColumns() - 1)]
    for column in moved:
        table.RemoveColumnByName(column.GetName())
    for column in moved:
        table.AddColumn(column)


def _column(node: Any, title: str) -> int:
    return int(node.GetColumnIndex(title)) if node.GetNumberOfColumns() else -1
