"""From prompts to a mask: choose the cube, zoom out while the object is cut off by it, and bring the result back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from medai.click.correction import changed_at
from medai.click.engine import ClickEngine
from medai.click.grid import Doubles, Floats, Grid
from medai.click.prompts import Placed, PromptMaps, draw
from medai.image import Array, Box, Image
from medai.networks.click_channels import LIMITS, PERCENTILES
from medai.progress import CancelCheck

_FIRST_MM_PER_VOXEL = 1.0  # of the first look at a click, in the image's in-plane voxels
_MARGIN = 1.6  # side of the cube over the largest extent of mask and prompts
_SMALLEST_VOXELS = 20  # the cube's smallest side, in voxels of the finest axis
_ZOOM = 1.8
_MOST_ZOOMS = 5
_SHELL = 2  # grid voxels at the cube's border in which no object may lie
_SHELL_VOXELS = 6
_TIGHT = 1.25  # side of the refining cube over the object's largest extent
_WORTHWHILE = 0.85  # a refining voxel is at most so long, in voxels of the first look
_LOCAL_FROM = 2  # from this prompt on a point changes only what hangs together with it
_CLOSE_FROM = 4  # from this prompt on there is a look from close by
_CLOSE = 0.5  # its voxels, in those of the look before
_CLOSE_RADIUS = 0.38  # how far it changes the mask, in sides of its cube
_SAME_OBJECT = 0.6  # least Dice of the two looks


@dataclass(frozen=True, eq=False)
class RegionResult:
    """The new mask (k, j, i), 0 or 1, of the voxels in `box`; outside nothing changes."""

    box: Box
    mask: npt.NDArray[np.uint8]
    seconds: dict[str, float]


def segment_region(
    voxels: Array,
    image: Image,
    mask: npt.NDArray[np.uint8],
    occupied: Box | None,
    prompts: Sequence[Placed],
    engine: ClickEngine,
    cancelled: CancelCheck,
) -> RegionResult:
    """Segment around all `prompts` and the `mask` so far; `voxels` (k, j, i) are the image's.

    `occupied` is the smallest box that holds the mask, None where it is empty: to look for it in a whole volume takes
    longer than the network.
    """
    started_s = time.perf_counter()
    look = _search(voxels, image, mask, occupied, prompts, engine, cancelled)
    grid, values, maps = look.grid, look.values, look.maps
    zooms_s = time.perf_counter() - started_s
    if engine.refines:
        grid, values, maps = _refined(voxels, image, mask, prompts, engine, (grid, values, maps), cancelled)
    # The wider cube's voxels are all decided on: what was in the mask there and is not found any more has to go.
    box, inner = _union(look.grid.box(), grid.box()), grid.box()
    new = np.zeros([side.stop - side.start for side in box], np.uint8)
    new[_within(inner, box)] = grid.restore(_connected(values, maps), inner) > 0.5
    if engine.refines and prompts[-1].kind == "point":
        if len(prompts) >= _LOCAL_FROM and mask[box].any():
            new = changed_at(prompts[-1], mask[box], new, box)
        if len(prompts) >= _CLOSE_FROM:
            box, new = _closer(voxels, image, mask, prompts, engine, (grid, box, new), cancelled)
    _obey(new, box, prompts)
    return RegionResult(box, new, {"zooms": zooms_s, "all": time.perf_counter() - started_s})


def _union(a: Box, b: Box) -> Box:
    k, j, i = (slice(min(x.start, y.start), max(x.stop, y.stop)) for x, y in zip(a, b, strict=True))
    return k, j, i


def _within(inner: Box, box: Box) -> Box:
    """A box in the index of another one that holds it."""
    k, j, i = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, box, strict=True))
    return k, j, i


@dataclass(frozen=True, eq=False)
class _Look:
    """What an engine made of one cube."""

    grid: Grid
    picture: Floats
    values: Floats
    maps: PromptMaps
    rating: float


def _search(
    voxels: Array,
    image: Image,
    mask: npt.NDArray[np.uint8],
    occupied: Box | None,
    prompts: Sequence[Placed],
    engine: ClickEngine,
    cancelled: CancelCheck,
) -> _Look:
    """Look at wider and wider cubes until a result stands; the best one where none does.

    A first click says nothing of the object's size: there a network rates every look below 1, and all are compared.
    """
    # Of a box or a lasso the size is known.
    first = occupied is None and not any(p.kind in ("box", "lasso") and p.positive for p in prompts)
    grid = first_grid(image, occupied, prompts, engine.size)
    looks: list[_Look] = []
    for _ in range(_MOST_ZOOMS):
        picture, values, maps = _predict(voxels, mask, prompts, grid, engine, cancelled)
        cut_off = _cut_off(values, grid)
        rated = _connected(values, maps) if first else values
        looks.append(_Look(grid, picture, values, maps, engine.rate(picture, rated, cut_off, first)))
        wider = _wider(grid, image)
        if looks[-1].rating >= 1 or grid.covers_image() or wider.voxel_mm <= grid.voxel_mm:
            break
        grid = wider
    best = max(reversed(looks), key=lambda look: look.rating)
    if first:
        best = replace(best, values=engine.steadied(best.picture, best.values, best.maps))
    return best


def _refined(
    voxels: Array,
    image: Image,
    mask: npt.NDArray[np.uint8],
    prompts: Sequence[Placed],
    engine: ClickEngine,
    coarse: tuple[Grid, Floats, PromptMaps],
    cancelled: CancelCheck,
) -> tuple[Grid, Floats, PromptMaps]:
    """Once more in a tight cube around the object, with the coarse result as the mask so far.

    The coarse result stays where that shows no more detail, where the object would be cut off, and where the two
    looks do not mean the same object.
    """
    grid, values, maps = coarse
    found = np.argwhere(_connected(values, maps) > 0.5)
    if len(found) == 0 or _cut_off(values, grid):
        return coarse
    longest = float((np.ptp(found, axis=0) + 1).max())
    voxel_mm = max(grid.voxel_mm * longest * _TIGHT / grid.size, _finest_mm(image))
    if voxel_mm > _WORTHWHILE * grid.voxel_mm:
        return coarse
    center = grid.to_image((found.min(axis=0) + found.max(axis=0)) / 2)
    tight = _grid(image, center, voxel_mm, grid.size)
    previous = np.clip(tight.from_grid(values, grid), 0, 1)
    _, fine, fine_maps = _predict(voxels, mask, prompts, tight, engine, cancelled, (previous > 0.5).astype(np.float32))
    if _overlap(fine > 0.5, previous > 0.5) < _SAME_OBJECT:
        return coarse
    return tight, fine, fine_maps


def _closer(
    voxels: Array,
    image: Image,
    mask: npt.NDArray[np.uint8],
    prompts: Sequence[Placed],
    engine: ClickEngine,
    result: tuple[Grid, Box, npt.NDArray[np.uint8]],
    cancelled: CancelCheck,
) -> tuple[Box, npt.NDArray[np.uint8]]:
    """A look from close by around the newest point, with the result so far as the mask: what is thin against the whole
    object is seen only there. It changes a ball around the point; nothing where it shows no more detail.
    """
    grid, box, new = result
    voxel_mm = max(_CLOSE * grid.voxel_mm, _finest_mm(image))
    if voxel_mm > _WORTHWHILE * grid.voxel_mm:
        return box, new
    close = _grid(image, prompts[-1].points[0], voxel_mm, grid.size)
    inner = close.box()
    both = _union(box, inner)
    now = mask[both].copy()
    now[_within(box, both)] = new
    # Only the part that the cube samples is needed at full size.
    whole = np.zeros_like(mask)
    whole[both] = now
    previous = (close.sample(whole) > 0.5).astype(np.float32)
    _, values, _ = _predict(voxels, mask, prompts, close, engine, cancelled, previous)
    offsets = np.arange(grid.size) - (grid.size - 1) / 2
    far = np.sqrt(offsets[:, None, None] ** 2 + offsets[:, None] ** 2 + offsets**2) > _CLOSE_RADIUS * grid.size
    near = close.restore((~far).astype(np.float32), inner) > 0.5
    part = now[_within(inner, both)]
    part[near] = (close.restore(values, inner) > 0.5)[near]
    return both, now


def _overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Dice of two masks."""
    return 2 * int(np.count_nonzero(a & b)) / max(int(np.count_nonzero(a)) + int(np.count_nonzero(b)), 1)


def normalised(values: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Intensities on a grid scaled so that the 1st and 99th percentile of those in the image become 0 and 1."""
    low, high = np.percentile(values[inside], PERCENTILES)
    scaled: Floats = np.clip((values - low) / max(high - low, 1e-6), *LIMITS).astype(np.float32)
    return scaled


def first_grid(image: Image, occupied: Box | None, prompts: Sequence[Placed], size: int) -> Grid:
    """The first cube: around the mask's box and prompts with a margin, or of a usual size around a first click."""
    spacing = np.asarray(image.spacing_mm)
    low = np.min([p.low for p in prompts], axis=0)
    high = np.max([p.high for p in prompts], axis=0)
    if occupied is not None:
        low = np.minimum(low, [float(side.start) for side in occupied])
        high = np.maximum(high, [float(side.stop - 1) for side in occupied])
    center = (low + high) / 2
    longest_mm = float(((high - low + 1) * spacing).max())
    drawn = any(p.kind in ("box", "lasso") and p.positive for p in prompts)
    side_mm = max(_MARGIN * longest_mm, _SMALLEST_VOXELS * float(spacing.min()))
    if occupied is None and not drawn:
        # Nothing is known of the object's size yet.
        side_mm = max(side_mm, size * _FIRST_MM_PER_VOXEL * float(np.sort(spacing)[1]))
    return _grid(image, center, side_mm / size, size)


def _finest_mm(image: Image) -> float:
    """The smallest voxel of a cube that shows more than the image's own."""
    finest, middle, _ = np.sort(np.asarray(image.spacing_mm))
    return max(0.8 * float(middle), float(finest))


def _grid(image: Image, center: Doubles, voxel_mm: float, size: int) -> Grid:
    k, j, i = (float(c) for c in center)
    return Grid((k, j, i), voxel_mm, size, image.shape, image.spacing_mm)


def _predict(
    voxels: Array,
    mask: npt.NDArray[np.uint8],
    prompts: Sequence[Placed],
    grid: Grid,
    engine: ClickEngine,
    cancelled: CancelCheck,
    previous: Floats | None = None,
) -> tuple[Floats, Floats, PromptMaps]:
    """The image on the grid, the object there, and the prompts."""
    inside = grid.inside()
    picture = normalised(grid.sample(voxels), inside)
    maps = draw(prompts, grid)
    so_far = grid.sample(mask) if previous is None else previous
    values = engine.predict(picture, so_far, maps, cancelled)
    return picture, np.where(maps.allowed & inside, values, np.float32(0)), maps


def _cut_off(values: Floats, grid: Grid) -> bool:
    """Whether the object reaches the cube's border at places that lie in the image."""
    core = (slice(_SHELL, -_SHELL),) * 3
    shell = values > 0.5
    shell[core] = False
    return int(np.count_nonzero(shell & grid.inside())) > _SHELL_VOXELS


def _wider(grid: Grid, image: Image) -> Grid:
    """A larger cube, but not much larger than the image."""
    side_mm = grid.voxel_mm * grid.size * _ZOOM
    whole_mm = float(max(n * s for n, s in zip(image.shape, image.spacing_mm, strict=True))) * 1.05
    return _grid(image, np.asarray(grid.center), min(side_mm, whole_mm) / grid.size, grid.size)


def _connected(values: Floats, maps: PromptMaps) -> Floats:
    """The pieces of the object that hold a positive prompt; all of it where no piece does."""
    found = values > 0.5
    wanted = (maps.positive > 0.4) | (maps.region > 0)
    if not found.any() or not wanted.any():
        return values
    pieces, _ = scipy.ndimage.label(found, np.ones((3, 3, 3)))
    kept = np.unique(pieces[wanted & found])
    if len(kept) == 0:
        return values
    keep = scipy.ndimage.binary_dilation(np.isin(pieces, kept[kept > 0]))
    return np.where(keep | ~found, values, np.float32(0)).astype(np.float32)


def _obey(new: npt.NDArray[np.uint8], box: Box, prompts: Sequence[Placed]) -> None:
    """A voxel with a positive point is in the mask, one with a negative point is not; later points win."""
    start = np.array([side.start for side in box])
    for prompt in prompts:
        if prompt.kind not in ("point", "scribble"):
            continue
        where = np.round(prompt.points).astype(int) - start
        where = where[((where >= 0) & (where < new.shape)).all(axis=1)]
        new[tuple(where.T)] = prompt.positive
