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
    assert [event["step"] for event in folder.events()] == [1, 5]


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
