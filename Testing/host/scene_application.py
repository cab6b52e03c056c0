"""The MRML side of the application: scene, application logic, module logics, subject hierarchy items, colours."""

from __future__ import annotations

import colorsys
import tempfile
from pathlib import Path
from typing import Any

import slicer
import vtk

# module name -> (name in the application logic, class)
MODULE_LOGICS = {
    "terminologies": ("Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    "subjecthierarchy": ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    "volumes": ("Volumes", "vtkSlicerVolumesLogic"),
    "segmentations": ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
    "markups": ("Markups", "vtkSlicerMarkupsLogic"),
    "models": ("Models", "vtkSlicerModelsLogic"),
    "transforms": ("Transforms", "vtkSlicerTransformLogic"),
    "tables": ("Tables", "vtkSlicerTablesLogic"),
    "plots": ("Plots", "vtkSlicerPlotsLogic"),
    "sequences": ("Sequences", "vtkSlicerSequencesLogic"),
    "cropvolume": ("CropVolume", "vtkSlicerCropVolumeLogic"),
    "texts": ("Texts", "vtkSlicerTextsLogic"),
    "colors": ("Colors", "vtkSlicerColorLogic"),
    "data": ("Data", "vtkSlicerDataModuleLogic"),
}


def terminologies_folder() -> Path:
    """Folder with Slicer's terminology files (they are in no wheel but trame-slicer's)."""
    from trame_slicer.resources import resources_path

    return Path(resources_path()) / "terminologies"


class SceneApplication:
    """Everything that Slicer has without its user interface; keeps the references alive."""

    def __init__(self) -> None:
        self.temporary_folder = tempfile.TemporaryDirectory(prefix="slicer-host-")
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetTemporaryPath(self.temporary_folder.name)
        self.application_logic.SetMRMLScene(self.scene)
        self.application_logic.GetColorLogic().SetMRMLScene(self.scene)
        self.application_logic.GetColorLogic().AddDefaultColorNodes()
        self.application_logic.SetSliceLogics(vtk.vtkCollection())
        self.application_logic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self._connect_views()
        self._connect_data_io()
        self.logics = self._make_logics()
        self._observe_nodes()
        self.add_singletons()

    def _connect_views(self) -> None:
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.application_logic)

    def _connect_data_io(self) -> None:
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self.scene)
        self._remote.SetMRMLApplicationLogic(self.application_logic)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(self.temporary_folder.name)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLScene(self.scene)
        self._data_io.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()

    def _make_logics(self) -> dict[str, Any]:
        logics = {}
        for module, (name, class_name) in MODULE_LOGICS.items():
            cls = getattr(slicer, class_name, None)
            if cls is None:
                continue
            logic = cls()
            # Before SetMRMLScene: the terminologies logic reads its files when it gets the scene.
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(str(terminologies_folder()))
            logic.SetMRMLApplicationLogic(self.application_logic)
            logic.SetMRMLScene(self.scene)
            self.application_logic.SetModuleLogic(name, logic)
            logics[module] = logic
        return logics

    def _observe_nodes(self) -> None:
        """Make subject hierarchy items, as the plugin logic of the application does."""

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(_caller: Any, _event: str, node: Any) -> None:
            hierarchy = self.scene.GetSubjectHierarchyNode()
            shown = node.IsA("vtkMRMLDisplayableNode") or node.IsA("vtkMRMLStorableNode")
            if hierarchy is None or not shown or node.GetHideFromEditors() or node.IsA("vtkMRMLSubjectHierarchyNode"):
                return
            if self.scene.IsImporting() or self.scene.IsRestoring():
                return
            if not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def about_to_be_removed(_caller: Any, _event: str, node: Any) -> None:
            hierarchy = self.scene.GetSubjectHierarchyNode()
            item = hierarchy.GetItemByDataNode(node) if hierarchy is not None and hierarchy is not node else 0
            if item:
                hierarchy.RemoveItem(item, False, False)

        self.scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, about_to_be_removed)
        self._removed = about_to_be_removed
        self._added = added
        self.scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)

    def add_singletons(self) -> None:
        """Add the nodes that the application has in every scene."""
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)
        for class_name, tag in (("vtkMRMLSelectionNode", "Singleton"), ("vtkMRMLInteractionNode", "Singleton")):
            if self.scene.GetSingletonNode(tag, class_name) is None:
                node = self.scene.CreateNodeByClass(class_name)
                node.SetSingletonTag(tag)
                self.scene.AddNode(node)
        self._add_generic_colors()

    def _add_generic_colors(self) -> None:
        """The wheel ships no colour files; imports of labels look this table up by its singleton tag."""
        if self.scene.GetNodeByID("vtkMRMLColorTableNodeFileGenericColors.txt") is not None:
            return
        table = slicer.vtkMRMLColorTableNode()
        table.SetTypeToUser()
        table.SetName("GenericColors")
        table.SetSingletonTag("FileGenericColors.txt")
        table.SetHideFromEditors(True)
        table.SetSaveWithScene(False)
        table.SetNumberOfColors(256)
        for i in range(256):
            hue = (i * 0.618033988749895) % 1.0
            red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, 0.9) if i else (0.0, 0.0, 0.0)
            table.SetColor(i, f"Label_{i}" if i else "background", red, green, blue, 1.0 if i else 0.0)
        self.scene.AddNode(table)

    def clear(self) -> None:
        """Empty the scene between tests."""
        self.scene.Clear(False)
        self.add_singletons()
