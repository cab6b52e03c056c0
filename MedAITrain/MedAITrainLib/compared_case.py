"""A case in the scene with its reference and a model's result: for the live preview and for the worst cases. No Qt."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
        hierarchy = self._scene.GetSubjectHierarchyNode()
        for kind in list(self._ids):
            node = self._node(kind)
            if node is not None:
                self._scene.RemoveNode(node)
        if hierarchy is not None:
            item = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), self._title)
            if item and hierarchy.GetNumberOfItemChildren(item) == 0:
                hierarchy.RemoveItem(item)
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
        display = node.GetDisplayNode()
        if display is not None:  # the reference as a line around the filled prediction
            display.SetVisibility2DFill(kind == PREDICTION)
            display.SetVisibility2DOutline(kind == REFERENCE)
            display.SetSliceIntersectionThickness(2 if kind == REFERENCE else 1)

    def _keep(self, kind: str, node: Any, case: ComparedCase) -> None:
        node.SetAttribute(ATTRIBUTE, case.name)
        self._ids[kind] = node.GetID()
        hierarchy = self._scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
        if item:
            top = hierarchy.GetSceneItemID()
            folder = hierarchy.GetItemChildWithName(top, self._title) or hierarchy.CreateFolderItem(top, self._title)
            hierarchy.SetItemParent(item, folder)


def _scheme(case: ComparedCase, colors: dict[str, tuple[float, float, float]]) -> LabelScheme:
    return LabelScheme(
        tuple(Label(n, name, colors.get(name, distinct_color(n - 1))) for n, name in enumerate(case.labels, 1))
    )
