"""The MedAI Segmentation panel on the real MRML library, real Qt and a real worker process."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
from host.event_loop import StallMonitor, click, pump
from host.pictures import grab
from integration.cli.phantoms import fit, phantom
from widgets.seg_panel import install_model, open_panel

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def weights():
    return fit()


@pytest.fixture
def panel(host, module_widget, tmp_path, weights):
    """The panel, ready but for a volume; afterwards no worker and no session folder may be left."""
    opened = open_panel(host, module_widget, install_model(tmp_path / "models", weights))
    yield opened
    from MedAICoreLib.worker import sharedWorker

    pid = opened.worker_pid()
    session = sharedWorker().client.session.path
    sharedWorker().close()
    assert not session.exists()
    assert pid is None or not os.path.exists(f"/proc/{pid}")


def test_self_test_of_the_module_passes(host, module_widget):
    widget = module_widget("MedAISeg")
    import slicer

    slicer.selfTests["MedAISeg"]()
    assert widget.ui.applyButton.text == "Apply"


def test_panel_leads_from_nothing_to_the_first_result(host, module_widget, tmp_path, weights):
    panel = open_panel(host, module_widget, tmp_path / "none", interpreter="")
    assert "Python of their own" in panel.ui.nextStepLabel.text
    assert not panel.ui.applyButton.enabled
    panel.widget.setInterpreter(sys.executable)
    # the models that come with MedAI may be there already
    if not panel.widget.models.catalog.entries:
        assert panel.ui.nextStepButton.text == "Install model..."
    install_model(tmp_path / "none", weights)
    panel.widget.enter()
    panel.widget.onModelChosen("balls")
    assert "Load an image" in panel.ui.nextStepLabel.text
    panel.choose(panel.add_phantom())
    assert not panel.ui.nextStepFrame.isVisible()
    assert panel.ui.applyButton.enabled
    panel.apply()
    panel.wait()
    assert "done in" in panel.ui.statusLabel.text
    assert panel.ui.resultsTable.rowCount == 2


def test_result_is_that_of_the_command_line(panel, tmp_path):
    """Through the panel, the worker and the scene, each voxel gets what `medai.segment` gives in this process."""
    import slicer

    from medai import segment
    from medai.config.segment import SegmentConfig
    from medai.models import open_model

    panel.widget.onModelChosen("balls")
    image = phantom(1, left_handed=True)[0]
    model = segment.load_model(open_model("balls", root=tmp_path / "models"), "cpu")
    expected = segment.run(SegmentConfig(device="cpu"), [image], model).label_map.channel(0)
    volume = panel.add_phantom("left-handed", image=image)
    segmentation = panel.run(volume)
    for value, name in ((1, "bright ball"), (2, "dim ball")):
        assert (expected == value).any()
        segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        found = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume).astype(bool)
        assert int((found != (expected == value)).sum()) == 0


def test_second_run_loads_no_model(panel):
    panel.widget.onModelChosen("balls")
    panel.run(panel.add_phantom("one"))
    first = panel.widget._shownRun.result.seconds
    pid = panel.worker_pid()
    panel.run(panel.add_phantom("two", seed=2))
    second = panel.widget._shownRun.result.seconds
    assert first["load_model"] > 0
    assert second["load_model"] == 0
    assert panel.worker_pid() == pid


def test_cancel_changes_nothing_and_the_next_run_works(panel):
    import slicer

    panel.widget.onModelChosen("balls")
    volume = panel.add_phantom()
    panel.choose(volume)
    panel.apply()
    assert panel.ui.applyButton.text == "Cancel"
    panel.apply()
    panel.wait()
    assert "Cancelled" in panel.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert panel.run(volume) is not None


def test_killed_worker_is_reported_and_replaced(panel):
    panel.widget.onModelChosen("balls")
    volume = panel.add_phantom()
    panel.run(volume)
    panel.choose(volume)
    panel.apply()
    logic = panel.widget.logic
    panel.wait(lambda: logic.activeRun is not None and logic.activeRun.state.value == "computing")
    os.kill(panel.worker_pid(), signal.SIGKILL)
    panel.wait()
    assert panel.ui.applyButton.text == "Apply"
    assert "worker" in panel.ui.statusLabel.text.lower() or "memory" in panel.ui.statusLabel.text.lower()
    assert panel.run(volume) is not None


def test_scene_closed_in_a_run(panel):
    import slicer

    panel.widget.onModelChosen("balls")
    panel.choose(panel.add_phantom())
    panel.apply()
    slicer.mrmlScene.Clear(0)
    pump(300)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert not panel.widget.logic.busy
    panel.widget.onModelChosen("balls")
    assert panel.run(panel.add_phantom()) is not None


def test_missing_interpreter_is_an_error_in_the_panel(panel, tmp_path):
    panel.widget.onModelChosen("balls")
    panel.choose(panel.add_phantom())
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    panel.widget.setInterpreter(str(broken))
    panel.apply()
    panel.wait()
    assert panel.ui.applyButton.text == "Apply"
    assert panel.ui.statusLabel.text.count("\n") >= 1


def test_structures_region_and_device_reach_the_worker(panel):
    import slicer

    panel.widget.onModelChosen("balls")
    volume = panel.add_phantom()
    panel.choose(volume)
    panel.ui.labelsList.item(1).setCheckState(0)
    assert panel.widget._parameterNode.labels == "bright ball"
    panel.ui.keepLargestCheckBox.checked = True
    assert panel.widget._parameterNode.keepLargest
    panel.apply()
    panel.wait()
    segmentation = slicer.mrmlScene.GetNodeByID(panel.widget._shownRun.result.segmentationId)
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert panel.ui.resultsTable.item(0, 0).text() == "bright ball"


def test_parameters_live_in_the_scene(panel):
    panel.ui.overwriteComboBox.currentIndex = 3
    panel.ui.precisionComboBox.currentIndex = 1
    assert panel.widget._parameterNode.overwrite.value == "allow_overlap"
    assert panel.widget._parameterNode.precision.value == "fast"
    panel.widget._parameterNode.mirror = True
    assert panel.ui.ttaCheckBox.checked


def test_search_narrows_the_models(panel, tmp_path, weights):
    install_model(tmp_path / "models", weights, id="other", title="Kidneys in CT")
    panel.widget.enter()
    panel.ui.modelSearchLineEdit.text = "kidneys"
    assert [panel.ui.modelList.item(row).text() for row in range(panel.ui.modelList.count)] == ["Kidneys in CT"]
    assert panel.ui.modelList.item(0).toolTip().startswith("Kidneys in CT"), "a narrow panel cuts titles off"
    panel.ui.modelSearchLineEdit.text = "bright ball phantom"
    assert panel.ui.modelList.count == 1


def test_devices_are_asked_for_when_they_are_shown(panel):
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.wait(lambda: bool(panel.widget.devices.devices))
    assert panel.ui.deviceComboBox.itemData(0) == "auto"
    assert panel.ui.deviceComboBox.itemData(1) == "cpu"


def test_runs_wait_in_a_queue(panel):
    import slicer

    panel.widget.onModelChosen("balls")
    for name in ("a", "b", "c"):
        panel.choose(panel.add_phantom(name))
        panel.widget._parameterNode.segmentation = None
        click(panel.ui.applyButton if name == "a" else panel.ui.queueButton)
    assert len(panel.widget.logic.waitingRuns) >= 2
    panel.wait()
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
    assert names == {"a segmentation", "b segmentation", "c segmentation"}


def test_surfaces_are_made_on_the_button(panel):
    panel.widget.onModelChosen("balls")
    segmentation = panel.run(panel.add_phantom())
    panel.ui.show3DButton.click()
    panel.wait(lambda: not panel.widget.logic.makesSurfaces)
    assert panel.ui.show3DButton.text == "Show 3D"
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    assert segmentation.GetDisplayNode().GetVisibility3D()
    panel.ui.show3DButton.click()
    assert not segmentation.GetDisplayNode().GetVisibility3D()


def test_reload_keeps_the_panel_usable(panel):
    panel.widget.onModelChosen("balls")
    panel.run(panel.add_phantom())
    pid = panel.worker_pid()
    panel.widget.onReload()
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("width", [350, 600])
def test_pictures_of_the_five_states(panel, tmp_path, width):
    folder = os.environ.get("MEDAI_SCREENSHOTS") or str(tmp_path)
    pictures = {}

    def take(name):
        pump(30)
        pictures[name] = grab(panel.widget.parent, f"{folder}/MedAISeg-{name}-{width}.png", width)

    take("empty")
    panel.widget.onModelChosen("balls")
    volume = panel.add_phantom("T1 phantom")
    panel.choose(volume)
    take("ready")
    panel.apply()
    panel.wait(lambda: panel.ui.progressBar.value > 0)
    take("running")
    panel.wait()
    take("done")
    panel.widget.logic.enqueue(
        panel.widget.logic.requestFromParameters(
            panel.widget._parameterNode, panel.widget.models.card(), str(tmp_path / "missing-model")
        )
    )
    panel.widget._timer.start()
    panel.wait()
    take("error")
    assert len({path.read_bytes() for path in pictures.values()}) == 5


def test_window_is_not_stalled_by_a_large_volume(panel):
    """The real bar (100 ms, both GIL modes) is measured by benchmarks/event_loop.py; here only gross freezes fail."""
    from medai.image import Image

    panel.widget.onModelChosen("balls")
    generator = np.random.default_rng(0)
    large = generator.integers(0, 200, (1, 60, 256, 256), dtype=np.int16)
    volume = panel.add_phantom("large", image=Image(large, np.diag([1.0, 1.0, 1.0, 1.0])))
    panel.choose(volume)
    with StallMonitor() as stalls:
        panel.apply()
        panel.wait(lambda: panel.widget.logic.activeRun is None or panel.widget.logic.activeRun.fraction > 0.04)
        panel.apply()
        panel.wait()
    assert stalls.worst_ms < 3000
