"""ROC and reliability curves of an evaluation as plot nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer
import vtk

from medai.errors import FileFormatError
from medai.labels import distinct_color

_DIAGONAL_COLOR = (0.6, 0.6, 0.6)


def has_curves(report: Mapping[str, Any]) -> bool:
    """Whether an evaluation (``medai evaluate --task classification --json``) has curves to show."""
    return bool(report.get("roc") or report.get("reliability"))


def write_curves(scene: Any, report: Mapping[str, Any], name: str) -> list[Any]:
    """The curves of an evaluation as vtkMRMLPlotChartNode, with their series and tables; gives the charts.

    `report["roc"]`: a list of {class, false_positive_rate[], true_positive_rate[], auc}; `report["reliability"]`:
    {confidence[], accuracy[], cases[]}, a point for each bin of the top class's probability. Raises FileFormatError
    where neither is there, or their lists do not fit together.
    """
    if not has_curves(report):
        raise FileFormatError(
            f"The evaluation '{name}' has no curves.",
            "Choose the output of 'medai evaluate --task classification --json'.",
        )
    charts = []
    if report.get("roc"):
        charts.append(_roc_chart(scene, report["roc"], name))
    if report.get("reliability"):
        charts.append(_reliability_chart(scene, report["reliability"], name))
    return charts


def _roc_chart(scene: Any, curves: Sequence[Mapping[str, Any]], name: str) -> Any:
    chart = _chart(scene, f"{name} ROC", "False positive rate", "True positive rate")
    for number, curve in enumerate(curves, 1):
        title = str(curve.get("class", f"curve {number}"))
        area = curve.get("auc")
        label = f"{title} (AUC {area:.3f})" if isinstance(area, int | float) else title
        columns = {key: _numbers(curve, key, name) for key in ("false_positive_rate", "true_positive_rate")}
        _series(scene, chart, label, columns, distinct_color(number), markers=False)
    _diagonal(scene, chart, "chance")
    return chart


def _reliability_chart(scene: Any, curve: Mapping[str, Any], name: str) -> Any:
    chart = _chart(scene, f"{name} reliability", "Probability of the predicted class", "Share that is right")
    columns = {key: _numbers(curve, key, name) for key in ("confidence", "accuracy")}
    if curve.get("cases"):
        columns["cases"] = _numbers(curve, "cases", name)
    _series(scene, chart, "model", columns, distinct_color(1), markers=True)
    _diagonal(scene, chart, "perfectly calibrated")
    return chart


def _chart(scene: Any, title: str, x: str, y: str) -> Any:
    chart = slicer.vtkMRMLPlotChartNode()
    chart.SetName(scene.GenerateUniqueName(title))
    chart = scene.AddNode(chart)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x)
    chart.SetYAxisTitle(y)
    for set_auto, set_range in (
        (chart.SetXAxisRangeAuto, chart.SetXAxisRange),
        (chart.SetYAxisRangeAuto, chart.SetYAxisRange),
    ):
        set_auto(False)
        set_range(0.0, 1.0)
    return chart


def _diagonal(scene: Any, chart: Any, label: str) -> None:
    series = _series(scene, chart, label, {"x": [0.0, 1.0], "y": [0.0, 1.0]}, _DIAGONAL_COLOR, markers=False)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)


def _series(
    scene: Any,
    chart: Any,
    label: str,
    columns: Mapping[str, Sequence[float]],
    color: tuple[float, float, float],
    markers: bool,
) -> Any:
    if len({len(values) for values in columns.values()}) != 1:
        raise FileFormatError(
            f"The curve '{label}' has lists of {[len(values) for values in columns.values()]} numbers.",
            "Evaluate the model again.",
        )
    table = slicer.vtkMRMLTableNode()
    table.SetName(scene.GenerateUniqueName(f"{chart.GetName()} {label}"))
    table = scene.AddNode(table)
    for name, values in columns.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    table.SetLocked(True)
    series = slicer.vtkMRMLPlotSeriesNode()
    series.SetName(scene.GenerateUniqueName(label))
    series = scene.AddNode(series)
    x, y = list(columns)[:2]
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName(x)
    series.SetYColumnName(y)
    series.SetColor(*color)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleCircle if markers else series.MarkerStyleNone)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series


def _numbers(curve: Mapping[str, Any], key: str, name: str) -> list[float]:
    values = curve.get(key)
    if not isinstance(values, list) or not values or not all(isinstance(value, int | float) for value in values):
        raise FileFormatError(f"'{key}' of the evaluation '{name}' is no list of numbers.", "Evaluate the model again.")
    return [float(value) for value in values]
