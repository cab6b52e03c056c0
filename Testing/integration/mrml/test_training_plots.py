"""Curves of a training and box plots of an evaluation as nodes of a real scene."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="plot nodes need the slicer-core wheel")

from medai.mrml.comparison_plots import box_outline, write_box_plot, write_figures
from medai.mrml.training_plots import TrainingPlots

STEPS = [
    {"event": "step", "step": n, "loss": 1.0 / n, "learning_rate": 0.01 - 0.001 * n, "samples_per_s": 3.0}
    for n in range(1, 6)
]
VALIDATIONS = [
    {"event": "validation", "step": n, "dice": {"organ": 0.1 * n, "lesion": 0.05 * n}, "mean_dice": 0.075 * n}
    for n in (2, 4)
]


def curve(series):
    table = series.GetTableNode().GetTable()
    columns = [table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName())]
    return [[column.GetValue(n) for n in range(column.GetNumberOfValues())] for column in columns]


def series_of(chart):
    return {s.GetName(): s for s in (chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes()))}


def test_curves_are_those_of_the_record(scene):
    loss, dice, rate = TrainingPlots(scene, "run").update([*STEPS, *VALIDATIONS], {"organ": (1.0, 0.0, 0.0)})
    assert curve(series_of(loss)["training"]) == [[1, 2, 3, 4, 5], pytest.approx([1.0 / n for n in range(1, 6)])]
    found = series_of(dice)
    assert list(found) == ["organ", "lesion", "mean"]
    assert curve(found["lesion"]) == [[2, 4], pytest.approx([0.1, 0.2])]
    assert found["organ"].GetColor() == (1.0, 0.0, 0.0)
    assert tuple(dice.GetYAxisRange()) == (0.0, 1.0)
    assert rate.GetYAxisTitle() == "Learning rate"


def test_curves_grow_in_the_same_nodes_and_are_found_again(scene):
    plots = TrainingPlots(scene, "run")
    first = plots.update(STEPS[:2])
    assert len(first) == 2  # no validation yet
    nodes = scene.GetNumberOfNodes()
    assert plots.update(STEPS) == first
    assert scene.GetNumberOfNodes() == nodes
    assert len(curve(series_of(first[0])["training"])[0]) == 5
    assert TrainingPlots(scene, "run").update(STEPS) == first  # as after a restart with the saved scene
    assert TrainingPlots(scene, "other").update(STEPS) != first


def test_a_resumed_run_loses_the_points_that_were_undone(scene):
    plots = TrainingPlots(scene, "run")
    (loss, _rate) = plots.update(STEPS)
    plots.update(STEPS[:3])
    assert curve(series_of(loss)["training"])[0] == [1, 2, 3]


def test_folds_have_a_curve_each(scene):
    record = [{**event, "fold": fold} for fold in (0, 1) for event in [*STEPS, *VALIDATIONS]]
    loss, dice, _rate = TrainingPlots(scene, "folds").update(record)
    assert list(series_of(loss)) == ["fold 1", "fold 2"]
    assert list(series_of(dice)) == ["fold 1", "fold 2"]


def test_box_is_tukey_s():
    """1 to 11 with an outlier: quartiles 3.5, 6, 8.5; the whiskers end at the furthest number within 7.5 of the box."""
    numbers = np.array([*range(1, 11), 40.0])
    x, y = box_outline(2.0, numbers)
    assert (y.min(), y.max()) == (1.0, 10.0)
    assert sorted({3.5, 6.0, 8.5} & set(y)) == [3.5, 6.0, 8.5]
    assert (x.min(), x.max()) == (1.7, 2.3)


def test_box_plot_has_a_box_and_a_point_for_each_case(scene):
    values = {"organ": {"a": 0.9, "b": 0.8}, "lesion": {"a": 0.5}, "none": {}}
    chart = write_box_plot(scene, values, "run: Dice", "Dice", "run", unit_range=True)
    found = series_of(chart)
    assert list(found) == ["organ", "organ: cases", "lesion", "lesion: cases"]
    assert curve(found["organ: cases"])[1] == [0.9, 0.8]
    assert found["organ: cases"].GetLabelColumnName() == "case"
    nodes = scene.GetNumberOfNodes()
    assert write_box_plot(scene, values, "run: Dice", "Dice", "run") is chart
    assert scene.GetNumberOfNodes() == nodes


def test_table_has_a_row_for_each_case_and_structure(scene):
    cases = {"a": {"organ": {"dice": 0.9}, "lesion": {"dice": None}}, "b": {"organ": {"dice": 0.8}}}
    table = write_figures(scene, cases, {"dice": "Dice"}, "figures")
    assert [table.GetCellText(row, 1) for row in range(3)] == ["organ", "lesion", "organ"]
    assert table.GetTable().GetColumnByName("Dice").GetValue(2) == 0.8
    assert np.isnan(table.GetTable().GetColumnByName("Dice").GetValue(1))
    assert write_figures(scene, {"a": {"organ": {"dice": 0.7}}}, {"dice": "Dice"}, "figures") is table
    assert table.GetNumberOfRows() == 1
