from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medai.config import to_json
from medai.errors import ConfigError
from medai.process_identity import ProcessIdentity
from medai.training import RunFolder


def test_events_are_lines_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.report("step", step=1, loss=0.5)
    folder.report("validation", step=2, mean_dice=0.7)
    with folder.progress.open("a", encoding="utf-8") as stream:
        stream.write('{"event": "step", "st')
    assert [(e["event"], e["step"]) for e in folder.events()] == [("step", 1), ("validation", 2)]


def test_a_resumed_run_forgets_what_it_does_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 5, 9):
        folder.report("step", step=step)
    folder.forget_after(5)
    folder.report("step", step=8)
    assert [(e["event"], e["step"]) for e in folder.events()] == [("step", 1), ("step", 5), ("resume", 5), ("step", 8)]


def test_half_a_line_of_a_killed_process_does_not_take_the_next_event_with_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.report("step", step=1)
    with folder.progress.open("a", encoding="utf-8") as stream:
        stream.write('{"event": "st')
    folder.forget_after(1)
    folder.report("step", step=2)
    assert [(e["event"], e["step"]) for e in folder.events()] == [("step", 1), ("resume", 1), ("step", 2)]


def test_the_log_of_a_run_stays_short(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.log.open("ab", buffering=0) as stderr:  # as the process that trains has it open
        stderr.write(b"a warning of a library\n" * 60_000)
        folder.report("step", step=1)
        stderr.write(b"the last words\n")
    text = folder.log.read_text(encoding="utf-8")
    assert len(text) < 70_000
    assert text.endswith("a warning of a library\nthe last words\n")


def test_a_run_may_be_held_twice_by_one_process(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.locked():
        with folder.locked():
            assert folder.owner() == ProcessIdentity.current()
        assert folder.owner() == ProcessIdentity.current()
    assert folder.owner() is None


def test_the_lock_keeps_another_process_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        try:
            identity = ProcessIdentity.of(other.pid)
            folder.lock.write_text(json.dumps(to_json(identity)), encoding="utf-8")
            assert folder.owner() == identity
            with pytest.raises(ConfigError, match=f"Process {other.pid}"), folder.locked():
                pytest.fail("two processes hold one run folder")
        finally:
            other.kill()


def test_the_lock_of_a_dead_process_does_not_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    current = ProcessIdentity.current()
    folder.lock.write_text(json.dumps({"pid": current.pid, "started": current.started + 1}), encoding="utf-8")
    assert folder.owner() is None
    with folder.locked():
        assert folder.owner() == current
    assert not folder.lock.exists()


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}', "null"])
def test_a_torn_lock_does_not_count(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.lock.write_text(text, encoding="utf-8")
    assert folder.owner() is None
