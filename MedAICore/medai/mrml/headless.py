"""A Slicer scene without the application: MRML scene, application logic and module logics of the slicer-core wheel.

For the command line, pictures and tests. Inside Slicer nothing here is needed: there the scene is `slicer.mrmlScene`.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import slicer
import vtk

# (name of the module in Slicer, logic class); those that read, write and show what MedAI makes.
_MODULE_LOGICS = (
    ("Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    ("Volumes", "vtkSlicerVolumesLogic"),
    ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
    ("Tables", "vtkSlicerTablesLogic"),
    ("Markups", "vtkSlicerMarkupsLogic"),
    ("Models", "vtkSlicerModelsLogic"),
)

# Slicer's subject hierarchy shows data, not the display, storage, view and colour nodes behind them.
_HIERARCHY_CLASSES = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLTransformNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTableNode",
)


@dataclass
class HeadlessScene:
    """A scene with the logics behind it. Use as a context manager, or call `close` when done.

    The logics observe the scene only while they are referenced: keep this object as long as the scene is used.
    """

    scene: Any
    application_logic: Any
    logics: dict[str, Any]
    _held: list[Any] = field(default_factory=list)
    _folders: list[Any] = field(default_factory=list)

    def __enter__(self) -> HeadlessScene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Empty the scene and delete the temporary folders. Calling it again does nothing."""
        if self.scene is None:
            return
        self.scene.RemoveAllObservers()
        self.scene.Clear(True)
        self.logics.clear()
        self._held.clear()
        self.scene = None
        for folder in self._folders:
            folder.cleanup()


def headless_scene() -> HeadlessScene:
    """A new, empty scene that reads, writes and renders as Slicer's does; its subject hierarchy is kept up to date."""
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    patient_right_is_screen_left = True
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, patient_right_is_screen_left)
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    host = HeadlessScene(scene, logic, {})
    _add_data_io(host)
    _add_module_logics(host)
    _keep_subject_hierarchy(scene)
    return host


def _add_data_io(host: HeadlessScene) -> None:
    """Storage nodes ask the scene for its cache and data managers; without them .mrb files cannot be written."""
    cache = tempfile.TemporaryDirectory(prefix="medai-cache-")
    host._folders.append(cache)
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(host.scene)
    remote.SetMRMLApplicationLogic(host.application_logic)
    remote.GetCacheManager().SetRemoteCacheDirectory(cache.name)
    data = slicer.vtkDataIOManagerLogic()
    data.SetMRMLScene(host.scene)
    data.SetMRMLApplicationLogic(host.application_logic)
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    host._held += [remote, data]


def _add_module_logics(host: HeadlessScene) -> None:
    terminologies = _terminology_folder()
    for name, class_name in _MODULE_LOGICS:
        logic = getattr(slicer, class_name)()
        if name == "Terminologies" and terminologies is not None:
            logic.SetModuleShareDirectory(terminologies.as_posix())  # read when the scene is set: must come first
        logic.SetMRMLApplicationLogic(host.application_logic)
        logic.SetMRMLScene(host.scene)
        host.application_logic.SetModuleLogic(name, logic)
        host.logics[name] = logic


def _terminology_folder() -> Path | None:
    """The term lists that trame-slicer brings, or None where it is not installed (the wheel of Slicer has none)."""
    found = importlib.util.find_spec("trame_slicer")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "resources" / "terminologies"
    return folder if folder.is_dir() else None


def _keep_subject_hierarchy(scene: Any) -> None:
    """Give every data node its subject hierarchy item, which Slicer's Qt plugins do in the application."""

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def on_node_added(caller: Any, event: str, node: Any) -> None:
        hierarchy = caller.GetSubjectHierarchyNode()
        if hierarchy is None or not any(node.IsA(name) for name in _HIERARCHY_CLASSES):
            return
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, on_node_added)
