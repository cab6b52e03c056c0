"""Click sessions over the protocol: only changed boxes travel, and a lost session is replayed."""

from __future__ import annotations

import numpy as np
import pytest
from unit.click.phantoms import phantom, point

from medai.config.requests import ClickArgs, ClickOpenArgs, ClickPromptArgs, ClickResetArgs
from medai.errors import ClickSessionError, GeometryError
from medai.image import Image, crop
from medai.progress import never_cancelled, no_progress
from medai.session import SessionFolder
from medai.worker import WarmModels
from medai.worker.click_operations import MOST_SESSIONS, ClickSessions
from medai.worker.run import Run


@pytest.fixture
def folder(tmp_path):
    return SessionFolder.create(tmp_path)


@pytest.fixture
def runs(folder):
    numbers = iter(range(1000))
    return lambda: Run(next(numbers), folder, WarmModels(100.0), no_progress, never_cancelled)


def opened(sessions, runs, folder, image, name="a.raw", **further):
    ref = folder.put_image(name, image)
    return sessions.open(ClickOpenArgs("grow-cut", (ref,), **further), runs())


def follow(copy, image, update, folder):
    part = folder.take_image(update.label_map)
    start = np.linalg.inv(image.ijk_to_ras) @ part.ijk_to_ras[:, 3]
    box = update.box
    assert np.allclose(start[:3], (box[4], box[2], box[0]), atol=1e-6)
    copy[box[0] : box[1], box[2] : box[3], box[4] : box[5]] = part.channel(0)


def test_a_session_and_its_replay(runs, folder):
    image, _first, _ = phantom()
    sessions = ClickSessions()
    value = opened(sessions, runs, folder, image)
    assert value.engine == "grow-cut"
    assert value.update is None
    copy = np.zeros(image.shape, np.uint8)
    prompts = (point(image, (13, 30, 28)), point(image, (13, 30, 45), False))
    for prompt in prompts:
        follow(copy, image, sessions.prompt(ClickPromptArgs(value.click, prompt), runs()), folder)
    assert copy.any()
    done = copy.copy()
    follow(copy, image, sessions.undo(ClickArgs(value.click), runs()), folder)
    follow(copy, image, sessions.redo(ClickArgs(value.click), runs()), folder)
    assert np.array_equal(copy, done)

    replayed = np.zeros(image.shape, np.uint8)
    again = opened(ClickSessions(), runs, folder, image, prompts=prompts)
    follow(replayed, image, again.update, folder)
    assert np.array_equal(replayed, done)

    follow(copy, image, sessions.reset(ClickResetArgs(value.click), runs()), folder)
    assert not copy.any()
    assert not list(folder.path.iterdir())


def test_start_from_a_segment(runs, folder):
    image, first, _ = phantom()
    box = (slice(4, 22), slice(12, 50), slice(5, 50))
    part = crop(image.with_array(first.astype(np.uint8)), box)
    value = opened(ClickSessions(), runs, folder, image, mask=folder.put_image("m.raw", part))
    copy = np.zeros(image.shape, np.uint8)
    follow(copy, image, value.update, folder)
    expected = np.zeros_like(copy)
    expected[box] = first[box]
    assert np.array_equal(copy, expected)
    moved = Image(part.array, part.ijk_to_ras @ np.diag([1.1, 1, 1, 1]))
    with pytest.raises(GeometryError, match="another grid"):
        opened(ClickSessions(), runs, folder, image, "b.raw", mask=folder.put_image("n.raw", moved))


def test_sessions_that_are_gone(runs, folder):
    image, *_ = phantom()
    sessions = ClickSessions()
    names = [opened(sessions, runs, folder, image, f"{n}.raw").click for n in range(MOST_SESSIONS + 1)]
    with pytest.raises(ClickSessionError, match=names[0]) as caught:
        sessions.undo(ClickArgs(names[0]), runs())
    assert caught.value.code == "click-session"
    sessions.close(ClickArgs(names[1]), runs())
    with pytest.raises(ClickSessionError):
        sessions.prompt(ClickPromptArgs(names[1], point(image, (13, 30, 28))), runs())
    sessions.close(ClickArgs(names[1]), runs())
