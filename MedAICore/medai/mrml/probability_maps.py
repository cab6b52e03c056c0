"""Maps of what a network is sure of (probabilities, entropy) or looks at (heat): scalar volumes beside their volume."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from vtk.util import numpy_support

from medai.image import Array
from medai.mrml.volumes import check_volume, matrix_from_array, volume_matrix

MAP_ATTRIBUTE = "MedAI.map"
VOLUME_REFERENCE = "MedAI.volume"
# Perceptually even tables where Slicer's files are there; the other one is made by code and always there.
_COLORS = {
    "probability": ("vtkMRMLColorTableNodeFileViridis.txt", "vtkMRMLColorTableNodeIron"),
    "entropy": ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeIron"),
    "heat": ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeIron"),
}
# Below it a map is transparent, so that it can lie over the image. A heat map is never quite 0 where it says nothing.
_SHOWN_FROM = {"probability": 0.02, "entropy": 0.02, "heat": 0.3}


def new_map_data(shape: tuple[int, int, int]) -> tuple[Any, Array]:
    """An image of 32-bit numbers for a map of this shape (k, j, i), and its voxels to be filled, of the same shape."""
    data = vtk.vtkImageData()
    data.SetDimensions(*shape[::-1])
    data.AllocateScalars(vtk.VTK_FLOAT, 1)
    return data, numpy_support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(shape)


def write_map(scene: Any, data: Any, volume_node: Any, name: str, *, kind: str, key: str) -> Any:
    """Put a map that lies on the voxels of `volume_node` into the scene, as a scalar volume in a folder beside it.

    `kind`: probability, entropy or heat (where a classifier looks), values 0 to 1; shown with a window of 0 to 1,
    transparent where low. `key` says what the map is of (model and label): a map of the same key and volume is
    replaced, its node kept.
    """
    check_volume(volume_node, scene)
    node = _earlier(scene, volume_node, key)
    if node is None:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(scene.GenerateUniqueName(name))
        node = scene.AddNode(node)
        node.SetAttribute(MAP_ATTRIBUTE, key)
        node.SetNodeReferenceID(VOLUME_REFERENCE, volume_node.GetID())
        _show(scene, node, kind)
        _put_into_folder(scene, node, volume_node)
    was_modifying = node.StartModify()
    node.SetIJKToRASMatrix(matrix_from_array(volume_matrix(volume_node)))
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetAndObserveImageData(data)
    node.EndModify(was_modifying)
    return node


def _earlier(scene: Any, volume_node: Any, key: str) -> Any:
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    for node in (scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode") for n in range(count)):
        if node.GetAttribute(MAP_ATTRIBUTE) == key and node.GetNodeReference(VOLUME_REFERENCE) is volume_node:
            return node
    return None


def _show(scene: Any, node: Any, kind: str) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetAutoThreshold(False)
    display.SetThreshold(_SHOWN_FROM[kind], 1.0)
    display.SetApplyThreshold(True)
    colors = next(color for color in _COLORS[kind] if scene.GetNodeByID(color) or color == _COLORS[kind][-1])
    display.SetAndObserveColorNodeID(colors)


def _put_into_folder(scene: Any, node: Any, volume_node: Any) -> None:
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    volume_item = hierarchy.GetItemByDataNode(volume_node) if hierarchy is not None else 0
    if not item or not volume_item:
        return
    parent, name = hierarchy.GetItemParent(volume_item), f"{volume_node.GetName()} maps"
    folder = hierarchy.GetItemChildWithName(parent, name) or hierarchy.CreateFolderItem(parent, name)
    hierarchy.SetItemParent(item, folder)
