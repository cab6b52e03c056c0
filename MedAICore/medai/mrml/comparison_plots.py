"""Figures of a segmentation's evaluation as nodes: a table of all cases, and a box plot by structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from medai.labels import distinct_color

FIGURES_ATTRIBUTE = "MedAI.figures"
_BOX = 0.3  # half the width of a box; structures lie 1 apart
# Figures of one structure in one case by metric; None where they do not exist.
Figures = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def write_figures(scene: Any, cases: Figures, metrics: Mapping[str, str], name: str) -> Any:
    """A table node with a row for each case and structure; `metrics` are the columns' keys and titles.

    `cases` is {case: {structure: {metric: value or None}}}. A table of this name that was made before is filled anew.
    """
    node = _node(scene, "vtkMRMLTableNode", f"{name} table", name)
    was_modifying = node.StartModify()
    try:
        node.RemoveAllColumns()
        rows = [(case, label, figures) for case, labels in cases.items() for label, figures in labels.items()]
        for title, values in (("Case", [row[0] for row in rows]), ("Structure", [row[1] for row in rows])):
            column = vtk.vtkStringArray()
            column.SetName(title)
            for text in values:
                column.InsertNextValue(text)
            node.AddColumn(column)
        for key, title in metrics.items():
            column = vtk.vtkDoubleArray()
            column.SetName(title)
            for _case, _label, figures in rows:
                value = figures.get(key)
                column.InsertNextValue(float("nan") if value is None else value)
            node.AddColumn(column)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)
    finally:
        node.EndModify(was_modifying)
    return node


def write_box_plot(
    scene: Any,
    values: Mapping[str, Mapping[str, float]],
    title: str,
    axis: str,
    name: str,
    colors: Mapping[str, Sequence[float]] | None = None,
    unit_range: bool = False,
) -> Any:
    """A chart node with a box for each structure and a point for each case; `values` is {structure: {case: value}}.

    Box: quartiles with the median; whiskers: the furthest cases within 1.5 times the box (Tukey). `unit_range` fixes
    the y axis to 0..1. A chart of this name that was made before is drawn anew.
    """
    chart = _node(scene, "vtkMRMLPlotChartNode", f"{name} chart", f"{name} {axis}")
    was_modifying = chart.StartModify()
    try:
        chart.RemoveAllPlotSeriesNodeIDs()
        chart.SetTitle(title)
        chart.SetXAxisTitle("Structures")
        chart.SetYAxisTitle(axis)
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(0.4, len(values) + 0.6)
        chart.SetYAxisRangeAuto(not unit_range)
        if unit_range:
            chart.SetYAxisRange(0.0, 1.0)
        for number, (label, by_case) in enumerate(values.items(), 1):
            color = (colors or {}).get(label) or distinct_color(number - 1)
            numbers = np.array(list(by_case.values()), float)
            if len(numbers) == 0:
                continue
            box = _series(scene, f"{name} {label} box", label, *box_outline(number, numbers))
            points = _series(
                scene,
                f"{name} {label} cases",
                f"{label}: cases",
                number + np.linspace(-_BOX, _BOX, len(numbers) + 2)[1:-1] * 0.6,
                numbers,
                list(by_case),
            )
            box.SetLineStyle(box.LineStyleSolid)
            box.SetMarkerStyle(box.MarkerStyleNone)
            points.SetLineStyle(points.LineStyleNone)
            points.SetMarkerStyle(points.MarkerStyleCircle)
            for series in (box, points):
                series.SetColor(*color)
                chart.AddAndObservePlotSeriesNodeID(series.GetID())
    finally:
        chart.EndModify(was_modifying)
    return chart


def box_outline(x: float, numbers: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The (x, y) of one line that draws whiskers, box and median of these numbers around `x` (Tukey's box plot)."""
    low, middle, high = np.percentile(numbers, (25, 50, 75))
    reach = 1.5 * (high - low)
    bottom, top = numbers[numbers >= low - reach].min(), numbers[numbers <= high + reach].max()
    left, right = x - _BOX, x + _BOX
    path = [
        (x, bottom), (x, low), (left, low), (left, middle), (right, middle), (left, middle), (left, high), (x, high),
        (x, top), (x, high), (right, high), (right, low), (x, low),
    ]  # fmt: skip
    return np.array([p[0] for p in path]), np.array([p[1] for p in path])


def _series(
    scene: Any,
    key: str,
    name: str,
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    texts: Sequence[str] | None = None,
) -> Any:
    table = _node(scene, "vtkMRMLTableNode", f"{key} table", key)
    table.RemoveAllColumns()
    for title, values in (("x", x), ("y", y)):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for value in values:
            column.InsertNextValue(float(value))
        table.AddColumn(column)
    if texts is not None:
        column = vtk.vtkStringArray()
        column.SetName("case")
        for text in texts:
            column.InsertNextValue(text)
        table.AddColumn(column)
    table.SetLocked(True)
    series = _node(scene, "vtkMRMLPlotSeriesNode", f"{key} series", name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName("x")
    series.SetYColumnName("y")
    if texts is not None:
        series.SetLabelColumnName("case")
    return series


def _node(scene: Any, class_name: str, key: str, name: str) -> Any:
    for number in range(scene.GetNumberOfNodesByClass(class_name)):
        node = scene.GetNthNodeByClass(number, class_name)
        if node.GetAttribute(FIGURES_ATTRIBUTE) == key:
            return node
    node = getattr(slicer, class_name)()
    # The name of a series is its text in the legend: of several charts some have the same.
    is_series = class_name == "vtkMRMLPlotSeriesNode"
    node.SetName(name if is_series else scene.GenerateUniqueName(name))
    node.SetAttribute(FIGURES_ATTRIBUTE, key)
    return scene.AddNode(node)
