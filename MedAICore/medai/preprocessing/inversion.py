"""Back to the input grid: labels exactly, logits to labels plane by plane as the sliding window finishes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from medai.image import Array, Box
from medai.preprocessing.logit_blocks import Block, BlockInterpolator, Taps, candidates, interpolator
from medai.preprocessing.probability_maps import ProbabilityMaps
from medai.preprocessing.record import Record
from medai.preprocessing.resampling import resample_labels
from medai.progress import CancelCheck, check_cancelled, never_cancelled

_PROBE_EVERY = 8


def label_dtype(values: Sequence[int]) -> type[np.uint8] | type[np.uint16]:
    """The smallest unsigned type that holds all label values."""
    return np.uint8 if max(values) < 256 else np.uint16


class LabelWriter:
    """Takes the planes of logits (n, m, a, b) in order along one axis and fills `labels` on the input grid.

    Interpolation is trilinear between grids that share their outer faces (torch's ``align_corners=False``). Only one
    block of the input grid is computed at a time, and a running maximum replaces argmax, so that memory does not grow
    with classes times volume. `axis` is the streaming axis of the network's grid (0: k, 1: j, 2: i); the planes have
    the two other axes in ascending order. ``values[n]`` is the label value of class n (several classes may have the
    same); `largest` is a value that the labels' type must hold beside these. `maps` are written from the same
    interpolated logits, where given. With `part` (slices over k, j, i of the network's grid) the planes are those of
    this box alone, and only voxels between its own are written: each exactly as from the whole grid.
    """

    def __init__(
        self,
        record: Record,
        values: Sequence[int],
        axis: int = 0,
        largest: int = 0,
        cancelled: CancelCheck = never_cancelled,
        maps: ProbabilityMaps | None = None,
        part: Box | None = None,
    ) -> None:
        self.labels: Array = np.zeros(record.source_shape, label_dtype((*values, largest)))
        self._values = np.array(values, self.labels.dtype)
        self._cancelled = cancelled
        self._maps = maps
        self._record = record
        self._order = (axis, *(a for a in range(3) if a != axis))
        box = part or (slice(0, record.shape[0]), slice(0, record.shape[1]), slice(0, record.shape[2]))
        self._source_shape = tuple(box[a].stop - box[a].start for a in self._order)
        rows, taps = zip(*(taps_within(record, box, a) for a in self._order), strict=True)
        self._rows: tuple[slice, ...] = rows
        self._taps, self._plane_taps = taps[0], (taps[1], taps[2])
        self._target = self._streamed(self.labels)
        self._interpolator: BlockInterpolator | None = None
        self._filter = _ClassFilter()
        self._kept: torch.Tensor | None = None  # planes that later rows still need
        self._kept_start = 0
        self._next_row = 0

    @torch.inference_mode()
    def add(self, planes: torch.Tensor) -> None:
        """The next m planes of logits, (n, m, a, b), any float type and device. Raises Cancelled."""
        if planes.shape[0] != len(self._values) or tuple(planes.shape[2:]) != self._source_shape[1:]:
            raise ValueError(f"planes {tuple(planes.shape)} for {len(self._values)} classes of {self._source_shape}")
        source = planes if self._kept is None else torch.cat([self._kept, planes], dim=1)
        stop = self._kept_start + source.shape[1]
        taps = self._taps
        last_row = int(np.searchsorted(taps.upper, stop, side="left"))  # rows whose upper plane is there
        if last_row > self._next_row:
            self._write(source, slice(self._next_row, last_row))
        self._next_row = last_row
        first_needed = int(taps.lower[last_row]) if last_row < len(taps.lower) else stop
        keep = max(first_needed - self._kept_start, 0)
        self._kept = source[:, keep:].clone() if keep < source.shape[1] else None
        self._kept_start += keep

    @property
    def takes_parts(self) -> bool:
        """Whether `add_part` may be used: the network's grid is the input's, and no maps are written."""
        same_grid = not self._record.resampled and self._source_shape == self._target.shape
        return same_grid and self._maps is None

    @torch.inference_mode()
    def add_part(self, part: torch.Tensor, plane: int, row: int) -> None:
        """Logits (n, m, r, b) of some rows of some planes, in any order, where nothing has to be interpolated.

        `complete` knows nothing of these.
        """
        check_cancelled(self._cancelled)
        winner, _ = running_argmax(part.unbind(0), range(len(self._values)))
        target = self._target[plane : plane + part.shape[1], row : row + part.shape[2]]
        target[...] = self._values[winner.cpu().numpy()]

    @property
    def complete(self) -> bool:
        """Whether every plane of the input grid's part has been written."""
        return self._next_row == self._target.shape[0]

    def _streamed(self, native: Array) -> Array:
        """A view of an array of the input grid as the planes come: its kept part, the streaming axis first."""
        return self._record.view(native).transpose(self._order)[self._rows]

    def _write(self, source: torch.Tensor, rows: slice) -> None:
        if self._interpolator is None:  # the device is known only now
            kept = len(self._values) if self._maps is not None else 1
            self._interpolator = interpolator(*self._plane_taps, source.device, kept)
        taps = self._taps
        relative = Taps(taps.lower[rows] - self._kept_start, taps.upper[rows] - self._kept_start, taps.fraction[rows])
        with _one_thread(source.device):
            for block in self._interpolator.blocks(source, relative, rows.start):
                check_cancelled(self._cancelled)
                if self._maps is None:
                    self._write_labels(block)
                else:
                    self._write_maps(block, self._maps)
        if self._maps is not None and self._maps.after is not None:
            self._maps.after()

    def _write_labels(self, block: Block) -> None:
        classes = self._filter.classes(block, len(self._values))
        if len(classes) == 1:
            self._target[block.index] = self._values[classes[0]]
            return
        self._write_winners(block, (block.logits(n) for n in classes), self._values[classes])

    def _write_maps(self, block: Block, maps: ProbabilityMaps) -> None:
        logits = [block.logits(n) for n in range(len(self._values))]
        best = self._write_winners(block, logits, self._values)
        maps.write(logits, best, lambda native, values: _put(self._streamed(native), block, values))

    def _write_winners(self, block: Block, logits: Iterable[torch.Tensor], values: Array) -> torch.Tensor:
        if (np.diff(values.astype(np.int64)) > 0).all():
            winner, best = running_argmax(logits, values.tolist())
            self._target[block.index] = block.arranged(winner)
        else:
            winner, best = running_argmax(logits, range(len(values)))
            self._target[block.index] = values[block.arranged(winner)]
        return best


@contextlib.contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """One thread on a CPU: blocks are so small that handing them to a second one costs more than it brings."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def taps_within(record: Record, part: Box, axis: int) -> tuple[slice, Taps]:
    """Along one axis the rows of the record's box on the input grid that lie between voxels of `part`, and the taps."""
    taps = Taps.between(record.shape[axis], record.box_shape[axis])
    return taps.within(part[axis].start, part[axis].stop)


def _put(target: Array, block: Block, values: torch.Tensor) -> None:
    target[block.index] = block.arranged(values)


class _ClassFilter:
    """Finds the classes that a block needs. Where hardly any can be left out, it looks at every eighth block only."""

    def __init__(self) -> None:
        self._worthwhile = True
        self._since = 0

    def classes(self, block: Block, count: int) -> Sequence[int]:
        """The classes that can win in the block, ascending; or all of `count`."""
        self._since += 1
        if not self._worthwhile and self._since < _PROBE_EVERY:
            return range(count)
        self._since = 0
        classes = candidates(block.source())
        # The look costs about a seventh of computing all classes.
        self._worthwhile = len(classes) <= 0.8 * count
        return classes


def invert_labels(labels: Array, record: Record) -> Array:
    """Labels (k, j, i) of the network's grid on the input grid, exactly its shape; 0 outside of the kept part.

    Without resampling this is exact; with it, each label is interpolated linearly and the largest share wins. Where the
    network's logits are at hand, `LabelWriter` keeps the boundary's sub-voxel position and is better.
    """
    native = np.zeros(record.source_shape, labels.dtype)
    record.view(native)[...] = resample_labels(labels, record.box_shape, (1, 1, 1)) if record.resampled else labels
    return native


def invert_logits(logits: torch.Tensor, record: Record, values: Sequence[int]) -> Array:
    """Label values (uint8 or uint16) on the input grid, from logits (n, k, j, i) of the network's grid.

    The logits are interpolated linearly to the input grid, one class and one slab at a time, keeping the running
    maximum: n classes at the input's resolution never exist together. ``values[n]`` is the label value of class n.
    """
    writer = LabelWriter(record, values)
    writer.add(logits)
    return writer.labels


def running_argmax(classes: Iterable[torch.Tensor], values: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The value of the class with the largest logit, and that logit, from one tensor per class; the first of equals.

    `values` must rise: then the class that wins is the largest of those that exceeded all before them. Comparisons that
    give floats, products and maxima are vectorised on a CPU, those that give booleans and filling by a mask are not:
    so this takes a fifteenth of the time of torch's argmax, and a third of that of a loop with `masked_fill_`. The
    values come as uint8, or as int32 where one is above 255.
    """
    best: torch.Tensor | None = None
    winner: torch.Tensor | None = None
    for value, logits in zip(values, classes, strict=True):
        if best is None:
            best = logits
        elif winner is None:
            winner = torch.gt(logits, best, out=torch.empty_like(best)).mul_(value).clamp_min_(values[0])
            best, spare = torch.maximum(best, logits), torch.empty_like(best)
        else:
            torch.maximum(winner, torch.gt(logits, best, out=spare).mul_(value), out=winner)
            torch.maximum(best, logits, out=best)
    if best is None:
        raise ValueError("no classes")
    winner = torch.full_like(best, values[0]) if winner is None else winner
    return winner.to(torch.uint8 if max(values) < 256 else torch.int32), best
