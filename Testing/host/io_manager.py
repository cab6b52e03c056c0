"""``slicer.app.coreIOManager()``: reading and writing nodes by the module logics and storage nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

_TYPES_BY_SUFFIX = {
    ".seg.nrrd": "SegmentationFile", ".mrk.json": "MarkupsFile", ".nrrd": "VolumeFile", ".nhdr": "VolumeFile",
    ".nii.gz": "VolumeFile", ".nii": "VolumeFile", ".mha": "VolumeFile", ".mhd": "VolumeFile", ".h5": "TransformFile",
    ".tfm": "TransformFile", ".csv": "TableFile", ".tsv": "TableFile", ".vtk": "ModelFile", ".vtp": "ModelFile",
    ".stl": "ModelFile", ".mrml": "SceneFile", ".mrb": "SceneFile", ".txt": "TextFile", ".json": "TextFile",
}  # fmt: skip

_STORED_CLASSES = {
    "SegmentationFile": ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode"),
    "TableFile": ("vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    "TransformFile": ("vtkMRMLTransformNode", "vtkMRMLTransformStorageNode"),
    "TextFile": ("vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
}


class CoreIOManager:
    """The part of qSlicerCoreIOManager that ``slicer.util`` calls."""

    def __init__(self, application: Any) -> None:
        self._application = application

    @property
    def _scene(self) -> Any:
        return self._application.scene

    def fileType(self, path: str) -> str:
        """Guess the file type from the name."""
        for suffix, kind in _TYPES_BY_SUFFIX.items():
            if str(path).lower().endswith(suffix):
                return kind
        return "NoFile"

    def fileWriterFileType(self, node: Any, format: str = "") -> str:
        """Name the writer of a node."""
        for kind, (class_name, _storage) in _STORED_CLASSES.items():
            if node.IsA(class_name):
                return kind
        return "VolumeFile" if node.IsA("vtkMRMLVolumeNode") else "NodeFile"

    def extractKnownExtension(self, path: str, _node: Any) -> str:
        """Give the known suffix of a file name."""
        return next((s for s in _TYPES_BY_SUFFIX if str(path).lower().endswith(s)), Path(path).suffix)

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None) -> bool:
        """Read a file into the scene; nodes go into the collection."""
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear")))
        node = self._load_node(kind, path, properties)
        if node is None:
            return False
        if properties.get("name"):
            node.SetName(str(properties["name"]))
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def _load_scene(self, path: str, clear: bool) -> bool:
        if path.endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(path, clear))
        self._scene.SetURL(path)
        return bool(self._scene.Connect() if clear else self._scene.Import())

    def _load_node(self, kind: str, path: str, properties: dict[str, Any]) -> Any:
        logics = self._application.logics
        name = str(properties.get("name") or Path(path).name.split(".")[0])
        if kind == "VolumeFile":
            flags = 1 if properties.get("labelmap") else 0
            return logics["volumes"].AddArchetypeVolume(path, name, flags)
        if kind == "ModelFile":
            return logics["models"].AddModel(path)
        if kind == "MarkupsFile":
            return self._scene.GetNodeByID(logics["markups"].LoadMarkups(path, name) or "")
        if kind in _STORED_CLASSES:
            return self._read_by_storage(_STORED_CLASSES[kind], path, name, properties)
        return None

    def _read_by_storage(self, classes: tuple[str, str], path: str, name: str, properties: dict[str, Any]) -> Any:
        node_class, storage_class = classes
        storage = self._scene.AddNewNodeByClass(storage_class)
        storage.SetFileName(path)
        node = self._scene.AddNewNodeByClass(node_class, name)
        if properties.get("colorNodeID") and hasattr(node, "SetLabelmapConversionColorTableNodeID"):
            node.SetLabelmapConversionColorTableNodeID(properties["colorNodeID"])
        if not storage.ReadData(node):
            self._scene.RemoveNode(node)
            self._scene.RemoveNode(storage)
            return None
        node.SetAndObserveStorageNodeID(storage.GetID())
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        return node

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        """Write a node (by nodeID) or the scene to fileName."""
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path)
        node = self._scene.GetNodeByID(str(properties["nodeID"]))
        return node is not None and self._write(node, path, properties)

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        """File formats that a node can be written to, as "description (.suffix)"."""
        storage_class = node.GetDefaultStorageNodeClassName() if node.IsA("vtkMRMLStorableNode") else None
        if not storage_class:
            return ()
        # The formats of volumes come from ITK by way of the scene's data IO manager.
        scene = self._empty_scene()
        formats = scene.AddNewNodeByClass(storage_class).GetSupportedWriteFileTypes()
        return tuple(formats.GetValue(i) for i in range(formats.GetNumberOfValues()))

    def exportNodes(
        self,
        node_ids: list[str],
        paths: list[str],
        properties: dict[str, Any],
        harden: bool,
        messages: Any = None,
    ) -> bool:
        """Write copies of nodes, so that their storage nodes stay as they are; ``harden`` writes world coordinates."""
        if len(node_ids) != len(paths) or not isinstance(properties.get("fileFormat"), str):
            return False
        written = [self._export(n, str(p), properties, harden, messages) for n, p in zip(node_ids, paths, strict=True)]
        return all(written)

    def _export(self, node_id: str, path: str, properties: dict[str, Any], harden: bool, messages: Any) -> bool:
        node = self._scene.GetNodeByID(node_id)
        if node is None or not node.IsA("vtkMRMLStorableNode"):
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"Unable to find a storable node with ID {node_id}")
            return False
        scene = self._empty_scene()
        copy = scene.AddNewNodeByClass(node.GetClassName())
        copy.CopyContent(node, harden)
        parent = node.GetParentTransformNode() if harden and node.IsA("vtkMRMLTransformableNode") else None
        if parent is not None:
            whole = vtk.vtkGeneralTransform()
            parent.GetTransformFromWorld(whole)
            transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
            transform.SetAndObserveTransformFromParent(whole)
            copy.SetAndObserveTransformNodeID(transform.GetID())
            copy.HardenTransform()
        return self._write(copy, path, properties)

    def _empty_scene(self) -> Any:
        scene = slicer.vtkMRMLScene()
        self._scene.CopyDefaultNodesToScene(scene)
        self._scene.CopyRegisteredNodesToScene(scene)
        self._scene.CopySingletonNodesToScene(scene)
        scene.SetDataIOManager(self._scene.GetDataIOManager())
        return scene

    @staticmethod
    def _write(node: Any, path: str, properties: dict[str, Any]) -> bool:
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(int(bool(properties["useCompression"])))
        return bool(storage.WriteData(node))

    def _save_scene(self, path: str) -> bool:
        if path.endswith(".mrb"):
            return bool(self._scene.WriteToMRB(path))
        self._scene.SetURL(path)
        return bool(self._scene.Commit(path))


def supported_types() -> list[str]:
    """File types that the host can read."""
    return sorted(set(_TYPES_BY_SUFFIX.values()))
