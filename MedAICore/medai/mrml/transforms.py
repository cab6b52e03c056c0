"""The way from one node's coordinates to another's, through every kind of parent transform."""

from __future__ import annotations

from typing import Any

import slicer
import vtk


def transform_between(node: Any, other_node: Any) -> Any:
    """The vtkGeneralTransform from the coordinates of `node` to those of `other_node`; None stands for the world."""
    between = vtk.vtkGeneralTransform()
    parents = [moved.GetParentTransformNode() if moved is not None else None for moved in (node, other_node)]
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, between)
    return between


def difference_between(node: Any, other_node: Any) -> Any:
    """As `transform_between`, but None where both have the same parent: what need not be moved is read exactly."""
    if node.GetParentTransformNode() is other_node.GetParentTransformNode():
        return None
    return transform_between(node, other_node)
