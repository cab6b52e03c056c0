"""The host brings up MRML, Qt and a module as the application does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Demo</class>
<widget class="qMRMLWidget" name="Demo"><layout class="QVBoxLayout" name="verticalLayout">
<item><widget class="ctkCollapsibleButton" name="inputsButton"><property name="text"><string>Inputs</string></property>
 <layout class="QFormLayout" name="formLayout">
 <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="inputSelector">
  <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
  <property name="noneEnabled"><bool>true</bool></property>
  <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property></widget></item>
 <item row="1" column="1"><widget class="ctkSliderWidget" name="thresholdSlider">
  <property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
 <item row="2" column="1"><widget class="QCheckBox" name="invertBox">
  <property name="SlicerParameterName" stdset="0"><string>invert</string></property></widget></item>
 <item row="3" column="1"><widget class="QComboBox" name="policyBox">
  <property name="SlicerParameterName" stdset="0"><string>policy</string></property></widget></item>
 </layout></widget></item>
<item><widget class="QPushButton" name="applyButton">
 <property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<customwidgets>
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header>
 <container>1</container></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>qMRMLNodeComboBox.h</header>
 </customwidget>
<customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>ctkCollapsibleButton.h</header>
 <container>1</container></customwidget>
<customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>ctkSliderWidget.h</header></customwidget>
</customwidgets><resources/>
<connections><connection><sender>Demo</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>
"""

MODULE = """
import enum
from typing import Annotated, Optional
import qt, slicer, vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin
from slicer.parameterNodeWrapper import parameterNodeWrapper, WithinRange
from slicer import vtkMRMLScalarVolumeNode

class Policy(enum.Enum):
    PROTECT = 1
    ALL = 2

@parameterNodeWrapper
class DemoParameters:
    inputVolume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(-100, 500)] = 100
    invert: bool = False
    policy: Policy = Policy.PROTECT

class Demo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Demo")
        self.parent.categories = ["Segmentation"]
        self.parent.contributors = ["A. Person"]
        slicer.app.connect("startupCompleted()", self.started)
        self.ready = False
    def started(self):
        self.ready = True

class DemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.clicks = 0
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Demo.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = DemoLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.parameters = DemoParameters(self.logic.getParameterNode())
        self.tag = self.parameters.connectGui(self.ui)
    def onSceneEndClose(self, caller, event):
        self.closed = True
    def onApply(self):
        self.clicks += 1
    def cleanup(self):
        self.parameters.disconnectGui(self.tag)
        self.removeObservers()

class DemoLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "Demo"
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Demo.ui").write_text(UI)
    (folder / "Demo.py").write_text(MODULE)
    return folder / "Demo.py"


@pytest.fixture
def panel(host: Any, demo: Path) -> Any:
    host.load_module(demo)
    return host.module_widget(demo)


def test_module_is_registered_with_its_metadata(host: Any, panel: Any) -> None:
    import slicer

    module = slicer.modules.demo
    assert (module.title, module.categories, module.contributors) == ("Demo", ("Segmentation",), ("A. Person",))
    assert slicer.modules.DemoInstance.ready
    assert slicer.util.getModuleLogic("Volumes") is not None


def test_mouse_click_calls_the_slot_once(panel: Any) -> None:
    from host.event_loop import click

    panel.parent.show()
    click(panel.ui.applyButton)
    assert panel.clicks == 1


def test_selector_follows_the_scene(panel: Any) -> None:
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    panel.ui.inputSelector.setCurrentNode(volume)
    assert panel.parameters.inputVolume is volume
    slicer.mrmlScene.RemoveNode(volume)
    assert panel.ui.inputSelector.currentNode() is None
    assert panel.parameters.inputVolume is None


def test_parameters_follow_widgets_and_widgets_follow_parameters(panel: Any) -> None:
    assert panel.ui.thresholdSlider.value == 100.0
    assert (panel.ui.thresholdSlider.minimum, panel.ui.thresholdSlider.maximum) == (-100.0, 500.0)
    panel.ui.thresholdSlider.value = 42.5
    panel.ui.invertBox.checked = True
    panel.ui.policyBox.setCurrentIndex(1)
    assert (panel.parameters.threshold, panel.parameters.invert) == (42.5, True)
    assert panel.parameters.policy.name == "ALL"
    panel.parameters.threshold = -3.0
    assert panel.ui.thresholdSlider.value == -3.0
    with pytest.raises(ValueError, match="501"):
        panel.parameters.threshold = 501.0


def test_scene_close_reaches_the_panel_and_empties_the_selector(panel: Any) -> None:
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.mrmlScene.Clear(False)
    assert panel.closed
    assert panel.ui.inputSelector.nodeCount() == 0


def test_picture_has_the_asked_width(panel: Any, tmp_path: Path) -> None:
    from host.pictures import grab
    from PySide6.QtGui import QImage

    image = QImage(str(grab(panel.parent, tmp_path / "panel.png", width=350)))
    assert image.width() == 350
    assert image.height() > 60


def test_segmentation_round_trip_through_files(host: Any, tmp_path: Path) -> None:
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volume, np.arange(5 * 7 * 9, dtype=np.int16).reshape(5, 7, 9))
    assert slicer.util.saveNode(volume, str(tmp_path / "ct.nrrd"))
    again = slicer.util.loadVolume(str(tmp_path / "ct.nrrd"))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(volume))
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemByDataNode(again) != 0
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("liver", "Liver")
    mask = (slicer.util.arrayFromVolume(volume) > 100).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, "liver", volume)
    assert slicer.util.saveNode(segmentation, str(tmp_path / "s.seg.nrrd"))
    loaded = slicer.util.loadSegmentation(str(tmp_path / "s.seg.nrrd"))
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(loaded, "liver", volume), mask)


def test_export_writes_a_copy_and_leaves_the_node_as_it_is(host: Any, tmp_path: Path) -> None:
    import slicer
    import vtk

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volume, np.arange(5 * 7 * 9, dtype=np.int16).reshape(5, 7, 9))
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 12.5)
    transform.SetMatrixTransformToParent(shift)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert slicer.util.exportNode(volume, tmp_path / "local.nii.gz")
    assert slicer.util.exportNode(volume, tmp_path / "world.nrrd", world=True)
    assert volume.GetStorageNode() is None
    assert volume.GetParentTransformNode() is transform
    local, world = (slicer.util.loadVolume(str(tmp_path / name)) for name in ("local.nii.gz", "world.nrrd"))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(world), slicer.util.arrayFromVolume(volume))
    np.testing.assert_allclose(np.subtract(world.GetOrigin(), local.GetOrigin()), (12.5, 0, 0), atol=1e-5)


def test_text_codec_decodes_what_a_process_wrote(host: Any) -> None:
    import qt

    assert qt.QTextCodec.codecForUtfText(qt.QByteArray(b"leber \xc3\xa4")).toUnicode(qt.QByteArray(b"\xc3\xa4")) == "ä"
    marked = "ä".encode("utf-16")
    assert qt.QTextCodec.codecForUtfText(marked).toUnicode(marked) == "ä"
    latin = qt.QTextCodec.codecForName("ISO-8859-1")
    assert latin.fromUnicode("ä").data() == b"\xe4"
    assert qt.QTextCodec.codecForName("no such codec") is None


def test_terminologies_are_loaded(host: Any) -> None:
    import slicer

    logic = slicer.modules.terminologies.logic()
    assert (
        logic.GetNumberOfCategoriesInTerminology("Segmentation category and type - 3D Slicer General Anatomy list") > 3
    )


def test_sample_data_and_packaging_are_recorded(host: Any) -> None:
    import SampleData
    import slicer
    from host.namespace import packaging_recorder

    SampleData.SampleDataLogic.registerCustomSampleDataSource(category="Other", sampleName="Demo", uris="u")
    assert slicer.modules.sampleDataSources["Other"][-1].sampleName == "Demo"
    slicer.util.pip_install("torch")
    assert packaging_recorder.requests == [("install", ["torch"])]
