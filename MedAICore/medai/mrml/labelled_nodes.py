"""The nodes behind a labelled case: volumes, segmentation, their patient, and frames of sequences in their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from medai.errors import InputError
from medai.labels import Terminology
from medai.mrml.labelled_table import LabelledCase, SegmentInfo
from medai.mrml.layers import segment_ids
from medai.mrml.volumes import check_volume

SEQUENCE = "vtkMRMLSequenceNode"


class PlacedNode:
    """A node as its frame of a sequence lies in the scene: its own voxels under the parent transform of another node.

    Frames live in a scene of their own, where the transforms of the open scene cannot be observed.
    """

    def __init__(self, node: Any, transform_node: Any) -> None:
        self._node = node
        self._transform_node = transform_node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def GetParentTransformNode(self) -> Any:  # noqa: N802 (takes the place of the node's own)
        """The transform under which the frame is shown."""
        return self._transform_node


@dataclass(frozen=True)
class CaseNodes:
    """What a case's IDs stand for now. A node that is not there is None."""

    volumes: tuple[Any, ...]
    segmentation: Any


def nodes_of(scene: Any, case: LabelledCase) -> CaseNodes:
    """The nodes of a case in `scene`; frames of sequences come under the transform of their proxy nodes."""
    owners = [scene.GetNodeByID(node_id) for node_id in case.volume_ids]
    value = _index_value(owners[0], case.frame) if owners else None
    values: list[str | None] = [value] * len(owners)
    if case.around and owners[0] is not None and case.frame is not None and value is not None:
        last = owners[0].GetNumberOfDataNodes() - 1
        frames = [min(max(case.frame + n - case.around, 0), last) for n in range(len(owners))]
        values = [_index_value(owners[0], frame) for frame in frames]
    volumes = tuple(_placed(scene, owner, shown) for owner, shown in zip(owners, values, strict=True))
    owner = scene.GetNodeByID(case.segmentation_id) if case.segmentation_id else None
    return CaseNodes(volumes, _placed(scene, owner, value))


class CaseProblem(InputError):
    """Why a case cannot be read; `kind` is the code of the finding."""

    def __init__(self, kind: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind

    def __reduce__(self) -> tuple[type[CaseProblem], tuple[str, str, str]]:  # type: ignore[override]
        return type(self), (self.kind, self.message, self.remedy)


def require_nodes(scene: Any, case: LabelledCase) -> CaseNodes:
    """The nodes of a case; CaseProblem where one is missing or has no voxels."""
    if not case.volume_ids:
        raise CaseProblem("missing-volume", "There is no volume for this segmentation.", "Choose its volume.")
    nodes = nodes_of(scene, case)
    named = [*case.channel_names, *case.volume_ids[len(case.channel_names) :]]
    for name, volume in zip(named, nodes.volumes, strict=True):
        if volume is None:
            what = "has no such frame" if scene.GetNodeByID(case.volume_ids[0]) else "is not in the scene"
            raise CaseProblem("missing-volume", f"The volume '{name}' {what}.", "Load it, or choose another.")
        try:
            check_volume(volume)
        except InputError as error:
            raise CaseProblem("missing-volume", error.message, error.remedy) from error
        if volume.GetImageData().GetNumberOfScalarComponents() != 1:
            message = f"The volume '{name}' has several values per voxel (colour)."
            raise CaseProblem("colour", message, "Choose a grey-scale volume.")
    if nodes.segmentation is None:
        message = "There is no segmentation for this volume" + (" and frame." if case.frame is not None else ".")
        raise CaseProblem("missing-segmentation", message, "Choose one, or leave the case out.")
    return nodes


def _index_value(owner: Any, frame: int | None) -> str | None:
    if owner is None or frame is None or not owner.IsA(SEQUENCE) or not 0 <= frame < owner.GetNumberOfDataNodes():
        return None
    value: str = owner.GetNthIndexValue(frame)
    return value


def _placed(scene: Any, owner: Any, value: str | None) -> Any:
    if owner is None or not owner.IsA(SEQUENCE):
        return owner
    frame = owner.GetDataNodeAtValue(value, True) if value is not None else None
    if frame is None:
        return None
    proxy = proxy_of(scene, owner)
    return PlacedNode(frame, proxy.GetParentTransformNode() if proxy is not None else None)


def browsers(scene: Any) -> list[Any]:
    """The sequence browsers of the scene."""
    return _by_class(scene, "vtkMRMLSequenceBrowserNode")


def proxy_of(scene: Any, sequence: Any) -> Any:
    """The node that shows the current frame of the sequence, None where no browser has one."""
    for browser in browsers(scene):
        proxy = browser.GetProxyNode(sequence)
        if proxy is not None:
            return proxy
    return None


def sequences_of(browser: Any) -> list[Any]:
    """The sequences with frames that a browser plays, its master first."""
    found = vtk.vtkCollection()
    include_master = True
    browser.GetSynchronizedSequenceNodes(found, include_master)
    sequences = [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]
    return [sequence for sequence in sequences if sequence.GetNumberOfDataNodes()]


def volumes_in(scene: Any) -> list[Any]:
    """The grey-scale volumes of the scene, in its order."""
    return [node for node in _by_class(scene, "vtkMRMLScalarVolumeNode") if is_grey_volume(node)]


def is_grey_volume(node: Any) -> bool:
    """Whether the node is a volume with one value per voxel that is no label map."""
    return node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()


def segmentations_in(scene: Any) -> list[Any]:
    """The segmentations of the scene, in its order."""
    return [node for node in _by_class(scene, "vtkMRMLSegmentationNode") if not node.GetHideFromEditors()]


def _by_class(scene: Any, name: str) -> list[Any]:
    found = scene.GetNodesByClass(name)  # a new collection: without UnRegister it would never be freed
    found.UnRegister(None)
    return [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]


def segments_in(segmentation_node: Any) -> tuple[SegmentInfo, ...]:
    """What a segmentation's segments are, in their order."""
    segmentation = segmentation_node.GetSegmentation()
    uncoded = slicer.vtkSegment().GetTerminology()  # "Tissue", which Slicer gives to what nobody has coded
    found = []
    for segment_id in segment_ids(segmentation):
        segment = segmentation.GetSegment(segment_id)
        text = segment.GetTerminology() or ""
        codes = None if text == uncoded else Terminology.from_slicer(text)
        found.append(SegmentInfo(segment_id, segment.GetName() or segment_id, tuple(segment.GetColor()), codes))
    return tuple(found)


@dataclass(frozen=True)
class Subject:
    """Whom a node shows: `key` identifies the patient ("" where the scene does not tell), `name` is for a person."""

    key: str = ""
    name: str = ""
    study_item: int = 0
    patient_item: int = 0
    modality: str = ""


def subject_of(scene: Any, node: Any) -> Subject:
    """The patient of a node by the subject hierarchy: the DICOM patient ID where there is one, else the item's name."""
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if not item:
        return Subject()
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient())
    study = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelStudy())
    modality = hierarchy.GetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName()) or ""
    if not patient:
        return Subject(study_item=study, modality=modality)
    name = hierarchy.GetItemName(patient)
    key = (
        hierarchy.GetItemAttribute(patient, constants.GetDICOMPatientIDAttributeName())
        or hierarchy.GetItemUID(patient, constants.GetDICOMUIDName())
        or name
    )
    return Subject(key, name, study, patient, modality)


def ancestors_of(scene: Any, node: Any) -> Iterator[int]:
    """The subject hierarchy items above a node, the nearest first, without the scene itself."""
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    while item:
        item = hierarchy.GetItemParent(item)
        if not item or item == hierarchy.GetSceneItemID():
            return
        yield item


def node_of(scene: Any, node_id: str) -> Any:
    """The node of this ID; InputError where the scene has it no longer."""
    node = scene.GetNodeByID(node_id)
    if node is None:
        raise InputError(f"The scene has no node '{node_id}' (any more).", "Look for the cases again.")
    return node


def shown(scene: Any, node: Any) -> Any:
    """The node that subject hierarchy and transforms know: of a sequence its proxy, where it has one."""
    proxy = proxy_of(scene, node) if node.IsA(SEQUENCE) else None
    return node if proxy is None else proxy


def shown_subject(scene: Any, case: LabelledCase) -> Subject:
    """The patient of a case's first volume (of its segmentation, where it has no volume)."""
    node_id = (*case.volume_ids, case.segmentation_id)[0]
    return subject_of(scene, shown(scene, node_of(scene, node_id)))
