"""A box of voxels into one segment: only the box is touched, and what it changed can be taken back exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from medai.errors import InputError
from medai.image import Affine, Array, Box
from medai.mrml import surfaces
from medai.mrml.layers import (
    LABELMAP,
    Extent,
    bounding_box,
    layer_array,
    layer_matrix,
    layers_of,
    new_layer,
    segment_ids,
    values_on_grid,
)
from medai.mrml.overwrite import OverwritePolicy, gives_way, is_locked, protects

_EMPTY: Extent = (0, -1, 0, -1, 0, -1)


@dataclass(frozen=True, eq=False)
class LayerPatch:
    """The voxels of one layer that a write changed.

    `segments` are {segment id: its value in the layer}; `at` are flat indices (int32) into the box of `shape`
    (k, j, i) that begins at the extent index `start_ijk`; `before` and `after` are their values. Only they are kept,
    so a step costs about six bytes for each voxel that it changed.
    """

    layer: Any
    segments: dict[str, int]
    extent_before: Extent
    extent_after: Extent
    start_ijk: tuple[int, int, int]
    shape: tuple[int, int, int]
    at: npt.NDArray[np.int32]
    before: Array
    after: Array

    @property
    def touched(self) -> tuple[str, ...]:
        """Ids of the segments that lose or gain voxels."""
        values = {*np.unique(self.before).tolist(), *np.unique(self.after).tolist()}
        return tuple(segment_id for segment_id, value in self.segments.items() if value in values)

    @property
    def nbytes(self) -> int:
        """Memory that the patch holds."""
        return int(self.at.nbytes + self.before.nbytes + self.after.nbytes)


@dataclass(frozen=True, eq=False)
class RegionChange:
    """What one write changed; `undo_region` takes it back, `redo_region` does it again.

    `added` and `removed` count the segment's own voxels; `protected` those of the result that were left to other
    segments; `cleared` those that other segments lost, by segment id.
    """

    segment_id: str
    patches: tuple[LayerPatch, ...]
    added: int
    removed: int
    protected: int
    cleared: dict[str, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory that is held to take the change back."""
        return sum(patch.nbytes for patch in self.patches)

    @property
    def changed_segments(self) -> tuple[str, ...]:
        """Ids of the segments whose voxels changed."""
        return (self.segment_id, *self.cleared) if self.added or self.removed else tuple(self.cleared)


def write_region(
    node: Any,
    segment_id: str,
    mask: Array,
    start_ijk: Iterable[int],
    matrix: Affine,
    *,
    policy: OverwritePolicy = OverwritePolicy.PROTECT,
) -> RegionChange:
    """Make the segment equal to `mask` (k, j, i; 0 or not) within its box, and leave it as it is elsewhere.

    `matrix` takes the indices (i, j, k) of the mask's whole grid to the segmentation's coordinates
    (`matrix_in_segmentation`), `start_ijk` is the index of the mask's first voxel on it. Other segments are treated by
    the `policy`. A segment with voxels keeps its layer and that layer's grid: on another grid than the mask's, the
    nearest voxels are written. An empty one gets a layer of its own on the mask's grid. Surfaces, where the
    segmentation has any, are made anew for the segments that changed. Raises InputError where the segment is gone, or
    marked as completed; nothing is changed then.
    """
    segment = _segment(node, segment_id)
    if is_locked(segment):
        raise InputError(
            f"Segment '{segment.GetName()}' is completed (locked).",
            "Set its status to 'In progress' in the segment list, or choose another segment.",
        )
    segmentation = node.GetSegmentation()
    if policy is OverwritePolicy.ALLOW_OVERLAP and _shares_layer(segmentation, segment_id):
        segmentation.SeparateSegmentLabelmap(segment_id)
    layer = segment.GetRepresentation(LABELMAP)
    start = tuple(int(x) for x in start_ijk)
    if layer is None or not layer_array(layer).size:
        grid, first, wanted, inside = matrix, start, mask.astype(bool), None
    else:
        grid = layer_matrix(layer)
        first, wanted, inside = box_on_grid(mask, start, matrix, grid)
    protected = _take_out_protected(segmentation, segment_id, wanted, first, grid, policy)
    patches: list[LayerPatch] = []
    cleared: dict[str, int] = {}
    box = bounding_box(wanted.view(np.uint8))
    if box is not None:
        for other, values in _giving_way(segmentation, segment_id, policy):
            patch, lost = _clear(other, values, wanted, first, grid)
            cleared.update(lost)
            patches += [patch] if patch is not None else []
    shown = surfaces.detach(segmentation)
    with _told_once(node, patches):
        if layer is None or not layer_array(layer).size:
            layer = _own_layer(segmentation, segment_id, grid)
        own, added, removed, lost = _patch_of_segment(segmentation, segment_id, layer, wanted, inside, first)
        cleared.update(lost)
        patches += [own] if own is not None else []
        for patch in patches:
            _apply(patch, forward=True)
    change = RegionChange(segment_id, tuple(patches), added, removed, protected, cleared)
    _remake_surfaces(node, shown, change)
    return change


def undo_region(node: Any, change: RegionChange) -> None:
    """Give every voxel that the write changed its former value, in all segments, and the layers their extents.

    Raises InputError where a segment was removed or put into another layer since; nothing is changed then.
    """
    _replay(node, change, forward=False)


def redo_region(node: Any, change: RegionChange) -> None:
    """Do the write again after `undo_region`; raises as that does."""
    _replay(node, change, forward=True)


def segment_mask_on_grid(
    node: Any, segment_id: str, start_ijk: Iterable[int], shape: tuple[int, int, int], matrix: Affine
) -> npt.NDArray[np.bool_]:
    """The segment's voxels in a box of a grid, bool (k, j, i); nearest voxels where its own grid is another one."""
    segment = _segment(node, segment_id)
    layer = segment.GetRepresentation(LABELMAP)
    if layer is None:
        return np.zeros(shape, bool)
    values = values_on_grid(layer, start_ijk, shape, matrix)
    mask: npt.NDArray[np.bool_] = values == segment.GetLabelValue()
    return mask


def _segment(node: Any, segment_id: str) -> Any:
    segment = node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise InputError(
            f"The segment '{segment_id}' is no longer in '{node.GetName()}'.", "Choose or add another segment."
        )
    return segment


def _shares_layer(segmentation: Any, segment_id: str) -> bool:
    layer = segmentation.GetSegment(segment_id).GetRepresentation(LABELMAP)
    others = (segmentation.GetSegment(i) for i in segment_ids(segmentation) if i != segment_id)
    return layer is not None and any(other.GetRepresentation(LABELMAP) is layer for other in others)


def box_on_grid(
    mask: Array, start: tuple[int, ...], source: Affine, target: Affine
) -> tuple[tuple[int, ...], npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None]:
    """A mask (k, j, i) that begins at the index `start` (i, j, k) of a grid, on another grid by nearest voxels.

    Gives (first index, mask, the voxels that the mask's box covers; None for all of them).
    """
    between = np.linalg.inv(target) @ source
    size = np.array(mask.shape)[::-1]
    corner, far = ((between @ np.array([*point, 1.0]))[:3] for point in (start, np.array(start) + size))
    moved = np.rint(corner)
    if max(np.abs(corner - moved).max(), np.abs(far - moved - size).max()) < 0.01:
        return tuple(int(x) for x in moved), mask.astype(bool), None
    covered, voxels = new_layer(mask.shape, start, source, np.uint8)
    np.add(mask != 0, 1, out=voxels, casting="unsafe")
    first, shape = _covering(start, mask.shape, between)
    found = values_on_grid(covered, first, shape, target)
    return first, found == 2, found > 0


def _covering(
    start: Iterable[int], shape: tuple[int, ...], between: Affine
) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """The box (first index i, j, k; shape k, j, i) of another grid that covers a box of this one."""
    low = np.array(tuple(start)) - 0.5
    high = low + np.array(shape)[::-1]
    corners = np.array(
        [(a, b, c, 1.0) for a in (low[0], high[0]) for b in (low[1], high[1]) for c in (low[2], high[2])]
    )
    found = (corners @ between.T)[:, :3]
    first = np.floor(found.min(axis=0) + 0.5).astype(int)
    last = np.ceil(found.max(axis=0) - 0.5).astype(int)
    i, j, k = (int(n) for n in last - first + 1)
    return tuple(int(x) for x in first), (k, j, i)


def _take_out_protected(
    segmentation: Any,
    segment_id: str,
    wanted: npt.NDArray[np.bool_],
    first: tuple[int, ...],
    grid: Affine,
    policy: OverwritePolicy,
) -> int:
    """Take the voxels of protected segments out of `wanted`; how many."""
    ids = [i for i in segment_ids(segmentation) if i != segment_id and protects(policy, segmentation.GetSegment(i))]
    taken = 0
    for layer, values in layers_of(segmentation, ids) if ids else ():
        shape = (wanted.shape[0], wanted.shape[1], wanted.shape[2])
        hit = _one_of(values_on_grid(layer, first, shape, grid), values.values())
        hit &= wanted
        taken += int(np.count_nonzero(hit))
        wanted[hit] = False
    return taken


def _one_of(array: Array, values: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Where the array has one of the values; several times faster than numpy.isin on 8-bit layers."""
    wanted = list(values)
    if len(wanted) == 1:
        return np.asarray(array == wanted[0])
    if array.dtype != np.uint8:
        return np.isin(array, wanted)
    table = np.zeros(256, bool)
    table[wanted] = True
    return table[array]


def _giving_way(segmentation: Any, segment_id: str, policy: OverwritePolicy) -> list[tuple[Any, dict[str, int]]]:
    """The layers, other than the segment's own, of segments that lose what the segment gains."""
    own = segmentation.GetSegment(segment_id).GetRepresentation(LABELMAP)
    ids = [i for i in segment_ids(segmentation) if i != segment_id and gives_way(policy, segmentation.GetSegment(i))]
    return [(layer, values) for layer, values in layers_of(segmentation, ids) if layer is not own]


def _clear(
    layer: Any, values: dict[str, int], wanted: npt.NDArray[np.bool_], first: tuple[int, ...], grid: Affine
) -> tuple[LayerPatch | None, dict[str, int]]:
    """What takes the wanted voxels out of these segments of another layer, and how many each loses."""
    source, voxels = new_layer(wanted.shape, first, grid, np.uint8)
    voxels[...] = wanted
    start, shape = _covering(first, wanted.shape, np.linalg.inv(layer_matrix(layer)) @ grid)
    start, shape = _within(start, shape, layer.GetExtent())
    if not all(shape):
        return None, {}
    hit = values_on_grid(source, start, shape, layer_matrix(layer)) != 0
    before = layer_array(layer)[_slices(layer.GetExtent(), start, shape)]
    hit &= _one_of(before, values.values())
    at = np.flatnonzero(hit).astype(np.int32)
    if not at.size:
        return None, {}
    old = before.ravel()[at] if before.flags.c_contiguous else before[hit]
    extent = tuple(layer.GetExtent())
    patch = LayerPatch(layer, dict(values), extent, extent, start, shape, at, old, np.zeros_like(old))
    lost = {i: int(np.count_nonzero(old == value)) for i, value in values.items()}
    return patch, {i: count for i, count in lost.items() if count}


def _own_layer(segmentation: Any, segment_id: str, grid: Affine) -> Any:
    """Give an empty segment a layer of its own, still without voxels."""
    layer, _ = new_layer((0, 0, 0), (0, 0, 0), grid, np.uint8)
    segment = segmentation.GetSegment(segment_id)
    segment.SetLabelValue(1)
    segment.AddRepresentation(LABELMAP, layer)
    return layer


def _patch_of_segment(
    segmentation: Any,
    segment_id: str,
    layer: Any,
    wanted: npt.NDArray[np.bool_],
    inside: npt.NDArray[np.bool_] | None,
    first: tuple[int, ...],
) -> tuple[LayerPatch | None, int, int, dict[str, int]]:
    """(what makes the segment equal to `wanted`, voxels added, removed, lost by others of the same layer)."""
    value = segmentation.GetSegment(segment_id).GetLabelValue()
    box = bounding_box(wanted.view(np.uint8))
    before_extent: Extent = tuple(layer.GetExtent())
    extent = _grown(before_extent, first, box)
    start, shape = _within(first, wanted.shape, extent)
    if not all(shape):
        return None, 0, 0, {}
    part = tuple(slice(s - f, s - f + n) for s, f, n in zip(start[::-1], first[::-1], shape, strict=True))
    wanted = wanted[part]
    before = _values(layer, start, shape)
    different = before == value
    different ^= wanted
    if inside is not None:
        different &= inside[part]
    at = np.flatnonzero(different).astype(np.int32)
    if not at.size:
        return None, 0, 0, {}
    old = before.ravel()[at]
    new = np.where(wanted.ravel()[at], old.dtype.type(value), old.dtype.type(0))
    ids = [i for i in segment_ids(segmentation) if segmentation.GetSegment(i).GetRepresentation(LABELMAP) is layer]
    values = {i: segmentation.GetSegment(i).GetLabelValue() for i in ids}
    others = {i: int(np.count_nonzero(old == other)) for i, other in values.items() if i != segment_id}
    patch = LayerPatch(layer, values, before_extent, extent, start, shape, at, old, new)
    added, removed = int(np.count_nonzero(new == value)), int(np.count_nonzero(new == 0))
    return patch, added, removed, {i: count for i, count in others.items() if count}


def _grown(extent: Extent, first: tuple[int, ...], box: Box | None) -> Extent:
    """The extent that also covers the box (slices over k, j, i, from `first`)."""
    if box is None:
        return extent
    (i0, i1), (j0, j1), (k0, k1) = (
        (start + side.start, start + side.stop - 1) for start, side in zip(first, box[::-1], strict=True)
    )
    return _union(extent, (i0, i1, j0, j1, k0, k1))


def _within(
    start: tuple[int, ...], shape: tuple[int, ...], extent: Extent
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The part of a box that lies in the extent; a shape with a zero where there is none."""
    low = [max(s, extent[2 * a]) for a, s in enumerate(start)]
    high = [min(s + n - 1, extent[2 * a + 1]) for a, (s, n) in enumerate(zip(start, shape[::-1], strict=True))]
    i, j, k = (max(0, h - lo + 1) for lo, h in zip(low, high, strict=True))
    return (low[0], low[1], low[2]), (k, j, i)


def _slices(extent: Extent, start: tuple[int, int, int], shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    k, j, i = (
        slice(s - e, s - e + n) for s, e, n in zip(start[::-1], (extent[4], extent[2], extent[0]), shape, strict=True)
    )
    return k, j, i


def _values(layer: Any, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Array:
    """A copy of the layer's values in a box (k, j, i); 0 where the layer does not reach."""
    source = layer_array(layer)
    values = np.zeros(shape, source.dtype)
    inner_start, inner_shape = _within(start, shape, tuple(layer.GetExtent()))
    if source.size and all(inner_shape):
        target = tuple(
            slice(a - b, a - b + n) for a, b, n in zip(inner_start[::-1], start[::-1], inner_shape, strict=True)
        )
        values[target] = source[_slices(tuple(layer.GetExtent()), inner_start, inner_shape)]
    return values


@contextmanager
def _told_once(node: Any, patches: Sequence[LayerPatch]) -> Iterator[None]:
    """Who observes the segmentation hears of each changed layer once, at the end (and once more where it grows)."""
    was_modifying = node.StartModify()
    try:
        yield
    finally:
        for layer in {id(patch.layer): patch.layer for patch in patches}.values():
            scalars = layer.GetPointData().GetScalars()
            if scalars is not None:
                scalars.Modified()  # slice views share the voxels, not the layer
            layer.Modified()
        for segment_id in dict.fromkeys(name for patch in patches for name in patch.touched):
            # What slice views listen to; they do not hear of a modified layer.
            node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.RepresentationModified, segment_id)
        node.EndModify(was_modifying)


def _apply(patch: LayerPatch, forward: bool) -> None:
    """Write the values of a patch into its layer, which then has the extent of that state."""
    layer = patch.layer
    if forward:
        _set_extent(layer, _union(tuple(layer.GetExtent()), patch.extent_after))
    box = layer_array(layer)[_slices(tuple(layer.GetExtent()), patch.start_ijk, patch.shape)]
    box[np.unravel_index(patch.at, patch.shape)] = patch.after if forward else patch.before
    if not forward and tuple(layer.GetExtent()) == patch.extent_after:  # else somebody else has grown it since
        _set_extent(layer, patch.extent_before)


def _union(a: Extent, b: Extent) -> Extent:
    if a[0] > a[1] or b[0] > b[1]:
        return b if a[0] > a[1] else a
    i0, j0, k0 = (min(a[n], b[n]) for n in (0, 2, 4))
    i1, j1, k1 = (max(a[n], b[n]) for n in (1, 3, 5))
    return i0, i1, j0, j1, k0, k1


def _set_extent(layer: Any, extent: Extent) -> None:
    """Grow or cut a layer in place: the object stays, as several segments may share it; new voxels are 0."""
    if tuple(layer.GetExtent()) == extent:
        return
    start = (extent[0], extent[2], extent[4])
    k, j, i = (extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0))
    scalars = layer.GetPointData().GetScalars()
    dtype = np.uint8 if scalars is None or not layer_array(layer).size else layer_array(layer).dtype
    resized, voxels = new_layer((max(k, 0), max(j, 0), max(i, 0)), start, layer_matrix(layer), dtype)
    if voxels.size:
        voxels[...] = _values(layer, start, voxels.shape)
    layer.ShallowCopy(resized)


def _replay(node: Any, change: RegionChange, forward: bool) -> None:
    segmentation = node.GetSegmentation()
    for patch in change.patches:
        for segment_id, value in patch.segments.items():
            segment = segmentation.GetSegment(segment_id)
            if segment is None or segment.GetRepresentation(LABELMAP) is not patch.layer:
                raise InputError(
                    f"Segment '{segment_id}' was removed or rebuilt since this step.",
                    "The step can no longer be taken back; correct the segment by further clicks or by hand.",
                )
            if segment.GetLabelValue() != value:
                raise InputError(
                    f"The label value of segment '{segment_id}' was changed since this step.",
                    "The step can no longer be taken back; correct the segment by further clicks or by hand.",
                )
    shown = surfaces.detach(segmentation)
    with _told_once(node, change.patches):
        for patch in change.patches if forward else reversed(change.patches):
            _apply(patch, forward)
    _remake_surfaces(node, shown, change)


def _remake_surfaces(node: Any, shown: dict[str, Any], change: RegionChange) -> None:
    if shown:
        changed = change.changed_segments
        surfaces.attach(node, {i: surface for i, surface in shown.items() if i not in changed})
