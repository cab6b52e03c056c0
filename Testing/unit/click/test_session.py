"""A session without a model: prompts make the mask, what is refused changes nothing, undo and redo are exact."""

from __future__ import annotations

import numpy as np
import pytest
from unit.click.phantoms import box_around, dice, phantom, point, ras

from medai.click import MOST_POINTS, ClickSession
from medai.config.requests import Prompt
from medai.errors import Cancelled, GeometryError, InputError, MedAIError
from medai.image import Image


@pytest.fixture(scope="module")
def scene():
    return phantom()


@pytest.fixture
def session(scene):
    return ClickSession.open(scene[0])


def follow(mask, step):
    """What a client does with a step."""
    k0, k1, j0, j1, i0, i1 = step.box
    mask[k0:k1, j0:j1, i0:i1] = step.mask


def test_a_click_segments_what_it_lies_in(scene, session):
    image, first, second = scene
    session.prompt(point(image, (13, 30, 28)))
    assert dice(session.mask, first) > 0.8
    assert not (session.mask.astype(bool) & second).any()
    assert session.engine == "grow-cut"


def test_steps_hold_all_that_changed(scene, session):
    image, *_ = scene
    copy = np.zeros(image.shape, np.uint8)
    prompts = [point(image, (13, 30, 28)), point(image, (13, 30, 45), False), point(image, (13, 40, 58))]
    states = [copy.copy()]
    for prompt in prompts:
        follow(copy, session.prompt(prompt))
        assert np.array_equal(copy, session.mask)
        states.append(copy.copy())
    for expected in states[-2::-1]:
        follow(copy, session.undo())
        assert np.array_equal(copy, expected)
        assert np.array_equal(copy, session.mask)
    for expected in states[1:]:
        follow(copy, session.redo())
        assert np.array_equal(copy, expected)
    assert session.prompts == 3


def bounds_of(mask):
    found = np.argwhere(mask)
    return tuple(
        int(n) for low, high in zip(found.min(axis=0), found.max(axis=0) + 1, strict=True) for n in (low, high)
    )


def test_the_bounds_are_those_of_the_mask_after_every_kind_of_step(scene, session):
    image, first, _ = scene
    session.set_mask(first[5:20, 20:40, 10:45], (5, 20, 20, 40, 10, 45))
    for act in (
        lambda: session.prompt(point(image, (13, 40, 58))),
        lambda: session.prompt(point(image, (13, 30, 28), False)),
        session.undo,
        session.redo,
        session.undo,
        session.undo,
    ):
        act()
        assert session.bounds() == bounds_of(session.mask)
    session.reset()
    assert not session.mask.any()
    assert session.bounds() == (0, 1, 0, 1, 0, 1)
    session.prompt(point(image, (13, 30, 28)))
    assert session.bounds() == bounds_of(session.mask)


def test_undo_takes_the_prompt_itself_back(scene, session):
    image, *_ = scene
    session.prompt(point(image, (13, 30, 28)))
    once = session.mask.copy()
    session.prompt(point(image, (13, 40, 58)))
    session.undo()
    session.undo()
    session.prompt(point(image, (13, 30, 28)))
    assert np.array_equal(session.mask, once)
    with pytest.raises(InputError, match="no prompt to redo"):
        session.redo()


def test_points_are_obeyed(scene, session):
    image, _first, _ = scene
    outside, inside = (13, 55, 10), (13, 30, 33)
    session.prompt(point(image, (13, 30, 28)))
    session.prompt(point(image, outside))
    assert session.mask[outside] == 1
    session.prompt(point(image, inside, False))
    assert session.mask[inside] == 0


def test_a_second_structure_after_reset(scene, session):
    image, first, second = scene
    session.prompt(point(image, (13, 30, 28)))
    copy = session.mask.copy()
    follow(copy, session.reset())
    assert not copy.any()
    assert not session.mask.any()
    session.prompt(point(image, (13, 40, 58)))
    assert dice(session.mask, second) > 0.75
    assert not (session.mask.astype(bool) & first).any()


def test_a_large_structure_is_zoomed_out_to(session):
    shape = (40, 120, 120)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    truth = ((k - 20) / 17) ** 2 + ((j - 60) / 50) ** 2 + ((i - 60) / 52) ** 2 <= 1
    matrix = np.diag([1.0, 1.0, 3.0, 1.0])
    array = truth * 200 + np.random.default_rng(1).normal(0, 10, shape)
    big = ClickSession.open(Image(array[None].astype(np.int16), matrix, "big"))
    big.prompt(point(big.image, (20, 60, 60)))
    assert dice(big.mask, truth) > 0.85


def test_box(scene, session):
    image, first, _ = scene
    prompt = box_around(image, first)
    session.prompt(prompt)
    assert dice(session.mask, first) > 0.75
    inside = prompt.roi.index_box(image)
    outside = session.mask.copy()
    outside[inside] = 0
    assert not outside.any()


def test_scribble_and_lasso(scene, session):
    image, first, _ = scene
    line = tuple(ras(image, (13, 30, i)) for i in (20, 28, 36))
    session.prompt(Prompt("scribble", True, line, radius_mm=1.5))
    assert dice(session.mask, first) > 0.8
    session.reset()
    around = [(13, 30 + 15 * np.sin(t), 28 + 22 * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 24, endpoint=False)]
    session.prompt(Prompt("lasso", True, tuple(ras(image, p) for p in around)))
    assert dice(session.mask, first) > 0.6


def test_a_negative_lasso_cuts_away(scene, session):
    image, _first, _ = scene
    session.prompt(point(image, (13, 30, 28)))
    cut = [(13, j, i) for j, i in ((20, 30), (20, 42), (40, 42), (40, 30))]
    session.prompt(Prompt("lasso", False, tuple(ras(image, p) for p in cut)))
    assert not session.mask[13, 25:35, 32:40].any()


def test_start_from_an_existing_segment(scene, session):
    _image, first, _ = scene
    box = (5, 20, 20, 40, 10, 45)
    part = first[5:20, 20:40, 10:45]
    session.set_mask(part, box)
    assert np.array_equal(session.mask[5:20, 20:40, 10:45], part)
    with pytest.raises(GeometryError, match="does not fit"):
        session.set_mask(part, (0, 3, 0, 3, 0, 3))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (lambda image: point(image, (13, 30, 400)), "outside of image 'phantom'"),
        (lambda image: Prompt("point", True, ((float("nan"), 0.0, 0.0),)), "no number"),
        (lambda image: point(image, (13, 30, 28.2), False), "lies on a positive one"),
        (lambda image: Prompt("scribble", True, ((0.0, 0.0, 0.0),) * (MOST_POINTS + 8000)), "10000 points"),
    ],
)
def test_refused_prompts_change_nothing(scene, session, prompt, message):
    image, *_ = scene
    session.prompt(point(image, (13, 30, 28)))
    before = session.mask.copy()
    with pytest.raises(InputError, match=message) as caught:
        session.prompt(prompt(image))
    assert caught.value.remedy
    assert np.array_equal(session.mask, before)
    assert session.prompts == 1


def test_cancelling_changes_nothing(scene, session):
    image, *_ = scene
    with pytest.raises(Cancelled):
        session.prompt(point(image, (13, 30, 28)), cancelled=lambda: True)
    assert not session.mask.any()
    assert session.prompts == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 5, 6, 7), np.int16), "is empty"),
        (np.zeros((2, 5, 6, 7), np.int16), "2 channels"),
        (np.full((1, 5, 6, 7), np.nan, np.float32), "not finite"),
        (np.zeros((1, 1, 6, 7), np.int16), "not a 3D image"),
    ],
)
def test_images_that_cannot_be_clicked_on(array, message):
    with pytest.raises(MedAIError, match=message):
        ClickSession.open(Image(array, np.eye(4), "odd"))


def test_nothing_to_undo(session):
    with pytest.raises(InputError, match="no prompt to undo"):
        session.undo()
