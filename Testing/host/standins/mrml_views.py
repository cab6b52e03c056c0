"""MRML containers and views: tables, segments."""

from __future__ import annotations

from typing import Any

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .ctk_buttons import ctkCollapsibleButton
from .stored import stored


class qMRMLWidget(QtWidgets.QWidget):
    """The root of a module's panel: passes the scene on."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qMRMLCollapsibleButton(ctkCollapsibleButton):
    """A collapsible section that passes the scene on."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._node: Any = None
        self._tag: int | None = None
        from PySide6 import QtGui

        self._model = QtGui.QStandardItemModel(self)
        self.setModel(self._model)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLTableNode(self, node: Any) -> None:
        if self._node is not None and self._tag is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._fill) if node is not None else None
        self._fill()

    def mrmlTableNode(self) -> Any:
        return self._node

    def _fill(self, *_arguments: Any) -> None:
        from PySide6 import QtGui

        self._model.clear()
        table = self._node.GetTable() if self._node is not None else None
        if table is None:
            return
        self._model.setHorizontalHeaderLabels([table.GetColumnName(c) or "" for c in range(table.GetNumberOfColumns())])
        for row in range(table.GetNumberOfRows()):
            values = [table.GetValue(row, c).ToString() for c in range(table.GetNumberOfColumns())]
            self._model.appendRow([QtGui.QStandardItem(v) for v in values])

    transposed = stored(bool, False)
    firstRowLocked = stored(bool, False)
    firstColumnLocked = stored(bool, False)


class qMRMLSegmentsTableView(QtWidgets.QWidget):
    """Shows the segments of a segmentation node."""

    mrmlSceneChanged = QtCore.Signal(object)
    selectionChanged = QtCore.Signal("QItemSelection", "QItemSelection")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._list = QtWidgets.QListWidget(self)
        self._list.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.ExtendedSelection)
        layout.addWidget(self._list)
        self._scene: Any = None
        self._node: Any = None
        self._tag: int | None = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def setSegmentationNode(self, node: Any) -> None:
        if self._node is not None and self._tag is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        self._tag = node.AddObserver(vtk.vtkCommand.AnyEvent, self._fill) if node is not None else None
        self._fill()

    def segmentationNode(self) -> Any:
        return self._node

    def _fill(self, *_arguments: Any) -> None:
        self._list.clear()
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        for i in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            segment_id = segmentation.GetNthSegmentID(i)
            item = QtWidgets.QListWidgetItem(segmentation.GetSegment(segment_id).GetName(), self._list)
            item.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)

    def segmentCount(self) -> int:
        return self._list.count()

    def selectedSegmentIDs(self) -> list[str]:
        return [str(i.data(QtCore.Qt.ItemDataRole.UserRole)) for i in self._list.selectedItems()]

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        for row in range(self._list.count()):
            item = self._list.item(row)
            item.setSelected(item.data(QtCore.Qt.ItemDataRole.UserRole) in segment_ids)

    def clearSelection(self) -> None:
        self._list.clearSelection()

    selectionMode = stored(int, 3)
    headerVisible = stored(bool, True)
    visibilityColumnVisible = stored(bool, True)
    colorColumnVisible = stored(bool, True)
    opacityColumnVisible = stored(bool, True)
    statusColumnVisible = stored(bool, False)
    layerColumnVisible = stored(bool, False)
    readOnly = stored(bool, False)
    filterBarVisible = stored(bool, False)
    textFilter = stored(str, "")


def _lock_changed(self: Any, _value: Any) -> None:
    self._update()


class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    """Shows or hides a segmentation in 3D views: pressed while the segmentation has surfaces."""

    _SURFACE, _LABELMAP = "Closed surface", "Binary labelmap"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._tags: list[int] = []
        self.setText("Show 3D")
        self.setCheckable(True)
        self.setEnabled(False)
        self.toggled.connect(self._show)
        # The VTK observers die with the widget, else they would call into a deleted button.
        self.destroyed.connect(lambda: self._observe(None))

    def setSegmentationNode(self, node: Any) -> None:
        if node is not self._node:
            self._observe(node)
            self._update()

    def segmentationNode(self) -> Any:
        return self._node

    def _observe(self, node: Any) -> None:
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._node, self._tags = node, []
        segmentation = slicer.vtkSegmentation
        for event in (
            vtk.vtkCommand.ModifiedEvent,
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
            segmentation.ContainedRepresentationNamesModified,
        ):
            if node is not None:
                self._tags.append(node.AddObserver(event, self._update))

    def _update(self, *_arguments: Any) -> None:
        if not shiboken6.isValid(self):
            return
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        if segmentation is None:
            self.setEnabled(False)
            return
        free = segmentation.GetNumberOfSegments() > 0 and segmentation.GetSourceRepresentationName() != self._SURFACE
        self.setEnabled(free and not self.property("locked"))
        blocked = self.blockSignals(True)
        self.setChecked(segmentation.ContainsRepresentation(self._SURFACE))
        self.blockSignals(blocked)

    def _show(self, shown: bool) -> None:
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        if segmentation is None:
            return
        with slicer.util.NodeModify(self._node):
            if not shown:
                if segmentation.GetSourceRepresentationName() != self._SURFACE:
                    segmentation.RemoveRepresentation(self._SURFACE)
            elif segmentation.CreateRepresentation(self._SURFACE) and self._node.GetDisplayNode() is not None:
                self._node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(self._SURFACE)
                if segmentation.ContainsRepresentation(self._LABELMAP):
                    self._node.GetDisplayNode().SetPreferredDisplayRepresentationName2D(self._LABELMAP)

    locked = stored(bool, False, _lock_changed)

    def setLocked(self, locked: bool) -> None:
        self.setProperty("locked", locked)
