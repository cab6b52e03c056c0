"""The model click-any that comes with MedAI: its card, and what it does with clicks on phantoms."""

from __future__ import annotations

import numpy as np
import pytest
from unit.click.phantoms import box_around, dice, phantom, point

from medai.click import ClickSession, load_model
from medai.click.clicking import find_model
from medai.click.simulation import next_click
from medai.models import open_model
from medai.models.library import shipped_folder


@pytest.fixture(scope="module")
def package():
    return open_model(shipped_folder() / "click-any")


@pytest.fixture(scope="module")
def model(package):
    return load_model(package, "cpu")


def test_it_is_open_and_small(package):
    card = package.card
    assert (card.id, card.task, card.licence) == ("click-any", "click", "Apache-2.0")
    assert sum(f.stat().st_size for f in package.root.glob("weights-*.safetensors")) <= 4_000_000
    assert len(card.citation) == len(card.training.data) == 6
    licences = {entry.licence for entry in card.training.data}
    assert licences == {"CC-BY-3.0", "MIT", "Apache-2.0", "BSD-3-Clause"}
    text = (package.root / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in text
    for entry in card.training.data:
        assert entry.licence in text


def test_it_is_what_segments_when_no_model_is_named():
    found, notes = find_model("", "cpu")
    assert found is not None
    assert found.card.id == "click-any"
    assert notes == []


@pytest.mark.parametrize("inverted", [False, True])
def test_one_click_finds_an_ellipsoid_of_any_polarity(model, inverted):
    image, first, second = phantom()
    if inverted:
        image = image.with_array(100 - image.array)
    session = ClickSession.open(image, model)
    session.prompt(point(image, (13, 30, 28)))
    assert dice(session.mask > 0, first) > 0.7
    assert not (session.mask[second] > 0).any()


def test_clicks_on_what_is_wrong_make_it_better(model):
    """A structure with two parts of different brightness: one click cannot know that both are meant."""
    image, first, second = phantom(seed=5)
    truth = first | second
    session = ClickSession.open(image, model)
    scores = []
    for _ in range(8):
        click = next_click(truth, session.mask > 0, image.spacing_mm)
        session.prompt(click.prompt(image))
        scores.append(dice(session.mask > 0, truth))
    assert scores[-1] > 0.75
    assert max(scores[3:]) > scores[0]


def test_a_box_is_kept_to(model):
    image, first, _ = phantom()
    session = ClickSession.open(image, model)
    box = box_around(image, first, 2.0)
    session.prompt(box)
    assert dice(session.mask > 0, first) > 0.7
    where, allowed = np.argwhere(session.mask > 0), np.argwhere(first)
    slack = 3.5 / np.array(image.spacing_mm)
    assert (where.min(axis=0) >= allowed.min(axis=0) - slack).all()
    assert (where.max(axis=0) <= allowed.max(axis=0) + slack).all()
