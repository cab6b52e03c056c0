"""Slicer's own widgets: module panel, markups placing, segment editor."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_views import qMRMLWidget
from .stored import stored


class qSlicerWidget(qMRMLWidget):
    """A widget that knows the scene."""


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """What Slicer gives a scripted module widget as ``parent``."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        QtWidgets.QVBoxLayout(self)
        self._entered = False

    def enter(self) -> None:
        self._entered = True

    def exit(self) -> None:
        self._entered = False

    isEntered = QtCore.Property(bool, lambda self: self._entered)


class qSlicerMarkupsPlaceWidget(QtWidgets.QWidget):
    """Buttons to place control points of a markups node."""

    activeMarkupsPlaceModeChanged = QtCore.Signal(bool)
    activeMarkupsFiducialPlaceModeChanged = QtCore.Signal(bool)
    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._place = QtWidgets.QToolButton(self)
        self._place.setCheckable(True)
        self._place.setText("Place")
        self._delete = QtWidgets.QToolButton(self)
        self._delete.setText("Delete")
        layout.addWidget(self._place)
        layout.addWidget(self._delete)
        self._place.clicked.connect(self.setPlaceModeEnabled)
        self._delete.clicked.connect(self.deleteLastPoint)
        self._scene: Any = None
        self._node: Any = None
        self._placing = False

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        return self._node

    currentMarkupsNode = currentNode

    def setCurrentNode(self, node: Any) -> None:
        if node is not self._node and self._placing:
            self.setPlaceModeEnabled(False)
        self._node = node
        self.setEnabled(node is not None)

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        enabled = enabled and self._node is not None
        if enabled and self._scene is not None:
            selection = slicer.app.applicationLogic().GetSelectionNode()
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction is not None:
            modes = slicer.vtkMRMLInteractionNode
            interaction.SetPlaceModePersistence(1 if self.property("placeModePersistency") else 0)
            interaction.SetCurrentInteractionMode(modes.Place if enabled else modes.ViewTransform)
        self._place.setChecked(enabled)
        if enabled != self._placing:
            self._placing = enabled
            self.activeMarkupsPlaceModeChanged.emit(enabled)

    def placeButton(self) -> QtWidgets.QToolButton:
        return self._place

    def deleteButton(self) -> QtWidgets.QToolButton:
        return self._delete

    def deleteLastPoint(self) -> None:
        if self._node is not None and self._node.GetNumberOfControlPoints() > 0:
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    placeModeEnabled = QtCore.Property(bool, lambda self: self._placing, setPlaceModeEnabled)
    placeModePersistency = stored(bool, False)
    placeMultipleMarkups = stored(int, 0)
    buttonsVisible = stored(bool, True)
    defaultNodeColor = stored(QtGui.QColor, QtGui.QColor())
    nodeColor = stored(QtGui.QColor, QtGui.QColor())
    currentNodeActive = stored(bool, False)
    deleteAllControlPointsOptionVisible = stored(bool, True)
    deleteAllMarkupsOptionVisible = stored(bool, True)
    unsetAllControlPointsOptionVisible = stored(bool, True)
    unsetLastControlPointOptionVisible = stored(bool, True)


class qMRMLSegmentEditorWidget(QtWidgets.QWidget):
    """Holds the nodes of a segment editor; has no effects in the host."""

    segmentationNodeChanged = QtCore.Signal(object)
    sourceVolumeNodeChanged = QtCore.Signal(object)
    currentSegmentIDChanged = QtCore.Signal(str)
    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._editor: Any = None
        self._segmentation: Any = None
        self._source: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._editor = node

    def mrmlSegmentEditorNode(self) -> Any:
        return self._editor

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentation = node
        if self._editor is not None:
            self._editor.SetAndObserveSegmentationNode(node)
        self.segmentationNodeChanged.emit(node)

    def segmentationNode(self) -> Any:
        return self._segmentation

    def setSourceVolumeNode(self, node: Any) -> None:
        self._source = node
        if self._editor is not None:
            self._editor.SetAndObserveSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)

    def sourceVolumeNode(self) -> Any:
        return self._source

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if self._editor is not None:
            self._editor.SetSelectedSegmentID(segment_id)
        self.currentSegmentIDChanged.emit(segment_id)
