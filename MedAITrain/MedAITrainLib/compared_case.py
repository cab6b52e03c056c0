"""A case in the scene with its reference and a model's result: for the live preview and for the worst cases. No Qt."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from medai.errors import FileFormatError
from medai.image import Image
from medai.labels import Label, LabelScheme, distinct_color
from medai.mrml import show_over, volume_from_image, write_segmentation

# Marks what belongs together; `findSceneCases` does not take it for labelled cases of the person's own.
ATTRIBUTE = "MedAI.compared"
REFERENCE, PREDICTION = "reference", "prediction"


@dataclass(frozen=True)
class ComparedCase:
    """Image (c, k, j, i), reference and prediction (k, j, i) on one grid; `labels` names the values 1, 2, ..."""

    name: str
    image: Image
    reference: Any
    prediction: Any
    labels: tuple[str, ...]
    step: int = 0


def readPreview(path: Path) -> ComparedCase:
    """The preview of a run (see `medai.training.preview`); FileFormatError for a file that is damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(str(content["about"]))
            image = Image(content["image"], content["ijk_to_ras"].astype(float), str(about["case"]))
            labels = tuple(str(name) for name in content["labels"][1:])
            return ComparedCase(
                image.name, image, content["reference"], content["prediction"], labels, int(about.get("step", 0))
            )
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            _("The preview '{path}' cannot be read: {error}").format(path=path, error=error),
            _("It is written anew at the next validation."),
        ) from error


class ComparedNodes:
    """The nodes of one compared case; shown again, they are updated in place.

    `title` names the folder of the subject hierarchy that they lie in.
    """

    def __init__(self, scene: Any, title: str) -> None:
        self._scene = scene
        self._title = title
        self._ids: dict[str, str] = {}
        self._shape: tuple[int, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether the volume is in the scene."""
        return self._node("volume") is not None

    def show(self, case: ComparedCase, colors: dict[str, tuple[float, float, float]]) -> None:
        """Put the case into the scene, or what changed of it; `colors` by label name."""
        scheme = _scheme(case, colors)
        volume = self._node("volume")
        sameImage = (
            volume is not None and self._shape == case.image.shape and volume.GetAttribute(ATTRIBUTE) == case.name
        )
        if not sameImage:
            self.remove()
            volume = self._addVolume(case)
        for kind, labels in ((REFERENCE, case.reference), (PREDICTION, case.prediction)):
            if sameImage and kind == REFERENCE and self._node(kind) is not None:
                continue
            self._write(kind, np.ascontiguousarray(labels), scheme, volume, case)
        if not sameImage:
            show_over(self._scene, volume, None)

    def remove(self) -> None:
        """Take everything out of the scene again."""
        for kind in list(self._ids):
            node = self._node(kind)
            if node is not None:
                self._scene.RemoveNode(node)
        removeEmptyFolder(self._scene, self._title)
        self._ids.clear()

    def _node(self, kind: str) -> Any:
        return self._scene.GetNodeByID(self._ids[kind]) if kind in self._ids else None

    def _addVolume(self, case: ComparedCase) -> Any:
        image = Image(case.image.array[:1], case.image.ijk_to_ras, case.name)
        volume = volume_from_image(self._scene, image, case.name)
        self._keep("volume", volume, case)
        self._shape = case.image.shape
        return volume

    def _write(self, kind: str, labels: Any, scheme: LabelScheme, volume: Any, case: ComparedCase) -> None:
        node = self._node(kind)
        name = _("{case} reference") if kind == REFERENCE else _("{case} prediction")
        written = write_segmentation(
            self._scene,
            labels,
            scheme,
            volume,
            node,
            run_id=f"{self._title} {case.step}",
            model_id=kind,
            name=name.format(case=case.name),
            update_surfaces=False,
        )
        if node is not None:
            return
        node = self._scene.GetNodeByID(written.segmentation_node_id)
        self._keep(kind, node, case)
        showAsLine(node, kind == REFERENCE)

    def _keep(self, kind: str, node: Any, case: ComparedCase) -> None:
        node.SetAttribute(ATTRIBUTE, case.name)
        self._ids[kind] = node.GetID()
        putIntoFolder(self._scene, node, self._title)


def _scheme(case: ComparedCase, colors: dict[str, tuple[float, float, float]]) -> LabelScheme:
    return LabelScheme(
        tuple(Label(n, name, colors.get(name, distinct_color(n - 1))) for n, name in enumerate(case.labels, 1))
    )


@dataclass(frozen=True)
class CaseFiles:
    """Where a case of an evaluation lies on disk; None where there is no such file."""

    image: Path | None
    reference: Path | None
    prediction: Path | None


class EvaluatedCase:
    """A case of an evaluation loaded from its files, with names of its own, under a folder; one at a time."""

    def __init__(self, scene: Any, title: str) -> None:
        self._scene = scene
        self._title = title
        self._ids: list[str] = []

    def show(self, name: str, files: CaseFiles) -> list[Any]:
        """Load the files in the place of the case before; the nodes. FileFormatError names what is missing."""
        if files.image is None or not files.image.is_file():
            raise FileFormatError(
                _("The image of the case '{name}' is not found.").format(name=name),
                _("Keep the data set where it was when the model was evaluated."),
            )
        self.remove()
        nodes = [_loaded(slicer.util.loadVolume, files.image, name)]
        for path, title in ((files.reference, _("{case} reference")), (files.prediction, _("{case} prediction"))):
            if path is not None and path.is_file():
                nodes.append(_loaded(slicer.util.loadSegmentation, path, title.format(case=name)))
        for node in nodes:
            node.SetAttribute(ATTRIBUTE, name)
            self._ids.append(node.GetID())
            putIntoFolder(self._scene, node, self._title)
        for node, isReference in zip(nodes[1:], (True, False), strict=False):
            showAsLine(node, isReference)
        show_over(self._scene, nodes[0], None)
        return nodes

    def lookAt(self, label: str) -> None:
        """Move the slice views to the middle of this structure, in the reference or else the prediction."""
        for nodeId in self._ids[1:]:
            node = self._scene.GetNodeByID(nodeId)
            segmentation = node.GetSegmentation() if node is not None else None
            segmentId = segmentation.GetSegmentIdBySegmentName(label) if segmentation is not None else ""
            if segmentId:
                center = node.GetSegmentCenterRAS(segmentId)
                if center is not None:
                    kind = slicer.vtkMRMLSliceNode
                    kind.JumpAllSlices(self._scene, *center, kind.CenteredJumpSlice)
                    return

    def remove(self) -> None:
        """Take the case out of the scene again."""
        for nodeId in self._ids:
            node = self._scene.GetNodeByID(nodeId)
            if node is not None:
                self._scene.RemoveNode(node)
        self._ids = []
        removeEmptyFolder(self._scene, self._title)


def _loaded(load: Any, path: Path, name: str) -> Any:
    try:
        node = load(str(path), {"name": name})
    except RuntimeError as error:
        raise FileFormatError(
            _("'{path}' cannot be read: {error}").format(path=path, error=error), _("Evaluate the model again.")
        ) from error
    node.SetName(name)
    storage = node.GetStorageNode()
    if storage is not None:  # saving the scene must not write into the data set
        node.SetAndObserveStorageNodeID(None)
        node.GetScene().RemoveNode(storage)
    return node


def showAsLine(segmentation: Any, isReference: bool) -> None:
    """Show the reference as a line, the prediction as an area."""
    display = segmentation.GetDisplayNode()
    if display is not None:
        display.SetVisibility2DFill(not isReference)
        display.SetVisibility2DOutline(isReference)
        display.SetSliceIntersectionThickness(2 if isReference else 1)


def putIntoFolder(scene: Any, node: Any, title: str) -> None:
    """Put the node into this folder of the subject hierarchy, which is made where it is not there."""
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if item:
        top = hierarchy.GetSceneItemID()
        folder = hierarchy.GetItemChildWithName(top, title) or hierarchy.CreateFolderItem(top, title)
        hierarchy.SetItemParent(item, folder)


def removeEmptyFolder(scene: Any, title: str) -> None:
    """Remove the folder where nothing is left in it."""
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), title) if hierarchy is not None else 0
    if item and hierarchy.GetNumberOfItemChildren(item) == 0:
        hierarchy.RemoveItem(item)
