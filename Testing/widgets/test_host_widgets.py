"""Behaviour of single stand-in widgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_text_browser_folds_its_text(host: Any) -> None:
    import ctk

    browser = ctk.ctkFittedTextBrowser()
    assert (browser.collapsed, browser.showDetailsText) == (True, "Show details...")
    browser.setCollapsibleText("First line,\nthe second\nand the third.")
    assert browser.plainText == "First line,… Show details..."
    browser.collapsed = False
    assert browser.plainText == "First line,the second\nand the third. Hide details."
    browser.hideDetailsText = "Less"
    assert browser.plainText.endswith("Less")
    browser.setCollapsibleHtml("<html><p>One</p><br><p>Two</p></html>")
    assert "Two" in browser.plainText
    browser.collapsed = True
    assert "Two" not in browser.plainText
    browser.setCollapsibleText("No second line")
    assert browser.plainText == browser.collapsibleText() == "No second line"


def test_text_browser_is_as_high_as_its_text(host: Any) -> None:
    import ctk

    browser = ctk.ctkFittedTextBrowser()
    browser.resize(200, 20)
    one_line = browser.sizeHint.height()
    browser.setPlainText("\n".join("line" for _ in range(10)))
    assert browser.sizeHint.height() > 8 * one_line / 2


def test_link_in_the_text_unfolds_it(host: Any) -> None:
    import ctk
    import qt

    browser = ctk.ctkFittedTextBrowser()
    browser.setCollapsibleText("First\nsecond")
    browser.anchorClicked(qt.QUrl("#show_details"))
    assert not browser.collapsed
    browser.anchorClicked(qt.QUrl("#hide_details"))
    assert browser.collapsed


@pytest.fixture
def segmentation(host: Any) -> Any:
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volume, np.zeros((7, 9, 11), np.int16))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node, volume


def test_show_3d_button_follows_the_segmentation(segmentation: Any) -> None:
    import slicer

    node, volume = segmentation
    button = slicer.qMRMLSegmentationShow3DButton()
    assert not button.enabled
    button.setSegmentationNode(node)
    assert not button.enabled  # nothing to show yet
    segment = node.GetSegmentation().AddEmptySegment("a", "a")
    labels = np.zeros((7, 9, 11), np.uint8)
    labels[2:5, 2:6, 3:8] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, segment, volume)
    assert button.enabled
    assert not button.checked
    button.click()
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    node.RemoveClosedSurfaceRepresentation()
    assert not button.checked
    node.CreateClosedSurfaceRepresentation()
    assert button.checked
    button.locked = True
    node.Modified()
    assert not button.enabled
    button.setSegmentationNode(None)
    assert not button.enabled


def test_selector_takes_the_width_in_a_grid(host: Any) -> None:
    import qt
    import slicer

    panel = qt.QWidget()
    grid = qt.QGridLayout(panel)
    label = qt.QLabel("Volume:")
    selector = slicer.qMRMLNodeComboBox()
    grid.addWidget(label, 0, 0)
    grid.addWidget(selector, 0, 1)
    panel.resize(500, 60)
    panel.show()
    assert label.width < 120
    assert selector.width > 350


def test_collapsible_section_passes_the_scene_on(host: Any) -> None:
    import slicer

    section, selector = slicer.qMRMLCollapsibleButton(), slicer.qMRMLNodeComboBox()
    section.text = "Inputs"
    section.connect("mrmlSceneChanged(vtkMRMLScene*)", selector.setMRMLScene)
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    section.setMRMLScene(slicer.mrmlScene)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    assert selector.currentNode() is volume
    with pytest.raises(AttributeError, match="mrmlScene"):
        section.mrmlScene()
