"""Observation of the MRML scene by a stand-in; ends with the widget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import shiboken6
import slicer
import vtk
from PySide6 import QtCore


class SceneObserver:
    """Calls ``react(event, node)`` for added, about_to_be_removed, removed, renamed and closed."""

    def __init__(self, owner: QtCore.QObject, react: Callable[[str, Any], None]) -> None:
        self.scene: Any = None
        self._owner = owner
        self._react = react
        self._scene_tags: list[int] = []
        self._node_tags: dict[str, tuple[Any, int]] = {}
        owner.destroyed.connect(lambda *_: self.release())

    def observe(self, scene: Any) -> None:
        """Watch this scene in place of the former one (None: watch nothing)."""
        self.release()
        self.scene = scene
        if scene is None:
            return
        events = slicer.vtkMRMLScene
        for event, method in (
            (events.NodeAddedEvent, self._added),
            (events.NodeAboutToBeRemovedEvent, self._about_to_be_removed),
            (events.NodeRemovedEvent, self._removed),
            (events.EndCloseEvent, self._closed),
        ):
            self._scene_tags.append(scene.AddObserver(event, method))
        for i in range(scene.GetNumberOfNodes()):
            self._watch(scene.GetNthNode(i))

    def release(self) -> None:
        """Drop all observers."""
        if self.scene is not None:
            for tag in self._scene_tags:
                self.scene.RemoveObserver(tag)
        for node, tag in self._node_tags.values():
            node.RemoveObserver(tag)
        self._scene_tags, self._node_tags = [], {}
        self.scene = None

    def _watch(self, node: Any) -> None:
        if node.GetHideFromEditors() or not node.GetID():
            return
        names = {"name": node.GetName()}

        def modified(caller: Any, _event: str) -> None:
            if caller.GetName() != names["name"]:
                names["name"] = caller.GetName()
                self._tell("renamed", caller)

        self._node_tags[node.GetID()] = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, modified))

    def _tell(self, event: str, node: Any) -> None:
        if shiboken6.isValid(self._owner):
            self._react(event, node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _added(self, _caller: Any, _event: str, node: Any) -> None:
        self._watch(node)
        self._tell("added", node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _about_to_be_removed(self, _caller: Any, _event: str, node: Any) -> None:
        self._tell("about_to_be_removed", node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removed(self, _caller: Any, _event: str, node: Any) -> None:
        watched = self._node_tags.pop(node.GetID() or "", None)
        if watched is not None:
            watched[0].RemoveObserver(watched[1])
        self._tell("removed", node)

    def _closed(self, _caller: Any, _event: str) -> None:
        self._tell("closed", None)
