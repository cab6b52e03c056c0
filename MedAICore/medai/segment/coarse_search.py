"""Where a few wanted structures lie, found at half resolution, so that the fine pass need not see the whole volume."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np

from medai.config.segment import SegmentConfig
from medai.errors import is_out_of_memory
from medai.image import Array, Box, Image
from medai.preprocessing import Preprocessing, Record
from medai.preprocessing.inversion import taps_within
from medai.preprocessing.resampling import nearest_indices
from medai.progress import CancelCheck, Stage
from medai.segment.loading import LoadedModel

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

# Spacing of the quick look over the model's own, along the axes that are not much thicker than the finest.
_FACTOR = 2
# The quick look has to save this part of the tiles at least, and the fine pass after it, too.
_LARGEST_SHARE = 0.35
_LARGEST_FINE_SHARE = 0.8
# A voxel belongs to the box where a wanted class is less than this below the best other one (natural logarithm of the
# ratio of their probabilities: 2 is one to seven).
_SENSITIVITY = 2.0
# The quick look is a hint: it needs no more overlap of its tiles.
_LOOK_OVERLAP = 0.25
# The fine part reaches this part of the tiles' overlap beyond the structure. There the tiles that are left out would
# count for less than a twentieth of the others (Gaussian weights of an eighth of a tile, overlaps of 1/4 and 1/2).
_MARGIN = 0.75
# Both resolutions have to agree on every wanted label by this Dice coefficient, or the quick look is not trusted.
_SMALLEST_AGREEMENT = 0.5


@dataclass(frozen=True, eq=False)
class Found:
    """What the quick look saw: the part (k, j, i) of the network's grid, `record`, to compute, and its own labels.

    `labels` (k, j, i) are of the whole, at half resolution; they hold the wanted `values` and 0.
    """

    box: Box
    record: Record
    labels: Array
    values: tuple[int, ...]

    def confirmed_by(self, labels: Array) -> bool:
        """Whether the labels (k, j, i, on the input grid) that the part gave say that it can be relied on.

        They do where no structure reaches the border of the part inside of the volume, and where every wanted label
        overlaps with what the quick look saw of it.
        """
        kept = self.record.view(labels)
        if self._reaches_border(kept):
            _log.info("A structure reaches the border of the part that was found.")
            return False
        places = [nearest_indices(n, m) for n, m in zip(kept.shape, self.labels.shape, strict=True)]
        fine = kept[np.ix_(*places)]
        for value in self.values:
            coarse_mask, fine_mask = self.labels == value, fine == value
            both = int(np.count_nonzero(coarse_mask & fine_mask))
            sizes = int(np.count_nonzero(coarse_mask)) + int(np.count_nonzero(fine_mask))
            if both == 0 or 2 * both < _SMALLEST_AGREEMENT * sizes:
                _log.info("Label %d differs between the resolutions.", value)
                return False
        return True

    def _reaches_border(self, kept: Array) -> bool:
        rows = [taps_within(self.record, self.box, axis)[0] for axis in range(3)]
        part = kept[tuple(rows)]
        for axis, (inside, size) in enumerate(zip(rows, kept.shape, strict=True)):
            planes = np.moveaxis(part, axis, 0)
            if (inside.start > 0 and planes[0].any()) or (inside.stop < size and planes[-1].any()):
                return True
        return False


def worthwhile(
    config: SegmentConfig, shape: tuple[int, int, int], model: LoadedModel, values: tuple[int, ...], overlap: float
) -> bool:
    """Whether a quick look for the labels `values` may be taken on a network's grid of `shape`, and can save tiles.

    Only in `fast` runs of some of a 3D model's labels: what the network sees at another spacing than its own is a hint,
    not a result. Maps (`config.outputs`) are of the whole volume, and an ROI says itself where to compute.
    """
    if config.precision != "fast" or config.outputs or config.roi is not None or model.planar:
        return False
    if not set(values) < set(model.card.label_scheme().values):
        return False
    coarse_mm = _at_half_resolution(model.preprocessing).spacing_mm
    k, j, i = (ceil(n * mm / c) for n, mm, c in zip(shape, model.card.spacing_mm, coarse_mm, strict=True))
    return _tiles((k, j, i), model, _LOOK_OVERLAP) <= _LARGEST_SHARE * _tiles(shape, model, overlap)


def search(
    config: SegmentConfig,
    image: Image,
    model: LoadedModel,
    record: Record,
    values: tuple[int, ...],
    overlap: float,
    stage: Stage,
    cancelled: CancelCheck,
) -> Found | None:
    """Look for the labels `values` at half resolution; None where not every one is found, or nothing would be saved.

    `record` is how the whole `image` was prepared for the fine pass.
    """
    looked = _look(config, image, model, values, stage, cancelled)
    if looked is None:
        return None
    near, labels = looked
    if not set(values) <= set(np.unique(labels).tolist()):
        _log.info("Not every wanted structure was found at half resolution.")
        return None
    box = _aligned(near, record.shape, model.card.patch, overlap)
    k, j, i = (part.stop - part.start for part in box)
    if _tiles((k, j, i), model, overlap) > _LARGEST_FINE_SHARE * _tiles(record.shape, model, overlap):
        return None
    return Found(box, record, labels, values)


def _at_half_resolution(preprocessing: Preprocessing) -> Preprocessing:
    finest = min(preprocessing.spacing_mm)
    k, j, i = (s * _FACTOR if s <= _FACTOR * finest else s for s in preprocessing.spacing_mm)
    return replace(preprocessing, spacing_mm=(k, j, i))


def _tiles(shape: tuple[int, int, int], model: LoadedModel, overlap: float) -> int:
    from medai.inference.tiles import TileGrid

    return len(TileGrid.cover(shape, model.card.patch, overlap))


def _look(
    config: SegmentConfig,
    image: Image,
    model: LoadedModel,
    values: tuple[int, ...],
    stage: Stage,
    cancelled: CancelCheck,
) -> tuple[Array, Array] | None:
    """Where wanted classes are likely (bool), and their labels, (k, j, i); None where memory does not suffice."""
    from medai.inference.degradation import Attempt
    from medai.inference.device import half_precision
    from medai.inference.sliding_window import SlidingWindow
    from medai.segment.engines import make_predictor

    try:
        prepared = _at_half_resolution(model.preprocessing).apply(image, None, cancelled)
        attempt = Attempt(model.card.patch, half_precision(model.device), model.device)
        shape = prepared.array.shape[1:]
        predictor = make_predictor(attempt, replace(config, tta=False), model, shape, _LOOK_OVERLAP)
        window = SlidingWindow(predictor, attempt.patch, _LOOK_OVERLAP)
        axis = window.axis(shape)
        sink = _Sink(prepared.record.shape, axis, model.card.label_scheme().values, values)
        window.stream(prepared.array, sink.add, axis, stage, cancelled)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _log.info("No memory for the quick look at half resolution.")
        return None
    return sink.near, sink.labels


class _Sink:
    """Takes the planes of logits (n, m, a, b) of the quick look."""

    def __init__(self, shape: tuple[int, int, int], axis: int, every: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        self.near: Array = np.zeros(shape, bool)
        self.labels: Array = np.zeros(shape, np.int32)
        order = (axis, *(a for a in range(3) if a != axis))
        self._near = self.near.transpose(order)
        self._labels = self.labels.transpose(order)
        self._classes = [(n, value) for n, value in enumerate(every, start=1) if value in wanted]
        self._others = [n for n in range(len(every) + 1) if n not in {n for n, _ in self._classes}]
        self._row = 0

    def add(self, planes: torch.Tensor) -> None:
        rows = slice(self._row, self._row + planes.shape[1])
        self._row = rows.stop
        wanted = planes[[n for n, _ in self._classes]]
        others = planes[self._others].amax(0)
        best, winner = wanted.max(0)
        lookup = np.array([value for _, value in self._classes], np.int32)
        # NaN from half precision is above nothing: then the structure is not found and the whole volume is computed.
        self._near[rows] = (best > others - _SENSITIVITY).cpu().numpy()
        self._labels[rows] = np.where((best > others).cpu().numpy(), lookup[winner.cpu().numpy()], 0)


def _aligned(near: Array, shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float) -> Box:
    """The box of the mask on the fine grid of `shape`, grown to whole tiles of the sliding window of the whole volume.

    A tile's neighbours reach into it by the overlap. So voxels that are further than that from the box's borders get
    the very logits of the whole volume, and the others of the structure nearly these.
    """
    from medai.inference.tiles import tile_starts

    slices = []
    for axis, (size, tile) in enumerate(zip(shape, patch, strict=True)):
        hit = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
        scale = size / near.shape[axis]
        margin = ceil(_MARGIN * overlap * tile + scale)
        first, last = floor(hit[0] * scale) - margin, ceil((hit[-1] + 1) * scale) + margin
        starts = tile_starts(max(size, tile), tile, overlap)
        start = max([at for at in starts if at <= first], default=0)
        stop = min([at + tile for at in starts if at + tile >= last], default=size)
        slices.append(slice(start, min(stop, size)))
    return slices[0], slices[1], slices[2]
