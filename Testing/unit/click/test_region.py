"""The cube around prompts: its geometry, bringing values there and back, and prompts drawn in it."""

from __future__ import annotations

import numpy as np
import pytest
from unit.click.phantoms import box_around, dice, phantom, point, positions_mm, ras

from medai.click import ClickSession
from medai.click.grid import Grid
from medai.click.prompts import draw, place
from medai.click.region import first_grid
from medai.config.requests import Prompt

SHAPE, SPACING = (21, 40, 50), (3.0, 0.9, 0.7)


@pytest.mark.parametrize("voxel_mm", [0.5, 0.9, 1.7])
def test_sampling_a_linear_ramp_is_exact(voxel_mm):
    grid = Grid((10.0, 21.0, 24.0), voxel_mm, 16, SHAPE, SPACING)
    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    found = grid.sample(2 * k - j + 0.5 * i)
    gk, gj, gi = np.meshgrid(*(grid.positions(a) for a in range(3)), indexing="ij")
    assert np.abs(found - (2 * gk - gj + 0.5 * gi)).max() < 0.35
    # Away from sub-sampling nothing is lost at all.
    if voxel_mm < 0.7:
        assert np.allclose(found, 2 * gk - gj + 0.5 * gi, atol=1e-3)


def test_a_ball_keeps_its_place_and_volume_there_and_back():
    grid = Grid((10.0, 20.0, 25.0), 0.8, 40, SHAPE, SPACING)
    k, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    distance = np.sqrt(((k - 10) * 3.0) ** 2 + ((j - 20) * 0.9) ** 2 + ((i - 25) * 0.7) ** 2)
    ball = (distance < 9).astype(np.uint8)
    on_grid = grid.sample(ball)
    radius = (3 * (on_grid > 0.5).sum() * 0.8**3 / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(9, abs=0.6)
    back = grid.restore(on_grid) > 0.5
    truth = ball[grid.box()] > 0
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.95


def test_beyond_the_image_the_border_is_repeated():
    grid = Grid((0.0, 0.0, 0.0), 1.0, 12, SHAPE, SPACING)
    array = np.zeros(SHAPE)
    array[:2, :4, :4] = 5.0
    found = grid.sample(array)
    assert found[0, 0, 0] == pytest.approx(5.0)
    inside = grid.inside()
    assert not inside[0, 0, 0]
    assert inside[6, 6, 6]
    assert grid.box() == (slice(0, 3), slice(0, 7), slice(0, 9))


def test_points_lie_where_they_were_put():
    image, *_ = phantom()
    grid = Grid((13.0, 30.0, 28.0), 1.0, 32, image.shape, image.spacing_mm)
    placed = place(point(image, (15, 33, 20)), image)
    assert np.allclose(placed.points, [[15, 33, 20]], atol=1e-9)
    maps = draw([placed], grid)
    where = np.unravel_index(maps.positive.argmax(), maps.positive.shape)
    expected = grid.to_grid([(15, 33, 20)])[0]
    assert np.abs(np.array(where) - expected).max() <= 0.5
    assert maps.positive.max() == pytest.approx(1.0)
    assert not maps.negative.any()


def test_an_oblique_box_is_drawn_where_it_is():
    image, first, _ = phantom()
    grid = Grid((13.0, 30.0, 28.0), 1.0, 40, image.shape, image.spacing_mm)
    roi_prompt = Prompt("box", roi=box_around(image, first).roi)
    maps = draw([place(roi_prompt, image)], grid)
    drawn = grid.restore(maps.region.astype(np.float32)) > 0.5
    where, margin = np.argwhere(first), 1.0 / np.array(image.spacing_mm)
    low, high = where.min(axis=0) - 0.5 - margin, where.max(axis=0) + 0.5 + margin
    every = np.stack(np.indices(image.shape), axis=-1)
    expected = ((every >= low) & (every <= high)).all(axis=-1)[grid.box()]
    assert dice(drawn, expected) > 0.93
    assert np.array_equal(maps.allowed, maps.region > 0)


def test_a_tilted_lasso_lies_in_its_plane():
    image, *_ = phantom()
    center = np.array(ras(image, (13, 30, 28)))
    u, v = np.array([1.0, 0.2, 0.1]), np.array([0.0, 0.5, 1.0])
    u, v = u / np.linalg.norm(u), v - (v @ u) / (u @ u) * u
    v = v / np.linalg.norm(v)
    ring = [tuple(center + 9 * (np.cos(t) * u + np.sin(t) * v)) for t in np.linspace(0, 2 * np.pi, 40, endpoint=False)]
    grid = Grid((13.0, 30.0, 28.0), 1.0, 40, image.shape, image.spacing_mm)
    maps = draw([place(Prompt("lasso", True, tuple(ring)), image)], grid)
    area = (maps.region > 0).sum()
    assert area == pytest.approx(np.pi * 81 * np.linalg.norm(np.abs(np.cross(u, v)), 1), rel=0.25)
    drawn = grid.restore(maps.region)
    where = positions_mm(image.ijk_to_ras)[grid.box()][drawn > 0.5]
    assert np.abs((where - center) @ np.cross(u, v)).max() < 2.0


def test_the_first_cube_is_square_in_mm_and_grows_with_the_mask():
    image, first, _ = phantom()
    placed = place(point(image, (13, 30, 28)), image)
    alone = first_grid(image, None, [placed], 48)
    assert alone.center == pytest.approx((13, 30, 28))
    found = np.argwhere(first)
    k, j, i = (slice(int(low), int(high) + 1) for low, high in zip(found.min(axis=0), found.max(axis=0), strict=True))
    around = first_grid(image, (k, j, i), [placed], 48)
    extent_mm = max((np.ptp(np.argwhere(first), axis=0) + 1) * np.array(image.spacing_mm))
    assert around.voxel_mm * 48 == pytest.approx(1.6 * extent_mm)


class BrightEngine:
    """Finds everything that is bright and near enough to a positive click; it asks for refinement."""

    name, size, refines = "bright", 32, True

    def warm_up(self, cancelled=None):
        """Nothing."""

    def rate(self, image, values, cut_off, first):
        """Stands unless cut off."""
        return 0.0 if cut_off else 0.9

    def steadied(self, image, values, maps):
        """As it is."""
        return values

    def predict(self, image, previous, maps, cancelled=None):
        """Bright voxels; none near a negative click."""
        return ((image > 0.5) & (maps.negative < 0.01)).astype(np.float32)


def test_what_is_not_found_any_more_leaves_the_mask():
    """A mask that is far too large gives way to a small object, though that is refined in a small cube."""
    image, _, second = phantom(noise=2.0)
    session = ClickSession(image, BrightEngine())
    k, j, i = image.shape
    session.set_mask(np.ones(image.shape, bool), (0, k, 0, j, 0, i))
    session.prompt(point(image, (13, 40, 58)))
    assert session.mask[13, 40, 58]
    assert not session.mask[:3].any()
    assert session.mask.sum() < 1.5 * second.sum()


class RatingEngine(BrightEngine):
    """Rates looks as it is told; counts them."""

    def __init__(self, ratings):
        self.ratings, self.looks = list(ratings), 0

    def rate(self, image, values, cut_off, first):
        """The next rating; the voxels' size cannot be seen from here."""
        self.looks += 1
        return self.ratings[min(self.looks - 1, len(self.ratings) - 1)]


def test_a_first_click_compares_looks_and_takes_the_best():
    image, first, _ = phantom(noise=2.0)
    engine = RatingEngine([0.5, 0.9, 0.6, 0.4, 0.4])
    session = ClickSession(image, engine)
    session.prompt(point(image, (13, 30, 28)))
    # As soon as a cube cannot become wider there is nothing more to see.
    assert 2 <= engine.looks <= 5
    assert dice(session.mask, first) > 0.9


def test_a_look_that_stands_ends_the_search():
    image, *_ = phantom(noise=2.0)
    engine = RatingEngine([0.5, 1.0, 0.2])
    ClickSession(image, engine).prompt(point(image, (13, 30, 28)))
    assert engine.looks == 2


class FickleEngine(BrightEngine):
    """Finds what is bright; from the third point on it forgets one half of the cube."""

    def predict(self, image, previous, maps, cancelled=None):
        """Bright voxels, from the third point on only those on the far side along i."""
        found = image > 0.3
        if int((maps.positive > 0.99).sum()) >= 3:
            found = found.copy()
            found[:, :, : found.shape[2] // 2] = False
        return found.astype(np.float32)


def test_a_later_point_changes_only_what_hangs_together_with_it():
    """From the third point on: what it says of its own place is done, what the engine changes elsewhere is not."""
    image, first, second = phantom(noise=2.0)
    session = ClickSession(image, FickleEngine())
    session.prompt(point(image, (13, 30, 28)))
    session.prompt(point(image, (13, 30, 32)))
    before = session.mask.copy()
    assert dice(before, first) > 0.85
    # A point in the other ball adds that ball; half of the first one, which the engine now leaves out, stays.
    session.prompt(point(image, (13, 40, 58)))
    after = session.mask > 0
    assert (after[second]).mean() > 0.7
    assert after[before > 0].mean() > 0.9
