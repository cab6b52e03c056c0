"""The prompts as markups in the views: locked, green or red, not saved, gone with the session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import vtk
from slicer.i18n import tr as _

from MedAISegLib.click_prompts import PlacedPrompt, boxOfRoi

GREEN, RED, YELLOW = (0.15, 0.85, 0.35), (0.95, 0.25, 0.2), (1.0, 0.85, 0.2)
MARK_ATTRIBUTE = "MedAI.mark"


class ClickMarks:
    """Shows a list of prompts; `show` may be called with any list at any time and makes the difference."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._points: dict[bool, str] = {}
        self._shapes: dict[PlacedPrompt, str] = {}
        self._boxId = ""

    def show(self, prompts: Iterable[PlacedPrompt], drawing: PlacedPrompt | None = None) -> None:
        """Show these prompts, and the one that is being drawn."""
        shown = [*prompts, *([drawing] if drawing is not None else [])]
        for positive in (True, False):
            self._showPoints(positive, [p.points[0] for p in shown if p.kind == "point" and p.positive == positive])
        shapes = [placed for placed in shown if placed.kind != "point"]
        for placed in [placed for placed in self._shapes if placed not in shapes]:
            self._remove(self._shapes.pop(placed))
        for placed in shapes:
            if placed not in self._shapes:
                self._shapes[placed] = self._addShape(placed)

    def clear(self) -> None:
        """Remove all marks."""
        self.show(())
        for nodeId in self._points.values():
            self._remove(nodeId)
        self._points.clear()
        self.dropBox()

    # The 3D box, whose sides can be moved until it is used

    @property
    def box(self) -> Any:
        """The ROI node that waits to be used; None where there is none."""
        return self._scene.GetNodeByID(self._boxId) if self._boxId else None

    def offerBox(self, placed: PlacedPrompt) -> None:
        """Show the box with handles."""
        self.dropBox()
        node = self._add("vtkMRMLMarkupsROINode", _("MedAI box"), placed.positive)
        _setBox(node, placed)
        node.SetLocked(False)
        node.GetDisplayNode().SetHandlesInteractive(True)
        node.SetAttribute("MedAI.positive", "1" if placed.positive else "0")
        self._boxId = node.GetID()

    def takeBox(self) -> PlacedPrompt | None:
        """The box as it was left by the person, which goes away; None where there is none."""
        node = self.box
        if node is None:
            return None
        placed = PlacedPrompt("box", node.GetAttribute("MedAI.positive") == "1", boxOfRoi(node))
        self.dropBox()
        return placed

    def dropBox(self) -> None:
        """Remove the box."""
        self._remove(self._boxId)
        self._boxId = ""

    def _showPoints(self, positive: bool, points: list) -> None:
        node = self._scene.GetNodeByID(self._points[positive]) if positive in self._points else None
        if node is None:
            if not points:
                return
            node = self._add("vtkMRMLMarkupsFiducialNode", _("MedAI clicks"), positive)
            self._points[positive] = node.GetID()
        have = [tuple(node.GetNthControlPointPositionWorld(n)) for n in range(node.GetNumberOfControlPoints())]
        if have == points:
            return
        was = node.StartModify()
        node.SetLocked(False)
        node.RemoveAllControlPoints()
        for place in points:
            node.AddControlPointWorld(vtk.vtkVector3d(*place))
        node.SetLocked(True)
        node.EndModify(was)

    def _addShape(self, placed: PlacedPrompt) -> str:
        if placed.kind == "box" and not _isFlat(placed):
            node = self._add("vtkMRMLMarkupsROINode", _("MedAI box"), placed.positive)
            _setBox(node, placed)
        else:
            closed = placed.kind != "scribble"
            className = "vtkMRMLMarkupsClosedCurveNode" if closed else "vtkMRMLMarkupsCurveNode"
            node = self._add(className, _("MedAI {kind}").format(kind=placed.kind), placed.positive)
            node.SetCurveTypeToLinear()
            corners = placed.points if placed.kind != "box" else _outline(placed)
            points = vtk.vtkPoints()
            for place in corners:
                points.InsertNextPoint(place)
            node.SetLocked(False)
            node.SetControlPointPositionsWorld(points)
            node.GetDisplayNode().SetGlyphScale(0.01)
        node.SetLocked(True)
        return str(node.GetID())

    def _add(self, className: str, name: str, positive: bool) -> Any:
        node = self._scene.CreateNodeByClass(className)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(name))
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        node.SetAttribute(MARK_ATTRIBUTE, "1")
        self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        color = GREEN if positive else RED
        display.SetColor(*color)
        display.SetSelectedColor(*color)
        display.SetActiveColor(*color)
        display.SetGlyphType(display.Sphere3D if positive else display.ThickCross2D)
        display.SetGlyphScale(2.5 if positive else 3.0)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetTextScale(0)
        display.SetOccludedVisibility(True)
        return node

    def _remove(self, nodeId: str) -> None:
        node = self._scene.GetNodeByID(nodeId) if nodeId else None
        if node is not None:
            self._scene.RemoveNode(node)


def _sides(placed: PlacedPrompt) -> tuple[np.ndarray, list[np.ndarray]]:
    corners = np.array(placed.points)
    return corners.mean(axis=0), [corners[4] - corners[0], corners[2] - corners[0], corners[1] - corners[0]]


def _isFlat(placed: PlacedPrompt) -> bool:
    lengths = sorted(float(np.linalg.norm(side)) for side in _sides(placed)[1])
    return lengths[0] < 0.1 * lengths[1]


def _outline(placed: PlacedPrompt) -> list[np.ndarray]:
    """The rectangle of a box that is as flat as a slice, through its middle."""
    center, sides = _sides(placed)
    thin = int(np.argmin([np.linalg.norm(side) for side in sides]))
    a, b = (side / 2 for n, side in enumerate(sides) if n != thin)
    return [center - a - b, center + a - b, center + a + b, center - a + b]


def _setBox(node: Any, placed: PlacedPrompt) -> None:
    center, sides = _sides(placed)
    lengths = [float(np.linalg.norm(side)) for side in sides]
    matrix = vtk.vtkMatrix4x4()
    for column, (side, length) in enumerate(zip(sides, lengths, strict=True)):
        for row in range(3):
            matrix.SetElement(row, column, side[row] / length)
    for row in range(3):
        matrix.SetElement(row, 3, center[row])
    node.SetAndObserveObjectToNodeMatrix(matrix)
    node.SetSize(*lengths)
