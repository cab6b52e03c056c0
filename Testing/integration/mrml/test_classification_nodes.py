"""What a classification leaves in the scene: heat maps, rows of a table, curves; saved and loaded again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import slicer
import slicer.util
from integration.mrml.scenes import SHAPE, add_transform

from medai.errors import FileFormatError, InputError
from medai.mrml import (
    ClassRow,
    append_to_class_table,
    has_curves,
    is_class_table,
    new_map_data,
    show_over,
    write_curves,
    write_map,
)
from medai.mrml.volumes import volume_matrix

ROW = ClassRow(
    "head", "whole volume", "benign", {"benign": 0.8123, "malignant": 0.1877}, "m 1.0", "2026-01-02T03:04:05"
)


def cells(node):
    """The table as lists of texts, with its header."""
    columns = range(node.GetNumberOfColumns())
    header = [node.GetColumnName(n) for n in columns]
    return [header] + [[node.GetCellText(row, n) for n in columns] for row in range(node.GetNumberOfRows())]


def test_rows_are_appended_and_other_classes_get_columns(scene):
    node = append_to_class_table(scene, [ROW])
    again = append_to_class_table(
        scene,
        [ClassRow("chest", "ROI 1", "c", {"a": 0.25, "benign": 0.25, "c": 0.5}, "n 2.0", "later", 31.4, True)],
        node,
    )
    assert again is node
    header, first, second = cells(node)
    assert header == [
        "Volume", "Item", "Predicted", "P(benign)", "P(malignant)", "P(a)", "P(c)",
        "Anomaly score", "Unlike the training data", "Model", "Time",
    ]  # fmt: skip
    one, two = dict(zip(header, first, strict=True)), dict(zip(header, second, strict=True))
    assert (one["Volume"], one["Item"], one["Predicted"], one["Model"]) == ("head", "whole volume", "benign", "m 1.0")
    assert float(one["P(benign)"]) == 0.8123
    assert math.isnan(float(one["P(a)"]))
    assert one["Unlike the training data"] == ""
    assert float(two["P(c)"]) == 0.5
    assert math.isnan(float(two["P(malignant)"]))
    assert float(two["Anomaly score"]) == 31.4
    assert two["Unlike the training data"] == "yes"


def test_a_saved_table_goes_on(scene, tmp_path):
    node = append_to_class_table(scene, [ROW])
    storage = slicer.vtkMRMLTableStorageNode()
    storage.SetFileName(str(tmp_path / "table.tsv"))
    assert storage.WriteData(node)
    loaded = scene.AddNode(slicer.vtkMRMLTableNode())
    assert storage.ReadData(loaded)
    assert is_class_table(loaded)
    append_to_class_table(scene, [ROW], loaded)
    _, first, second = cells(loaded)
    assert first == second
    assert "0.8123" in second


def test_another_table_is_refused(scene):
    node = scene.AddNode(slicer.vtkMRMLTableNode())
    node.SetName("volumes")
    assert is_class_table(node)
    node.AddColumn()
    with pytest.raises(InputError, match="'volumes'"):
        append_to_class_table(scene, [ROW], node)


def test_heat_map_lies_on_the_volume_under_its_transform(scene, volume):
    transform = add_transform(scene, "linear")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    data, voxels = new_map_data(SHAPE)
    voxels[...] = np.linspace(0, 1, voxels.size, dtype=np.float32).reshape(SHAPE)
    node = write_map(scene, data, volume, "head heat map", kind="heat", key="m heat")
    np.testing.assert_allclose(volume_matrix(node), volume_matrix(volume))
    assert node.GetTransformNodeID() == transform.GetID()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)
    display = node.GetDisplayNode()
    assert display.GetApplyThreshold()
    assert 0.2 < display.GetLowerThreshold() < 0.5
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    colors = display.GetColorNode()
    ends = [[0.0] * 4, [0.0] * 4]
    colors.GetColor(int(0.4 * colors.GetNumberOfColors()), ends[0])
    colors.GetColor(colors.GetNumberOfColors() - 1, ends[1])
    assert sum(ends[1][:3]) > sum(ends[0][:3])  # hotter is brighter
    other, voxels = new_map_data(SHAPE)
    voxels[...] = 0.5
    assert write_map(scene, other, volume, "head heat map", kind="heat", key="m heat") is node
    assert slicer.util.arrayFromVolume(node).max() == 0.5


def test_map_is_shown_over_the_volume(scene, volume):
    views = []
    for name in ("Red", "Green"):
        view = slicer.vtkMRMLSliceCompositeNode()
        view.SetLayoutName(name)
        view.SetSingletonTag(name)
        views.append(scene.AddNode(view))
    data, voxels = new_map_data(SHAPE)
    voxels[...] = 0.0
    node = write_map(scene, data, volume, "heat", kind="heat", key="k")
    show_over(scene, volume, node)
    for view in views:
        assert view.GetBackgroundVolumeID() == volume.GetID()
        assert view.GetForegroundVolumeID() == node.GetID()
        assert view.GetForegroundOpacity() == 0.5
    show_over(scene, volume, None)
    assert not views[0].GetForegroundVolumeID()
    assert views[0].GetForegroundOpacity() == 0.0


REPORT = {
    "roc": [
        {
            "class": "malignant",
            "false_positive_rate": [0.0, 0.1, 1.0],
            "true_positive_rate": [0.0, 0.9, 1.0],
            "auc": 0.91,
        }
    ],
    "reliability": {"confidence": [0.6, 0.9], "accuracy": [0.5, 0.95], "cases": [10, 40]},
}


def test_curves_become_charts(scene):
    roc, reliability = write_curves(scene, REPORT, "breast")
    assert roc.GetTitle() == "breast ROC"
    assert reliability.GetTitle() == "breast reliability"
    series = roc.GetNthPlotSeriesNode(0)
    assert series.GetName() == "malignant (AUC 0.910)"
    table = series.GetTableNode()
    column = table.GetTable().GetColumnByName(series.GetYColumnName())
    assert [column.GetValue(n) for n in range(3)] == [0.0, 0.9, 1.0]
    assert roc.GetNumberOfPlotSeriesNodes() == 2  # with the diagonal
    assert reliability.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfColumns() == 3


def test_wrong_evaluations_are_named(scene):
    assert has_curves(REPORT)
    assert not has_curves({"auc": 0.9})
    for report, text in (
        ({"accuracy": 0.9}, "no curves"),
        ({"roc": [{"class": "a", "false_positive_rate": "x", "true_positive_rate": [0]}]}, "false_positive_rate"),
        ({"reliability": {"confidence": [0.1, 0.2], "accuracy": [0.1]}}, r"\[2, 1\]"),
    ):
        with pytest.raises(FileFormatError, match=text):
            write_curves(scene, report, "e")
