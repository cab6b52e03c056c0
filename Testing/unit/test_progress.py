"""Progress of a part of a run, its time left, and cancelling."""

from __future__ import annotations

import pytest

from medai import progress
from medai.errors import Cancelled
from medai.progress import Progress, Stage, check_cancelled, never_cancelled, no_progress


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the module sees; set clock[0] to let time pass."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_stage_maps_its_part_to_the_whole(clock):
    seen: list[Progress] = []
    stage = Stage(seen.append, "inference", 0.2, 0.7)
    stage(0.5)
    stage(1.0)
    stage(7.0)
    stage(-1.0)
    assert [p.fraction for p in seen] == pytest.approx([0.2, 0.45, 0.7, 0.7, 0.2])
    assert {p.stage for p in seen} == {"inference"}


def test_the_time_left_is_that_of_the_whole_run(clock):
    seen: list[Progress] = []
    stage = Stage(seen.append, "inference", 0.2, 0.7)
    clock[0] += 0.4
    stage(0.5)
    assert seen[-1].eta_s is None, "too early to say"
    clock[0] += 9.6
    stage(0.01)
    assert seen[-1].eta_s is None, "too little was done"
    stage(0.5)  # 10 s for a quarter of the run, 55 % are left
    assert seen[-1].eta_s == pytest.approx(22.0)
    Stage(seen.append, "last", 0.9, 1.0)
    stage(1.0)


def test_the_end_of_the_last_stage_has_no_time_left(clock):
    seen: list[Progress] = []
    stage = Stage(seen.append, "write", 0.9, 1.0)
    clock[0] += 5
    stage(1.0)
    assert seen[-1].eta_s == 0.0


def test_an_empty_stage_does_not_divide_by_zero(clock):
    seen: list[Progress] = []
    stage = Stage(seen.append, "nothing", 1.0, 1.0)
    clock[0] += 5
    stage(1.0)
    assert seen[-1].fraction == 1.0


def test_cancelling():
    check_cancelled(never_cancelled)
    no_progress(Progress(0.5, "x"))
    with pytest.raises(Cancelled):
        check_cancelled(lambda: True)
