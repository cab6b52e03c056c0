"""A label map into a Slicer segmentation: one shared layer, exactly on the voxels of its volume, also on a rerun."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from medai.errors import GeometryError, InputError
from medai.image import Affine, Array, Box, Image
from medai.label_statistics import LabelExtent, label_extents
from medai.labels import Label, LabelScheme
from medai.mrml import surfaces
from medai.mrml.layers import (
    LABELMAP,
    bounding_box,
    first_index,
    layer_array,
    layer_matrix,
    layers_of,
    mask_on_grid,
    new_layer,
    segment_ids,
)
from medai.mrml.overwrite import (
    LABEL_TAG,
    MODEL_TAG,
    RUN_TAG,
    OverwritePolicy,
    gives_way,
    is_locked,
    protects,
    tag_of,
)
from medai.mrml.transforms import transform_between
from medai.mrml.volumes import array_from_matrix, check_volume, volume_matrix

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriteResult:
    """What a write-back did.

    `segment_ids` by the model's label value; `voxels` written by label value; `protected_voxels` by label value: of
    the result, but left to other segments; `cleared_voxels` by segment id: taken from other segments.
    """

    segmentation_node_id: str
    segment_ids: dict[int, str]
    voxels: dict[int, int]
    protected_voxels: dict[int, int]
    cleared_voxels: dict[str, int]
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """Everything that is worked out before the scene is touched."""

    labels: tuple[Label, ...]
    reused: dict[int, str]
    staying: tuple[str, ...]
    layer: Any
    voxels: dict[int, int]
    protected: dict[int, int]
    warnings: tuple[str, ...]


def write_segmentation(
    scene: Any,
    label_map: Image | Array,
    scheme: LabelScheme,
    volume_node: Any,
    segmentation_node: Any = None,
    *,
    policy: OverwritePolicy = OverwritePolicy.PROTECT,
    run_id: str,
    model_id: str = "",
    name: str = "",
    keep: Collection[str] = (),
    update_surfaces: bool = True,
    extents: Mapping[int, LabelExtent] | None = None,
) -> WriteResult:
    """Write a label map (k, j, i) that lies on the volume's grid into a segmentation, one segment per label.

    All labels share one layer that is set directly. Without `segmentation_node` a new one is made beside the volume,
    under its parent transform. In an existing one, the segments that an earlier run of the same model wrote for these
    labels are replaced and keep their ids, names, colours and visibility; every other segment, and those whose ids are
    in `keep`, is treated by the `policy`, even where it lies in the layer that is replaced. A segment of the earlier
    run that is locked (see `OverwritePolicy`) is kept and its label not written, but for OVERWRITE_ALL. `extents` is
    what `label_extents(label_map)` gives, where somebody has counted already; else the whole map is looked at here.

    Raises InputError (no voxels, nodes gone, label values that the scheme does not name, a segmentation that is not
    made of label maps) or GeometryError (other grid; a parent transform that differs by a warp); the scene is then as
    before.
    """
    started_s = time.perf_counter()
    check_volume(volume_node, scene)
    labels = _voxels_on_volume(label_map, volume_node)
    if segmentation_node is not None:
        check_segmentation(segmentation_node, scene)
    extents = label_extents(labels) if extents is None else extents
    plan = _plan(labels, extents, scheme, volume_node, segmentation_node, policy, model_id, keep)
    node = segmentation_node or new_segmentation_node(scene, volume_node, name)
    was_modifying = node.StartModify()
    try:
        written, cleared = _apply(plan, node, volume_node, policy, run_id, model_id, update_surfaces)
    finally:
        node.EndModify(was_modifying)
    seconds = time.perf_counter() - started_s
    _log.info("Wrote %d segments into '%s' in %.3f s", len(written), node.GetName(), seconds)
    return WriteResult(node.GetID(), written, plan.voxels, plan.protected, cleared, seconds, plan.warnings)


def _voxels_on_volume(label_map: Image | Array, volume_node: Any) -> Array:
    """The label values (k, j, i), checked to lie on the volume's grid."""
    shape = volume_node.GetImageData().GetDimensions()[::-1]
    if isinstance(label_map, Image):
        grid = Image(np.broadcast_to(np.uint8(0), (1, *shape)), volume_matrix(volume_node))
        if label_map.channels != 1 or not label_map.same_grid(grid):
            raise GeometryError(
                f"The label map {label_map.shape} does not lie on the grid of the volume '{volume_node.GetName()}' "
                f"{shape}.",
                "Resample it to that volume (nearest neighbour) first.",
            )
        return label_map.channel(0)
    if label_map.shape != shape:
        raise GeometryError(
            f"The label map has {label_map.shape} voxels (k, j, i), the volume '{volume_node.GetName()}' {shape}.",
            "Give the labels on the grid of the volume.",
        )
    return label_map


def check_segmentation(node: Any, scene: Any) -> None:
    """Raise InputError where the node is no segmentation of this scene that is made of label maps."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        raise InputError(f"'{node.GetName()}' is a {node.GetClassName()}.", "Choose a segmentation.")
    if node.GetScene() is not scene:
        raise InputError(
            f"The segmentation '{node.GetName()}' is no longer in the scene.", "Choose another one and rerun."
        )
    segmentation = node.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    if segmentation.GetNumberOfSegments() and source != LABELMAP:
        raise InputError(
            f"The segments of '{node.GetName()}' are stored as '{source}'; a result would turn them into voxels.",
            "Choose another segmentation, or make 'Binary labelmap' its source in the Segmentations module.",
        )


def _plan(
    labels: Array,
    extents: Mapping[int, LabelExtent],
    scheme: LabelScheme,
    volume_node: Any,
    node: Any,
    policy: OverwritePolicy,
    model_id: str,
    keep: Collection[str],
) -> _Plan:
    unknown = sorted(set(extents) - set(scheme.values))
    if unknown:
        raise InputError(
            f"The label map holds the values {unknown[:10]} that its scheme does not name.",
            f"The scheme has {list(scheme.values)[:20]}.",
        )
    segmentation = node.GetSegmentation() if node is not None else None
    reused, kept_labels, warnings = _earlier_segments(segmentation, scheme, policy, model_id, keep)
    others = [i for i in segment_ids(segmentation) if i not in reused.values()] if segmentation else []
    written = tuple(label for label in scheme if label.value not in kept_labels)
    values = [label.value for label in written if label.value in extents]
    box = _union([extents[value].box for value in values])
    layer, voxels = _remapped(labels, box, written, matrix_in_segmentation(volume_node, node, bool(others)))
    counts = {label.value: extents[label.value].voxels if label.value in extents else 0 for label in written}
    shielded = [i for i in others if protects(policy, segmentation.GetSegment(i))] if segmentation else []
    protected = _protect(layer, voxels, segmentation, shielded)
    lost = {label.value: int(protected[n]) for n, label in enumerate(written, 1) if protected[n]}
    for label in written:
        if label.value in lost:
            counts[label.value] -= lost[label.value]
            warnings.append(
                f"{lost[label.value]} voxels of '{label.name}' lie in other segments and were left to them."
            )
    return _Plan(written, reused, tuple(others), layer, counts, lost, tuple(warnings))


def _earlier_segments(
    segmentation: Any, scheme: LabelScheme, policy: OverwritePolicy, model_id: str, keep: Collection[str]
) -> tuple[dict[int, str], set[int], list[str]]:
    """({label value: id of the segment to replace}, label values that are not written, warnings)."""
    reused: dict[int, str] = {}
    kept_labels: set[int] = set()
    warnings: list[str] = []
    for segment_id in segment_ids(segmentation) if segmentation else ():
        segment = segmentation.GetSegment(segment_id)
        if segment_id in keep or tag_of(segment, RUN_TAG) is None or tag_of(segment, MODEL_TAG) != model_id:
            continue
        text = tag_of(segment, LABEL_TAG) or ""
        value = int(text) if text.isdecimal() else 0
        if value not in scheme.values or value in reused:
            continue
        if is_locked(segment) and policy is not OverwritePolicy.OVERWRITE_ALL:
            kept_labels.add(value)
            warnings.append(f"Segment '{segment.GetName()}' is completed (locked): it was kept as it is.")
        else:
            reused[value] = segment_id
    return reused, kept_labels, warnings


def _union(boxes: list[Box]) -> Box:
    if not boxes:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    k, j, i = (slice(min(b[a].start for b in boxes), max(b[a].stop for b in boxes)) for a in range(3))
    return k, j, i


def _remapped(labels: Array, box: Box, written: tuple[Label, ...], matrix: Affine) -> tuple[Any, Array]:
    """The layer of the result: value n for the n-th label, cut to the box that holds the labels."""
    dtype = np.uint8 if len(written) < 256 else np.uint16
    largest = int(np.iinfo(labels.dtype).max) if labels.dtype.itemsize == 1 else 65535
    table = np.zeros(max(largest, max((label.value for label in written), default=0)) + 1, dtype)
    for n, label in enumerate(written, 1):
        table[label.value] = n
    part = labels[box]
    layer, voxels = new_layer(part.shape, (box[2].start, box[1].start, box[0].start), matrix, dtype)
    if part.size and all(label.value == n for n, label in enumerate(written, 1)):
        voxels[...] = part
    elif part.dtype == np.uint8 and dtype == np.uint8:
        text = table.tobytes()
        for k in range(part.shape[0]):  # bytes.translate looks 8-bit values up five times faster than numpy does
            voxels[k] = np.frombuffer(part[k].tobytes().translate(text), np.uint8).reshape(part.shape[1:])
    else:
        for k in range(part.shape[0]):  # by slice: `take` would otherwise make an index array of 8 bytes a voxel
            np.take(table, part[k], out=voxels[k], mode="clip")
    return layer, voxels


def matrix_in_segmentation(volume_node: Any, node: Any, has_others: bool) -> Affine:
    """The volume's index-to-mm matrix in the coordinates of the segmentation.

    Where both have the same parent transform, or the segmentation will be put under the volume's (nothing else is in
    it), that is the volume's own matrix. A linear difference goes into the matrix, exactly.
    """
    matrix = volume_matrix(volume_node)
    if node is None or not has_others or node.GetParentTransformNode() is volume_node.GetParentTransformNode():
        return matrix
    between, linear = transform_between(volume_node, node), vtk.vtkTransform()
    remedy = "Put both under the same transform, or write into a new segmentation."
    where = f"The segmentation '{node.GetName()}' and the volume '{volume_node.GetName()}' are under transforms that"
    if not slicer.vtkOrientedImageDataResample.IsTransformLinear(between, linear):
        raise GeometryError(f"{where} differ by a warp; the result would be misplaced.", remedy)
    moved = array_from_matrix(linear.GetMatrix()) @ matrix
    axes = moved[:3, :3] / np.linalg.norm(moved[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise GeometryError(f"{where} differ by a shear; a segment cannot hold that.", remedy)
    return moved


def _protect(layer: Any, voxels: Array, segmentation: Any, ids: list[str]) -> Array:
    """Take the voxels of these segments out of the result; how many were taken of each of its values."""
    taken = np.zeros(int(np.iinfo(voxels.dtype).max) + 1, np.int64)
    if not voxels.size:
        return taken
    start, matrix = layer.GetExtent()[::2], layer_matrix(layer)
    for other, values in layers_of(segmentation, ids) if ids else ():
        mask = mask_on_grid(other, set(values.values()), start, voxels.shape, matrix)
        taken += np.bincount(voxels[mask], minlength=taken.size)
        voxels[mask] = 0
    taken[0] = 0
    return taken


def new_segmentation_node(scene: Any, volume_node: Any, name: str) -> Any:
    """An empty segmentation beside the volume in the subject hierarchy; its geometry is set by the first write."""
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(scene.GenerateUniqueName(name or f"{volume_node.GetName()} segmentation"))
    node = scene.AddNode(node)
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    volume_item = hierarchy.GetItemByDataNode(volume_node) if hierarchy is not None else 0
    if item and volume_item:  # under the volume's study, so that patient and study are inherited
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volume_item))
    return node


def _apply(
    plan: _Plan, node: Any, volume_node: Any, policy: OverwritePolicy, run_id: str, model_id: str, update_surfaces: bool
) -> tuple[dict[int, str], dict[str, int]]:
    segmentation = node.GetSegmentation()
    if not plan.staying:
        segmentation.SetSourceRepresentationName(LABELMAP)
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    shown = surfaces.detach(segmentation)  # else each change below would convert every segment to a surface
    _move_out(segmentation, plan.staying, set(plan.reused.values()))
    for segment_id in plan.reused.values():
        segmentation.GetSegment(segment_id).RemoveAllRepresentations()
    cleared = _clear(
        segmentation, [s for s in plan.staying if gives_way(policy, segmentation.GetSegment(s))], plan.layer
    )
    written: dict[int, str] = {}
    for value, label in enumerate(plan.labels, 1):
        segment_id = plan.reused.get(label.value, "")
        segment = segmentation.GetSegment(segment_id) if segment_id else _new_segment(label)
        segment.SetLabelValue(value)
        segment.AddRepresentation(LABELMAP, plan.layer)
        for tag, text in ((RUN_TAG, run_id), (MODEL_TAG, model_id), (LABEL_TAG, str(label.value))):
            segment.SetTag(tag, text)
        if not segment_id:
            segment_id = segmentation.GenerateUniqueSegmentID(f"MedAI_{label.value}")
            segmentation.AddSegment(segment, segment_id)
        written[label.value] = segment_id
    plan.layer.Modified()  # tells the views and the segment editor, through the segmentation
    if shown and update_surfaces:
        surfaces.attach(node, {i: s for i, s in shown.items() if i in plan.staying and i not in cleared})
    return written, cleared


def _new_segment(label: Label) -> Any:
    segment = slicer.vtkSegment()
    segment.SetName(label.name)
    segment.SetColor(*label.color)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    if label.terminology is not None:
        segment.SetTerminology(label.terminology.to_slicer())
    return segment


def _move_out(segmentation: Any, staying: tuple[str, ...], replaced: set[str]) -> None:
    """Give the segments that stay, but share a layer with one that is replaced, a layer of their own.

    Slicer puts a segment that a person adds into the layer object of the others, so in ours too. One copy for all of
    them does what SeparateSegmentLabelmap does for one, without a scan of the volume per segment.
    """
    old = {id(layer) for layer, _ in layers_of(segmentation, replaced)}
    for layer, values in layers_of(segmentation, staying):
        if id(layer) not in old:
            continue
        source = layer_array(layer)
        kept = source * np.isin(source, list(values.values())) if source.size else source
        box = bounding_box(kept) or (slice(0, 0), slice(0, 0), slice(0, 0))
        first = first_index(layer, box)
        own, voxels = new_layer(kept[box].shape, first, layer_matrix(layer), kept.dtype)
        voxels[...] = kept[box]
        for segment_id in values:
            segmentation.GetSegment(segment_id).AddRepresentation(LABELMAP, own)


def _clear(segmentation: Any, ids: list[str], result: Any) -> dict[str, int]:
    """Take the voxels of the result out of these segments; how many each lost."""
    lost: dict[str, int] = {}
    present = range(1, int(layer_array(result).max(initial=0)) + 1)
    for layer, values in layers_of(segmentation, ids) if present else ():
        voxels = layer_array(layer)
        hit = mask_on_grid(result, present, layer.GetExtent()[::2], voxels.shape, layer_matrix(layer))
        hit &= np.isin(voxels, list(values.values()))
        taken = voxels[hit]
        for segment_id, value in values.items():
            count = int(np.count_nonzero(taken == value))
            if count:
                lost[segment_id] = count
        if taken.size:
            voxels[hit] = 0
            layer.Modified()
    return lost
