"""MRML node selectors over the real scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .scene_observer import SceneObserver
from .stored import stored


def _rules_changed(self: Any, _value: Any) -> None:
    self._refill()


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of given classes; can add, rename and remove nodes."""

    currentNodeChanged = QtCore.Signal((object,), (bool,))
    currentNodeIDChanged = QtCore.Signal(str)
    currentNodeRenamed = QtCore.Signal(str)
    nodeAboutToBeEdited = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAddedByUserAction = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        layout.addWidget(self._combo)
        policies = QtWidgets.QSizePolicy.Policy
        self._combo.setSizePolicy(policies.Expanding, policies.Expanding)
        self.setSizePolicy(policies.Preferred, policies.Fixed)
        self._combo.activated.connect(self._activated)
        self._current_id = ""
        self._attributes: dict[str, list[tuple[str, Any]]] = {}
        self._labels: dict[str, str] = {}
        self._observer = SceneObserver(self, self._scene_event)

    # --- scene ---------------------------------------------------------------------------------------------------
    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._observer.scene:
            return
        self._observer.observe(scene)
        self._refill()
        if not self._current_id and not self.property("noneEnabled"):
            self._select_first()

    def mrmlScene(self) -> Any:
        return self._observer.scene

    def _scene_event(self, event: str, node: Any) -> None:
        if event == "added" and self._accepts(node):
            self._refill()
            self.nodeAdded.emit(node)
            if not self._current_id and not self.property("noneEnabled"):
                self._select(node.GetID())
        elif event == "about_to_be_removed" and self._accepts(node):
            self.nodeAboutToBeRemoved.emit(node)
        elif event in ("removed", "closed"):
            self._refill()
        elif event == "renamed" and self._accepts(node):
            self._refill()
            if node.GetID() == self._current_id:
                self.currentNodeRenamed.emit(node.GetName() or "")

    def _accepts(self, node: Any) -> bool:
        if node is None or (node.GetHideFromEditors() and not self.property("showHidden")):
            return False
        types = [str(t) for t in self.property("nodeTypes")]
        children = self.property("showChildNodeTypes")
        if not any(node.IsA(t) if children else node.GetClassName() == t for t in types):
            return False
        if any(node.IsA(str(t)) for t in self.property("hideChildNodeTypes")):
            return False
        return all(
            node.GetAttribute(name) is not None and (value is None or str(value) == node.GetAttribute(name))
            for kind, rules in self._attributes.items()
            if node.IsA(kind)
            for name, value in rules
        )

    def _nodes(self) -> list[Any]:
        scene = self._observer.scene
        if scene is None:
            return []
        count = scene.GetNumberOfNodes()
        return [n for n in (scene.GetNthNode(i) for i in range(count)) if self._accepts(n)]

    # --- entries -------------------------------------------------------------------------------------------------
    def _refill(self) -> None:
        nodes = self._nodes()
        ids = [n.GetID() for n in nodes]
        self._combo.blockSignals(True)
        self._combo.clear()
        if self.property("noneEnabled"):
            self._combo.addItem(self.property("noneDisplay"), "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._add_actions(nodes)
        self._combo.blockSignals(False)
        if self._current_id and self._current_id not in ids:
            remaining = ids[0] if ids and not self.property("noneEnabled") else ""
            self._select(remaining)
        self._show_current()

    def _add_actions(self, nodes: list[Any]) -> None:
        entries = []
        if self.property("addEnabled"):
            for kind in self.property("nodeTypes"):
                tag = self._labels.get(kind) or str(kind).removeprefix("vtkMRML").removesuffix("Node")
                entries.append((f"Create new {tag}", f"+{kind}"))
        if self.property("renameEnabled") and nodes:
            entries.append(("Rename current", "~rename"))
        if self.property("removeEnabled") and nodes:
            entries.append(("Delete current", "-delete"))
        if entries:
            self._combo.insertSeparator(self._combo.count())
        for text, action in entries:
            self._combo.addItem(text, action)

    def _activated(self, row: int) -> None:
        data = str(self._combo.itemData(row) or "")
        if data.startswith("+"):
            node = self.addNode(data[1:])
            self.nodeAddedByUser.emit(node)
            self.nodeAddedByUserAction.emit(node)
        elif data.startswith("-"):
            self.removeCurrentNode()
        elif data.startswith("~"):
            self.renameCurrentNode()
        else:
            self._select(data)
            self.nodeActivated.emit(self.currentNode())
        self._show_current()

    def _show_current(self) -> None:
        blocked = self._combo.blockSignals(True)
        self._combo.setCurrentIndex(self._combo.findData(self._current_id))
        self._combo.blockSignals(blocked)

    def _select(self, node_id: str) -> None:
        if node_id == self._current_id:
            return
        self._current_id = node_id
        self._show_current()
        node = self.currentNode()
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def _select_first(self) -> None:
        nodes = self._nodes()
        if nodes:
            self._select(nodes[0].GetID())

    # --- interface -----------------------------------------------------------------------------------------------
    def currentNode(self) -> Any:
        scene = self._observer.scene
        return scene.GetNodeByID(self._current_id) if scene is not None and self._current_id else None

    def setCurrentNode(self, node: Any) -> None:
        self._select_checked(node if isinstance(node, str) else (node.GetID() if node is not None else ""))

    def setCurrentNodeID(self, node_id: str) -> None:
        self._select_checked(node_id)

    def _select_checked(self, node_id: str | None) -> None:
        known = {n.GetID() for n in self._nodes()}
        self._select(node_id if node_id in known else "")

    def setCurrentNodeIndex(self, index: int) -> None:
        nodes = self._nodes()
        self._select(nodes[index].GetID() if 0 <= index < len(nodes) else "")

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addNode(self, kind: str = "") -> Any:
        scene = self._observer.scene
        kind = kind or (list(self.property("nodeTypes")) or [""])[0]
        if scene is None or not kind:
            return None
        base = self.property("baseName") or self._labels.get(kind) or scene.GetTagByClassName(kind) or kind
        node = scene.CreateNodeByClass(kind)
        node.SetName(scene.GenerateUniqueName(base))
        for name, value in self._attributes.get(kind, []):
            node.SetAttribute(name, "" if value is None else str(value))
        node = scene.AddNode(node)
        if self.property("selectNodeUponCreation"):
            self._select(node.GetID())
        return node

    def removeCurrentNode(self) -> None:
        node = self.currentNode()
        if node is not None:
            self._observer.scene.RemoveNode(node)

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        if node is None:
            return
        text, accepted = QtWidgets.QInputDialog.getText(self, "Rename", "New name:", text=node.GetName() or "")
        if accepted and text:
            node.SetName(text)

    def editCurrentNode(self) -> None:
        self.nodeAboutToBeEdited.emit(self.currentNode())

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._attributes.setdefault(node_type, []).append((name, value))
        self._refill()

    def removeAttribute(self, node_type: str, name: str) -> None:
        rules = self._attributes.get(node_type, [])
        self._attributes[node_type] = [r for r in rules if r[0] != name]
        self._refill()

    def nodeTypeLabel(self, node_type: str) -> str:
        return self._labels.get(node_type, "")

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._labels[node_type] = label
        self._refill()

    def addMenuAction(self, action: Any) -> None:
        self.addAction(action)

    def sortFilterProxyModel(self) -> Any:
        return self._combo.model()

    nodeTypes = stored("QStringList", [], _rules_changed)
    showHidden = stored(bool, False, _rules_changed)
    showChildNodeTypes = stored(bool, True, _rules_changed)
    hideChildNodeTypes = stored("QStringList", [], _rules_changed)
    baseName = stored(str, "")
    noneEnabled = stored(bool, False, _rules_changed)
    noneDisplay = stored(str, "None", _rules_changed)
    addEnabled = stored(bool, True, _rules_changed)
    removeEnabled = stored(bool, True, _rules_changed)
    editEnabled = stored(bool, False)
    renameEnabled = stored(bool, False, _rules_changed)
    interactionNodeSingletonTag = stored(str, "")
    selectNodeUponCreation = stored(bool, True)
    sizeAdjustPolicy = stored(int, 3)
    currentNodeID = QtCore.Property(str, lambda self: self._current_id, setCurrentNodeID)
    currentNodeId = QtCore.Property(str, lambda self: self._current_id, setCurrentNodeID)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A node selector with a check box per node."""

    checkedNodesChanged = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._checked: list[str] = []

    def checkedNodes(self) -> list[Any]:
        return [n for n in self._nodes() if n.GetID() in self._checked]

    def uncheckedNodes(self) -> list[Any]:
        return [n for n in self._nodes() if n.GetID() not in self._checked]

    def allChecked(self) -> bool:
        return bool(self._nodes()) and not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()

    def checkState(self, node: Any) -> int:
        return 2 if node is not None and node.GetID() in self._checked else 0

    def setCheckState(self, node: Any, state: Any) -> None:
        before = list(self._checked)
        wanted = int(state) == 2
        if wanted and node.GetID() not in self._checked:
            self._checked.append(node.GetID())
        elif not wanted and node.GetID() in self._checked:
            self._checked.remove(node.GetID())
        if before != self._checked:
            self.checkedNodesChanged.emit()

    def setUserCheckable(self, node: Any, checkable: bool) -> None:
        """Lock or unlock the check box of a node (the host shows none)."""


class qMRMLSegmentSelectorWidget(QtWidgets.QWidget):
    """Chooses a segmentation node and one of its segments."""

    currentNodeChanged = QtCore.Signal(object)
    currentSegmentChanged = QtCore.Signal(str)
    segmentSelectionChanged = QtCore.Signal("QStringList")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.setProperty("nodeTypes", ["vtkMRMLSegmentationNode"])
        self._nodes.setProperty("addEnabled", False)
        self._nodes.setProperty("removeEnabled", False)
        self._nodes.setProperty("noneEnabled", True)
        self._segments = QtWidgets.QComboBox(self)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self._nodes.currentNodeChanged.connect(self._node_changed)
        self._segments.currentIndexChanged.connect(lambda _: self.currentSegmentChanged.emit(self.currentSegmentID()))

    def setMRMLScene(self, scene: Any) -> None:
        self._nodes.setMRMLScene(scene)

    def mrmlScene(self) -> Any:
        return self._nodes.mrmlScene()

    def _node_changed(self, node: Any) -> None:
        self._segments.clear()
        segmentation = node.GetSegmentation() if node is not None else None
        for i in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            segment_id = segmentation.GetNthSegmentID(i)
            self._segments.addItem(segmentation.GetSegment(segment_id).GetName(), segment_id)
        self.currentNodeChanged.emit(node)

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return str(self._nodes.property("currentNodeID"))

    def setCurrentNode(self, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self._nodes.setCurrentNodeID(node_id)

    def currentSegmentID(self) -> str:
        return str(self._segments.currentData() or "")

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._segments.setCurrentIndex(self._segments.findData(segment_id))

    def selectedSegmentIDs(self) -> list[str]:
        return [self.currentSegmentID()] if self.currentSegmentID() else []

    noneEnabled = stored(bool, False)
    segmentationNodeSelectorVisible = stored(bool, True, lambda self, v: self._nodes.setVisible(v))
    selectNodeUponCreation = stored(bool, True)
    multiSelection = stored(bool, False)
