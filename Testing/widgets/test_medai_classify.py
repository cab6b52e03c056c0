"""The MedAI Classification panel on the real MRML library, real Qt and a real worker process."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
from classification_phantoms import ball_image, shapes, write_ball_model, write_shape_model
from host.event_loop import pump
from host.pictures import grab
from widgets.classify_panel import open_classify_panel

from medai.image import Image

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Two fitted models, written once."""
    folder = tmp_path_factory.mktemp("packages")
    write_ball_model(folder / "balls.medai")
    write_shape_model(folder / "shapes.medai")
    return folder


@pytest.fixture
def model_folder(tmp_path, packages):
    from medai.models import install

    folder = tmp_path / "models"
    folder.mkdir()
    for package in packages.iterdir():
        install(package, root=folder)
    return folder


@pytest.fixture(scope="module")
def worker():
    """One worker for all tests: torch takes seconds to import. Nothing of it may be left afterwards."""
    yield
    from MedAICoreLib.worker import sharedWorker

    pid, session = sharedWorker().client._transport.pid, sharedWorker().client.session.path
    sharedWorker().close()
    assert not session.exists()
    assert pid is None or not os.path.exists(f"/proc/{pid}")


@pytest.fixture
def panel(host, worker, module_widget, model_folder):
    """The panel, ready but for a volume; afterwards no array may be left in the session folder."""
    opened = open_classify_panel(host, module_widget, model_folder)
    opened.widget.onModelChosen("balls")
    yield opened
    from MedAICoreLib.worker import sharedWorker

    if opened.widget.logic.busy:
        opened.widget.logic.cancelAll()
    opened.wait(lambda: not sharedWorker().client.busy)
    assert list(sharedWorker().client.session.path.glob("*.raw")) == []


def count(class_name):
    import slicer

    return slicer.mrmlScene.GetNumberOfNodesByClass(class_name)


def add_segmentation(label_map, scheme, volume):
    import slicer

    from medai.mrml import write_segmentation

    written = write_segmentation(
        slicer.mrmlScene, label_map.channel(0), scheme, volume, run_id="r", model_id="m", update_surfaces=False
    )
    return slicer.mrmlScene.GetNodeByID(written.segmentation_node_id)


def test_panel_leads_from_nothing_to_the_first_result(host, worker, module_widget, model_folder, tmp_path):
    panel = open_classify_panel(host, module_widget, tmp_path / "none", interpreter="")
    assert not panel.ui.applyButton.enabled
    assert panel.ui.nextStepLabel.text
    import sys

    from MedAICoreLib.settings import Settings

    Settings().setInterpreter(sys.executable)
    Settings().setModelFolder(str(model_folder))
    panel.widget.enter()
    panel.widget.onModelChosen("balls")
    assert "Load an image" in panel.ui.nextStepLabel.text
    assert "Bright and dark balls" in panel.ui.modelCardBrowser.plainText
    assert "bright, dark" in panel.ui.modelCardBrowser.plainText
    panel.choose(panel.add_ball(100))
    assert panel.ui.nextStepFrame.isHidden()
    result = panel.run()
    assert result.items[0].predicted == "bright"
    assert "done in" in panel.ui.statusLabel.text


def test_result_is_that_of_the_command_line_and_shows_why(panel, model_folder):
    """Through the panel, the worker and the scene, the same as `medai.classify` gives in this process."""
    import slicer

    from medai import classify
    from medai.config.classify import ClassifyConfig
    from medai.models import open_model

    image, mask = ball_image(101, left_handed=True)
    model = classify.load_model(open_model("balls", root=model_folder), "cpu")
    expected = classify.run(ClassifyConfig(device="cpu", explain="gradcam"), [image], model)
    volume = panel.add_ball(image=image, name="left-handed")
    result = panel.run(volume)
    assert result.items[0].predicted == "dark"
    assert result.items[0].probabilities == pytest.approx(expected.items[0].probabilities, abs=1e-4)
    heat = slicer.util.arrayFromVolume(slicer.mrmlScene.GetNodeByID(result.heatMapId))
    np.testing.assert_allclose(heat, expected.heat_map.channel(0), atol=1e-3)
    assert heat[mask].mean() > heat[~mask].mean()
    # as it is shown
    assert "dark" in panel.ui.predictedLabel.text
    assert panel.ui.probabilityTable.rowCount == 2
    assert panel.ui.probabilityTable.item(0, 0).text() == "dark"
    bar = panel.ui.probabilityTable.cellWidget(0, 1)
    assert bar.value == round(1000 * result.items[0].probabilities["dark"])
    assert panel.ui.itemsTable.isHidden()  # one item
    assert panel.ui.anomalyLabel.isHidden()
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert all(view.GetForegroundVolumeID() == result.heatMapId for view in views)
    panel.ui.showHeatMapCheckBox.click()
    assert not any(view.GetForegroundVolumeID() for view in views)
    assert volume.GetAttribute("MedAI.class") == "dark"
    panel.ui.showTableButton.click()
    assert slicer.app.applicationLogic().GetSelectionNode().GetActiveTableID() == result.tableId


def test_all_volumes_of_the_scene_with_one_load(panel):
    import slicer

    for seed in (110, 111, 112):
        panel.add_ball(seed)
    panel.choose_scope("all_volumes")
    assert panel.ui.inputVolumeSelector.isHidden()
    panel.apply()
    runs = [panel.widget.logic.activeRun, *panel.widget.logic.waitingRuns]
    panel.wait()
    runs = [run for run in runs if run is not None]
    table = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert len(table) == 1
    rows = [(table[0].GetCellText(row, 0), table[0].GetCellText(row, 2)) for row in range(table[0].GetNumberOfRows())]
    assert rows == [("ball 110", "bright"), ("ball 111", "dark"), ("ball 112", "bright")]
    assert sum(run.result.modelLoads for run in runs) <= 1  # 0 where the worker has it still


def test_hundred_segments_in_one_run_with_one_load(panel):
    import slicer

    panel.widget.onModelChosen("shapes")
    labels, scheme = shapes(100, seed=9)
    volume = panel.add_ball(image=labels.with_array(labels.array.astype(np.float32)), name="lattice")
    segmentation = add_segmentation(labels, scheme, volume)
    panel.choose_scope("segments")
    panel.ui.segmentationSelector.setCurrentNode(segmentation)
    assert panel.widget._parameterNode.inputVolume is volume  # the one that it was drawn on
    result = panel.run()
    assert result.modelLoads <= 1
    assert [item.name for item in result.items] == [label.name for label in scheme]
    right = [item.predicted == item.name.split()[0] for item in result.items]
    assert np.mean(right) > 0.95
    assert panel.ui.itemsTable.rowCount == 100
    assert slicer.mrmlScene.GetNodeByID(result.tableId).GetNumberOfRows() == 100
    panel.ui.itemsTable.selectRow(41)
    assert result.items[41].name in panel.ui.predictedLabel.text
    again = panel.run()
    assert again.modelLoads == 0
    assert slicer.mrmlScene.GetNodeByID(result.tableId).GetNumberOfRows() == 200


def test_region_under_a_transform(panel):
    import slicer
    import vtk

    image, mask = ball_image(120)
    volume = panel.add_ball(image=image)
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(40, 1, 2, 3)
    transform.Translate(20, -30, 10)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
    centre = image.ijk_to_ras @ np.array([*np.argwhere(mask).mean(axis=0)[::-1], 1.0])
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "the ball")
    roi.SetCenter(transform.TransformPoint(centre[:3]))
    roi.SetSize(28, 28, 28)
    panel.choose_scope("region")
    assert "region" in panel.ui.nextStepLabel.text
    panel.ui.roiSelector.setCurrentNode(roi)
    result = panel.run(volume)
    assert (result.items[0].name, result.items[0].predicted) == ("the ball", "bright")
    heat_map = slicer.mrmlScene.GetNodeByID(result.heatMapId)
    assert heat_map.GetTransformNodeID() == node.GetID()
    heat = slicer.util.arrayFromVolume(heat_map)
    assert heat[mask].mean() > heat[~mask].mean()


def test_image_unlike_the_training_data_is_warned_of(panel):
    image, _ = ball_image(104)
    static = np.random.default_rng(0).uniform(0, 200, image.array.shape).astype(np.float32)
    result = panel.run(panel.add_ball(image=Image(static, image.ijk_to_ras), name="static"))
    assert result.items[0].anomaly.flag
    assert not panel.ui.anomalyLabel.isHidden()
    assert "Unlike the training data" in panel.ui.anomalyLabel.text
    assert "unlike" not in panel.ui.statusLabel.text  # it is said once
    panel.run(panel.add_ball(106))
    assert panel.ui.anomalyLabel.isHidden()


def test_cancel_changes_nothing_and_the_next_run_works(panel):
    for seed in (130, 131, 132):
        panel.add_ball(seed)
    panel.choose_scope("all_volumes")
    panel.apply()
    assert panel.ui.applyButton.text == "Cancel"
    panel.apply()
    panel.wait()
    assert "Cancelled" in panel.ui.statusLabel.text
    assert count("vtkMRMLTableNode") == 0
    assert count("vtkMRMLScalarVolumeNode") == 3
    panel.choose_scope("volume")
    assert panel.run(panel.add_ball(133)) is not None


def test_killed_worker_is_reported_and_replaced(panel):
    volume = panel.add_ball(140)
    panel.run(volume)
    panel.ui.explanationComboBox.currentIndex = 3  # occlusion takes longest
    panel.apply()
    logic = panel.widget.logic
    panel.wait(lambda: logic.activeRun is not None and logic.activeRun.state.value == "computing")
    os.kill(panel.worker_pid(), signal.SIGKILL)
    panel.wait()
    assert panel.ui.applyButton.text == "Apply"
    assert "worker" in panel.ui.statusLabel.text.lower() or "memory" in panel.ui.statusLabel.text.lower()
    panel.ui.explanationComboBox.currentIndex = 0
    result = panel.run(volume)
    assert result.heatMapId == ""
    assert not panel.ui.showHeatMapCheckBox.enabled


def test_scene_closed_in_a_run(panel):
    import slicer

    panel.choose(panel.add_ball(150))
    panel.apply()
    slicer.mrmlScene.Clear(0)
    pump(300)
    assert count("vtkMRMLTableNode") == 0
    assert not panel.widget.logic.busy
    panel.widget.onModelChosen("balls")
    panel.choose(panel.add_ball(151))
    assert panel.run().items[0].predicted == "dark"


def test_missing_model_is_an_error_in_the_panel(panel, model_folder):
    panel.choose(panel.add_ball(160))
    shutil.rmtree(model_folder / "balls", ignore_errors=True)
    for leftover in model_folder.glob("balls*"):
        leftover.unlink()
    panel.apply()
    panel.wait()
    assert panel.ui.statusLabel.text.startswith("Failed")
    assert panel.ui.applyButton.text == "Apply"


def test_choices_live_in_the_scene_and_reach_the_request(panel):
    from MedAIClassifyLib.parameters import Explanation

    panel.choose(panel.add_ball(170))
    parameters = panel.widget._parameterNode
    panel.ui.explanationComboBox.currentIndex = list(Explanation).index(Explanation.GRADCAM_PLUS_PLUS)
    assert parameters.explanation is Explanation.GRADCAM_PLUS_PLUS
    assert [panel.ui.explainedClassComboBox.itemData(n) for n in range(3)] == ["", "bright", "dark"]
    panel.widget.onExplainedClassChosen(2)
    panel.ui.averageCheckBox.checked = True
    asked = panel.widget.logic.requestsFromParameters(parameters, panel.widget.models.card(), "here")
    config = asked.requests[0].config
    assert (config.explain, config.explain_class, config.tta) == ("gradcampp", "dark", True)
    panel.widget.onModelChosen("shapes")
    assert parameters.explainedClass == ""
    assert "Each segment" in panel.ui.nextStepLabel.text
    assert not panel.ui.applyButton.enabled


def test_evaluation_in_a_file_becomes_plots(panel, tmp_path):
    report = {"roc": [{"class": "bright", "false_positive_rate": [0, 1], "true_positive_rate": [0, 1], "auc": 0.5}]}
    (tmp_path / "good.json").write_text(json.dumps(report))
    (tmp_path / "bad.json").write_text("{}")
    assert not panel.ui.evaluationButton.enabled  # this model's card has no curves
    panel.widget.openEvaluation(str(tmp_path / "bad.json"))
    assert "no curves" in panel.ui.statusLabel.text
    panel.widget.openEvaluation(str(tmp_path / "missing.json"))
    assert "missing.json" in panel.ui.statusLabel.text
    panel.widget.openEvaluation(str(tmp_path / "good.json"))
    assert "good ROC" in panel.ui.statusLabel.text
    assert count("vtkMRMLPlotChartNode") == 1


def test_evaluation_of_a_shipped_model_is_shown_on_its_button(panel):
    panel.widget.onModelChosen("chest-xray-pneumonia")
    if panel.widget.models.card() is None:
        pytest.skip("chest-xray-pneumonia is not among the shipped models")
    assert "AUC" in panel.ui.modelCardBrowser.plainText
    assert panel.ui.evaluationButton.enabled
    panel.ui.evaluationButton.click()
    assert count("vtkMRMLPlotChartNode") == 2
    assert "ROC" in panel.ui.statusLabel.text


def test_devices_are_asked_for_when_they_are_shown(panel):
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.wait(lambda: bool(panel.widget.devices.devices))
    assert panel.ui.deviceComboBox.itemData(1) == "cpu"


@pytest.mark.parametrize("width", [350, 600])
def test_pictures_of_the_states(panel, tmp_path, width):
    folder = os.environ.get("MEDAI_SCREENSHOTS") or str(tmp_path)
    pictures = {}

    def take(name):
        pump(30)
        pictures[name] = grab(panel.widget.parent, f"{folder}/MedAIClassify-{name}-{width}.png", width)

    take("empty")
    panel.choose(panel.add_ball(180, name="T1 phantom"))
    panel.apply()
    panel.wait(lambda: panel.ui.progressBar.value > 0)
    take("running")
    panel.wait()
    take("result")
    image, _ = ball_image(104)
    static = np.random.default_rng(0).uniform(0, 200, image.array.shape).astype(np.float32)
    panel.run(panel.add_ball(image=Image(static, image.ijk_to_ras), name="static"))
    take("anomaly")
    labels, scheme = shapes(12)
    volume = panel.add_ball(image=labels.with_array(labels.array.astype(np.float32)), name="lattice")
    panel.widget.onModelChosen("shapes")
    panel.choose_scope("segments")
    panel.ui.segmentationSelector.setCurrentNode(add_segmentation(labels, scheme, volume))
    panel.run()
    take("segments")
    assert len({path.read_bytes() for path in pictures.values()}) == 5
