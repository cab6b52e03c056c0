"""One click session: an image, the prompts so far, and the mask that they made (docs/click.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from medai.click.engine import ClickEngine, make_engine
from medai.click.model import LoadedClickModel
from medai.click.prompts import Placed, place
from medai.click.region import RegionResult, segment_region
from medai.config.requests import Prompt
from medai.errors import GeometryError, InputError
from medai.image import Box, Image
from medai.imageio import check_segmentable, finite_or_filled
from medai.progress import CancelCheck, never_cancelled

Mask = npt.NDArray[np.uint8]
IndexBox = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, eq=False)
class ClickStep:
    """What one step changed: `box` is (k0, k1, j0, j1, i0, i1), ends excluded, in the image's index.

    It covers every voxel that differs from before the step; `mask` (k, j, i), 0 or 1, are the voxels of that box now.
    """

    box: IndexBox
    mask: Mask
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Change:
    """What undo and redo need of a step: the prompt that made it, and the voxels of its box before and after."""

    prompt: Placed
    box: Box
    before: Mask
    after: Mask


class ClickSession:
    """The mask of one structure, made by prompts; undo and redo restore its voxels exactly.

    A prompt that is refused (InputError) or cancelled changes nothing. `engine` is the name of what computes.
    """

    def __init__(self, image: Image, engine: ClickEngine, warnings: Sequence[str] = ()) -> None:
        self.image = image
        self.warnings = tuple(warnings)
        self._engine = engine
        self._voxels = image.channel(0)
        self._mask: Mask = np.zeros(image.shape, np.uint8)
        self._prompts: list[Placed] = []
        self._done: list[_Change] = []
        self._undone: list[_Change] = []
        self._start: Box | None = None  # of the mask that the session began with

    @classmethod
    def open(
        cls, image: Image, model: LoadedClickModel | None = None, cancelled: CancelCheck = never_cancelled
    ) -> ClickSession:
        """A session on `image` (one channel) with `model`; without one grow-cut segments.

        Raises InputError: more channels, an image that is empty or no volume, too many voxels that are not finite.
        """
        if image.channels != 1:
            raise InputError(
                f"Image '{image.name}' has {image.channels} channels.", "Click on an image of one channel."
            )
        check_segmentable(image)
        image, warnings = finite_or_filled(image)
        low, high = image.array.min(), image.array.max()
        if low == high:
            raise InputError(
                f"Image '{image.name}' is empty: every voxel is {low:g}.", "Choose the volume that shows the structure."
            )
        engine = make_engine(model)
        engine.warm_up(cancelled)
        return cls(image, engine, warnings)

    @property
    def engine(self) -> str:
        """What computes: grow-cut, cpu-openvino, cpu-eager, cuda-eager ..."""
        return self._engine.name

    @property
    def mask(self) -> Mask:
        """The mask now (k, j, i), 0 or 1, on the image's grid; not to be written to."""
        view = self._mask.view()
        view.flags.writeable = False
        return view

    @property
    def prompts(self) -> int:
        """How many prompts made the mask."""
        return len(self._prompts)

    def prompt(self, prompt: Prompt, cancelled: CancelCheck = never_cancelled) -> ClickStep:
        """Take one more prompt into account."""
        started_s = time.perf_counter()
        placed = place(prompt, self.image, self._prompts)
        result = segment_region(
            self._voxels, self.image, self._mask, self._occupied(), [*self._prompts, placed], self._engine, cancelled
        )
        box, after = _difference(self._mask, result, _voxel_of(placed, self.image))
        change = _Change(placed, box, self._mask[box].copy(), after)
        self._prompts.append(placed)
        self._done.append(change)
        self._undone.clear()
        self._mask[box] = after
        return _step(box, after, {"predict": time.perf_counter() - started_s, **result.seconds})

    def undo(self) -> ClickStep:
        """Take the last prompt back; InputError where there is none."""
        if not self._done:
            raise InputError("There is no prompt to undo.", "Place one first.")
        change = self._done.pop()
        self._undone.append(change)
        self._prompts.pop()
        self._mask[change.box] = change.before
        return _step(change.box, change.before)

    def redo(self) -> ClickStep:
        """Make the prompt again that was undone last; InputError where there is none."""
        if not self._undone:
            raise InputError("There is no prompt to redo.", "Undo one first.")
        change = self._undone.pop()
        self._done.append(change)
        self._prompts.append(change.prompt)
        self._mask[change.box] = change.after
        return _step(change.box, change.after)

    def bounds(self) -> IndexBox:
        """The smallest box that holds the mask; one voxel where it is empty."""
        k, j, i = self._occupied() or (slice(0, 1), slice(0, 1), slice(0, 1))
        return k.start, k.stop, j.start, j.stop, i.start, i.stop

    def reset(self) -> ClickStep:
        """Empty the mask and forget all prompts, undone ones too; image and engine stay for the next structure."""
        box = self._occupied() or (slice(0, 1), slice(0, 1), slice(0, 1))
        self._mask[box] = 0
        self._start = None
        self._prompts.clear()
        self._done.clear()
        self._undone.clear()
        return _step(box, self._mask[box].copy())

    def set_mask(self, mask: npt.NDArray[np.integer] | npt.NDArray[np.bool_], box: IndexBox) -> None:
        """Start from an existing segment: `mask` (k, j, i) holds the voxels of `box`, all others are 0.

        Prompts made so far are forgotten. GeometryError where the box does not fit the image or the mask.
        """
        sides = tuple(slice(box[2 * a], box[2 * a + 1]) for a in range(3))
        fits = all(0 <= s.start < s.stop <= n for s, n in zip(sides, self.image.shape, strict=True))
        if not fits or mask.shape != tuple(s.stop - s.start for s in sides):
            raise GeometryError(
                f"A mask of shape {mask.shape} for the box {list(box)} does not fit image '{self.image.name}' "
                f"of {self.image.shape}.",
                "Give (k0, k1, j0, j1, i0, i1), ends excluded.",
            )
        self.reset()
        k, j, i = sides
        self._start = (k, j, i)
        self._mask[sides] = mask > 0

    def _occupied(self) -> Box | None:
        """The smallest box that holds the mask; None where it is empty. Only what was ever changed is looked at."""
        touched = [change.box for change in self._done] + ([self._start] if self._start is not None else [])
        if not touched:
            return None
        k, j, i = (slice(min(box[a].start for box in touched), max(box[a].stop for box in touched)) for a in range(3))
        return _bounds(self._mask[k, j, i], (k.start, j.start, i.start))


def _difference(mask: Mask, result: RegionResult, fallback: Box) -> tuple[Box, Mask]:
    """The smallest box of voxels that change, and their values; one voxel where none does."""
    changed = _bounds(mask[result.box] != result.mask)
    if changed is None:
        return fallback, mask[fallback].copy()
    k, j, i = (slice(s.start + c.start, s.start + c.stop) for s, c in zip(result.box, changed, strict=True))
    return (k, j, i), result.mask[changed].copy()


def _bounds(mask: npt.NDArray[np.generic], origin: tuple[int, int, int] = (0, 0, 0)) -> Box | None:
    """The smallest box that holds all voxels above 0, from `origin` on; None where there are none."""
    sides: list[slice] = []
    part = mask
    for axis in range(3):
        # Narrowing as soon as one axis is known keeps this quick on a whole volume.
        found = np.flatnonzero(part.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(found) == 0:
            return None
        side = slice(int(found[0]), int(found[-1]) + 1)
        sides.append(side)
        part = part[(slice(None),) * axis + (side,)]
    k, j, i = (slice(o + side.start, o + side.stop) for o, side in zip(origin, sides, strict=True))
    return k, j, i


def _voxel_of(placed: Placed, image: Image) -> Box:
    """The voxel that a prompt lies on, at the border where it lies outside."""
    voxel = [int(np.clip(round(c), 0, n - 1)) for c, n in zip(placed.points[0], image.shape, strict=True)]
    return slice(voxel[0], voxel[0] + 1), slice(voxel[1], voxel[1] + 1), slice(voxel[2], voxel[2] + 1)


def _step(box: Box, mask: Mask, seconds: dict[str, float] | None = None) -> ClickStep:
    k, j, i = box
    return ClickStep((k.start, k.stop, j.start, j.stop, i.start, i.stop), mask, seconds or {})
