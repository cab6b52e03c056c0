"""Segments as label maps on a volume's grid, a slab of voxels per step; segments may overlap."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from medai.errors import InputError
from medai.image import Affine, Array, Box, Image
from medai.labels import Label, LabelScheme
from medai.mrml.layers import (
    LABELMAP,
    bounding_box,
    first_index,
    layer_array,
    layer_matrix,
    layers_of,
    segment_ids,
    values_on_grid,
)
from medai.mrml.transforms import difference_between
from medai.mrml.volumes import check_volume, volume_matrix

_SLAB_VOXELS = 1 << 21


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """Segments that do not overlap: their label map, what its values mean, and value -> segment id."""

    label_map: Image
    labels: LabelScheme
    ids: dict[int, str]


class SegmentMaps:
    """Collects segments (`ids`; None: all) on the grid of `volume_node`; `step` does a slab at a time.

    `maps` has as few label maps as the overlaps allow, mostly one. Parent transforms of either node, also warps, are
    followed. Without a volume, the maps lie on the segmentation's own grids, one for each layer (a segmentation may
    hold several grids). Raises InputError (no such segments, segments that are not made of voxels).
    """

    def __init__(self, segmentation_node: Any, volume_node: Any = None, ids: Sequence[str] | None = None) -> None:
        segmentation = segmentation_node.GetSegmentation()
        wanted = list(ids) if ids is not None else segment_ids(segmentation)
        unknown = [i for i in wanted if segmentation.GetSegment(i) is None]
        name = segmentation_node.GetName()
        if unknown or not wanted:
            what = f"no segments {unknown}" if unknown else "no segments"
            raise InputError(f"The segmentation '{name}' has {what}.", "Choose segments that exist.")
        if not segmentation.ContainsRepresentation(LABELMAP):
            raise InputError(
                f"The segments of '{name}' have no binary label map.",
                "Create that representation in the Segmentations module.",
            )
        if volume_node is not None:
            check_volume(volume_node)
        self.warnings: list[str] = []
        self._name = name or ""
        self._names = _unique_names({i: segmentation.GetSegment(i).GetName() or i for i in wanted})
        self._colors = {i: tuple(segmentation.GetSegment(i).GetColor()) for i in wanted}
        self._layers = layers_of(segmentation, wanted)
        self._done = 0.0
        self._found: list[tuple[Array, Affine, dict[int, str]]] = []
        self._left_out = set(wanted)
        self._grid: tuple[tuple[int, int, int], Affine] | None = None
        self._transform: Any = None
        if volume_node is not None:
            self._grid = volume_node.GetImageData().GetDimensions()[::-1], volume_matrix(volume_node)
            self._transform = difference_between(segmentation_node, volume_node)
        self._work = self._slabs_of_all_layers()

    @property
    def fraction(self) -> float:
        """Share of the layers that is done, 0 to 1."""
        return self._done

    def step(self) -> bool:
        """Do the next slab; whether all is done."""
        for _slab in self._work:
            return False
        self._done = 1.0
        return True

    def maps(self) -> list[SegmentMap]:
        """The label maps; InputError where not a single segment has a voxel."""
        if not self._found:
            raise InputError(
                f"The segments of '{self._name}' have no voxels" + (" in the volume." if self._grid else "."),
                "Draw them first, or choose the volume that they were drawn on.",
            )
        return [
            SegmentMap(
                Image(labels[None], matrix, name=self._name),
                LabelScheme(tuple(Label(v, self._names[i], self._colors[i]) for v, i in sorted(ids.items()))),
                ids,
            )
            for labels, matrix, ids in self._found
        ]

    def _slabs_of_all_layers(self) -> Iterator[None]:
        for number, (layer, values) in enumerate(self._layers):
            if self._grid is None:
                matrix = layer_matrix(layer)
                shape = layer_array(layer).shape
                start = np.array(layer.GetExtent()[::2])
                matrix[:, 3] = matrix @ np.array([*start, 1.0])
                yield from self._slabs_of_layer(layer, values, shape, matrix, own_grid=True)
            else:
                yield from self._slabs_of_layer(layer, values, *self._grid, own_grid=False)
            self._done = (number + 1) / len(self._layers)
        if self._left_out:
            self._tell_what_is_left_out()

    def _slabs_of_layer(
        self, layer: Any, values: dict[str, int], shape: tuple[int, int, int], matrix: Affine, own_grid: bool
    ) -> Iterator[None]:
        """Read the layer on the grid into a map of its own, then lay that into a label map that is free there."""
        box = _reach(layer, shape, matrix, None if own_grid else self._transform)
        if box is None:
            return
        ids = dict(enumerate(values, 1))
        table = np.zeros(max(values.values()) + 2, np.uint8 if len(ids) < 256 else np.uint16)
        for number, segment_id in ids.items():
            table[values[segment_id]] = number
        part = np.zeros(tuple(side.stop - side.start for side in box), table.dtype)
        counts = np.zeros(len(ids) + 1, np.int64)
        resampled = 0 if own_grid or self._transform is None else _SLAB_VOXELS // 16  # some 50 times slower than a copy
        for slab in _slabs(part, resampled):
            start = box[2].start, box[1].start, box[0].start + slab.start
            found = values_on_grid(layer, start, part[slab].shape, matrix, None if own_grid else self._transform)
            # Values beyond the table are those of segments that are not wanted: its last entry is 0.
            np.take(table, found, out=part[slab], mode="clip")
            counts += np.bincount(part[slab].ravel(), minlength=len(counts))
            yield
        present = [number for number in ids if counts[number]]
        if not present:
            return
        labels, known = yield from self._free_map(box, part, shape, matrix, own_grid, len(present))
        final = np.zeros(len(ids) + 1, labels.dtype)
        for number in present:
            final[number] = max(known, default=0) + 1
            known[int(final[number])] = ids[number]
        target = labels[box]
        for slab in _slabs(part):
            np.maximum(target[slab], final[part[slab]], out=target[slab])
            yield
        self._left_out -= {ids[number] for number in present}

    def _free_map(
        self, box: Box, part: Array, shape: tuple[int, int, int], matrix: Affine, own_grid: bool, count: int
    ) -> Generator[None, None, tuple[Array, dict[int, str]]]:
        """The first label map that has nothing where `part` has something; a new one where each has."""
        for number, (labels, _, ids) in enumerate([] if own_grid else self._found):
            target, clash = labels[box], False
            for slab in _slabs(part):
                clash = bool((target[slab].astype(bool) & part[slab].astype(bool)).any())
                yield
                if clash:
                    break
            if not clash:
                if len(ids) + count > np.iinfo(labels.dtype).max:
                    labels = labels.astype(np.uint16)
                    self._found[number] = labels, matrix, ids
                return labels, ids
        labels = np.zeros(shape, np.uint8 if count < 256 else np.uint16)
        self._found.append((labels, matrix, {}))
        return labels, self._found[-1][2]

    def _tell_what_is_left_out(self) -> None:
        names = [name for segment_id, name in self._names.items() if segment_id in self._left_out]
        shown = ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        self.warnings.append(f"Left out, as they have no voxels{' in the volume' if self._grid else ''}: {shown}.")


def _slabs(array: Array, voxels: int = 0) -> list[slice]:
    """Slices along the first axis of about so many voxels each, of which a few milliseconds' work is made."""
    planes = max(1, (voxels or _SLAB_VOXELS) // max(1, array[0].size))
    return [slice(k, min(k + planes, len(array))) for k in range(0, len(array), planes)]


def _reach(layer: Any, shape: tuple[int, int, int], matrix: Affine, transform: Any) -> Box | None:
    """The box of the grid (k, j, i) that the layer's voxels may reach; None where they do not.

    Under a warp that is the whole grid.
    """
    inside = bounding_box(layer_array(layer))
    if inside is None:
        return None
    linear = vtk.vtkTransform()
    if transform is not None and not slicer.vtkOrientedImageDataResample.IsTransformLinear(transform, linear):
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    first = np.array(first_index(layer, inside), dtype=float)
    sides = np.array([part.stop - part.start for part in inside[::-1]], dtype=float)
    corners = np.array([first - 0.5 + sides * (a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    ras = (np.c_[corners, np.ones(8)] @ layer_matrix(layer).T)[:, :3]
    if transform is not None:
        ras = np.array([linear.TransformPoint(point) for point in ras])
    ijk = (np.c_[ras, np.ones(8)] @ np.linalg.inv(matrix).T)[:, :3]
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, np.array(shape[::-1]))
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 0, np.array(shape[::-1]))
    if (low >= high).any():
        return None
    return slice(int(low[2]), int(high[2])), slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _unique_names(names: dict[str, str]) -> dict[str, str]:
    """The names, with a number behind each that occurs again: a label scheme has every name once."""
    found: dict[str, str] = {}
    for segment_id, name in names.items():
        unique, number = name, 2
        while unique in found.values():
            unique, number = f"{name} ({number})", number + 1
        found[segment_id] = unique
    return found
