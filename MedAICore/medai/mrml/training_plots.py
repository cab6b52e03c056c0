"""The curves of a training as plot nodes: loss, Dice by label, learning rate; drawn again they are updated in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import slicer
import vtk

from medai.labels import distinct_color

CURVES_ATTRIBUTE = "MedAI.curves"
"""Attribute of the nodes: the run's name and what the node is, so that a run that is opened again finds its charts."""
_MEAN_COLOR = (0.1, 0.1, 0.1)
_KINDS = {"loss": "Loss", "dice": "Dice on held-back cases", "learning_rate": "Learning rate"}


class TrainingPlots:
    """The charts of one run in a scene; made with the first numbers of their kind.

    plots = TrainingPlots(scene, "liver")
    charts = plots.update(run.events())  # vtkMRMLPlotChartNode each: loss, Dice, learning rate
    """

    def __init__(self, scene: Any, name: str) -> None:
        self._scene = scene
        self._name = name
        self._nodes: dict[str, str] = {}

    def update(self, events: Iterable[Mapping[str, Any]], colors: Mapping[str, Any] | None = None) -> list[Any]:
        """Draw the record of a run (`TrainingRun.events`); `colors` by label name. Gives the charts there are.

        The x axis counts steps; a run of several folds has a curve for each of them.
        """
        record = list(events)
        curves = {
            "loss": _by_fold(record, "step", "loss", "training"),
            "dice": _dice(record),
            "learning_rate": _by_fold(record, "step", "learning_rate", "learning rate"),
        }
        return [self._draw(kind, found, colors or {}) for kind, found in curves.items() if found]

    def _draw(self, kind: str, curves: Mapping[str, Sequence[tuple[float, float]]], colors: Mapping[str, Any]) -> Any:
        chart = self._node("vtkMRMLPlotChartNode", kind, f"{self._name} {_KINDS[kind].lower()}")
        was_modifying = chart.StartModify()
        try:
            chart.SetTitle(self._name)
            chart.SetXAxisTitle("Steps")
            chart.SetYAxisTitle(_KINDS[kind])
            chart.SetLegendVisibility(len(curves) > 1)
            if kind == "dice":
                chart.SetYAxisRangeAuto(False)
                chart.SetYAxisRange(0.0, 1.0)
            for number, (label, points) in enumerate(curves.items()):
                color = _MEAN_COLOR if label == "mean" else colors.get(label, distinct_color(number))
                series = self._series(kind, label, points, color, markers=kind == "dice" or len(points) == 1)
                if not chart.HasPlotSeriesNodeID(series.GetID()):
                    chart.AddAndObservePlotSeriesNodeID(series.GetID())
        finally:
            chart.EndModify(was_modifying)
        return chart

    def _series(
        self, kind: str, label: str, points: Sequence[tuple[float, float]], color: Sequence[float], markers: bool
    ) -> Any:
        table = self._node("vtkMRMLTableNode", f"{kind} {label} table", f"{self._name} {label}")
        _fill(table, {"step": [x for x, _ in points], label: [y for _, y in points]})
        series = self._node("vtkMRMLPlotSeriesNode", f"{kind} {label}", label)
        if series.GetTableNodeID() != table.GetID():
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetPlotType(series.PlotTypeScatter)
            series.SetXColumnName("step")
            series.SetYColumnName(label)
            series.SetColor(*color)
            series.SetLineStyle(series.LineStyleSolid)
            series.SetLineWidth(3 if label == "mean" else 2)
        series.SetMarkerStyle(series.MarkerStyleCircle if markers else series.MarkerStyleNone)
        return series

    def _node(self, class_name: str, key: str, name: str) -> Any:
        node = self._scene.GetNodeByID(self._nodes[key]) if key in self._nodes else self._earlier(class_name, key)
        if node is None:
            node = getattr(slicer, class_name)()
            # The name of a series is its text in the legend: of several charts some have the same.
            is_series = class_name == "vtkMRMLPlotSeriesNode"
            node.SetName(name if is_series else self._scene.GenerateUniqueName(name))
            node.SetAttribute(CURVES_ATTRIBUTE, f"{self._name}/{key}")
            node = self._scene.AddNode(node)
        self._nodes[key] = node.GetID()
        return node

    def _earlier(self, class_name: str, key: str) -> Any:
        wanted = f"{self._name}/{key}"
        for number in range(self._scene.GetNumberOfNodesByClass(class_name)):
            node = self._scene.GetNthNodeByClass(number, class_name)
            if node.GetAttribute(CURVES_ATTRIBUTE) == wanted:
                return node
        return None


def _by_fold(
    record: Sequence[Mapping[str, Any]], event: str, key: str, name: str
) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in record:
        value = entry.get(key)
        if entry.get("event") == event and isinstance(value, int | float) and value is not True:
            fold = entry.get("fold")
            curve = name if fold is None else f"fold {fold + 1}"
            curves.setdefault(curve, []).append((float(entry.get("step", 0)), float(value)))
    return curves


def _dice(record: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """A curve for each label and their mean; of several folds the means only."""
    means = _by_fold(record, "validation", "mean_dice", "mean")
    if any(entry.get("fold") is not None for entry in record):
        return means
    labels: dict[str, list[tuple[float, float]]] = {}
    for entry in record:
        if entry.get("event") != "validation" or not isinstance(entry.get("dice"), Mapping):
            continue
        for label, value in entry["dice"].items():
            if isinstance(value, int | float):
                labels.setdefault(str(label), []).append((float(entry.get("step", 0)), float(value)))
    return labels if len(labels) == 1 else {**labels, **means}


def _fill(table_node: Any, columns: Mapping[str, Sequence[float]]) -> None:
    """Give the table these columns; the rows that are there already stay, as a curve only grows."""
    table = table_node.GetTable()
    was_modifying = table_node.StartModify()
    try:
        for name, values in columns.items():
            column = table.GetColumnByName(name)
            if column is None:
                column = vtk.vtkDoubleArray()
                column.SetName(name)
                table_node.AddColumn(column)
                column = table.GetColumnByName(name)
            column.SetNumberOfTuples(len(values))
            for row, value in enumerate(values):
                column.SetValue(row, value)
            column.Modified()
        table.Modified()
        table_node.SetLocked(True)
        table_node.Modified()
    finally:
        table_node.EndModify(was_modifying)
