"""Real worker processes: results, cancel, kill, crash, noise, and that nothing is left of any of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from medai.client import ArrayReader, ChildProcessTransport, Client
from medai.config.messages import MAX_LINE_BYTES, Request, encode
from medai.errors import Cancelled, InputError, MedAIError, OutOfMemoryError, WorkerError
from medai.session import PREFIX

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX signals")
HERE = Path(__file__).parent


def gone(pid):
    deadline = time.monotonic() + 120
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def read(desk, ref):
    reader = ArrayReader(desk.client.session, ref)
    while not reader.step():
        pass
    return reader.array


def echo(desk):
    """One good run; returns its value."""
    _, array = desk.ask("echo")
    desk.wait()
    assert desk.errors == []
    value = desk.results[0]
    np.testing.assert_array_equal(read(desk, value.label_map)[0], array)
    assert desk.files() == []
    return value


def test_result_progress_and_a_warm_model(desk):
    first = echo(desk)
    # 100 reports within milliseconds: the first is sent, the others are held back for 0.1 s each
    assert desk.progress[0].stage == "Counting"
    assert len(desk.progress) < 50
    assert first.labels[0].name == "one"
    assert first.seconds["load_model"] > 0.0
    pid = desk.transport.pid
    second = echo(desk)
    assert second.seconds["load_model"] == 0.0
    assert desk.transport.pid == pid


def test_hello_comes_before_torch(desk):
    desk.ask("cooperative")
    desk.wait_for_stage()
    maps = Path(f"/proc/{desk.transport.pid}/maps")
    if maps.is_file():
        assert "libtorch" not in maps.read_text(encoding="utf-8")
    assert desk.client.hello.pid == desk.transport.pid
    assert [device.id for device in desk.client.hello.devices] == ["cpu"]
    desk.client.drop()


def test_cancel_that_is_obeyed_keeps_the_worker(desk):
    number, _ = desk.ask("cooperative")
    desk.wait_for_stage()
    pid = desk.transport.pid
    desk.client.cancel(number)
    desk.wait()
    assert isinstance(desk.errors[0], Cancelled)
    assert desk.files() == []
    echo(desk)
    assert desk.transport.pid == pid


@POSIX
@pytest.mark.parametrize("deed", ["stuck", "stuck_holding_the_gil"])
def test_cancel_that_cannot_be_obeyed_kills_and_the_next_run_works(desk, deed):
    number, _ = desk.ask(deed)
    desk.wait_for_stage()
    pid = desk.transport.pid
    desk.client.cancel(number)
    desk.wait()
    assert isinstance(desk.errors[0], Cancelled)
    gone(pid)
    assert desk.files() == []
    echo(desk)
    assert desk.transport.pid != pid


@POSIX
def test_cancel_kills_the_whole_tree(desk):
    number, _ = desk.ask("stuck_with_children")
    child = int(desk.wait_for_stage().split()[1])
    assert psutil.pid_exists(child)
    desk.client.cancel(number)
    desk.wait()
    gone(child)


@POSIX
def test_kill_9_is_told_and_the_next_run_works(desk):
    desk.ask("stuck")
    desk.wait_for_stage()
    os.kill(desk.transport.pid, signal.SIGKILL)
    desk.wait()
    assert isinstance(desk.errors[0], OutOfMemoryError)
    assert "signal 9" in desk.errors[0].message
    assert desk.files() == []
    echo(desk)


@POSIX
def test_death_of_the_worker_takes_its_children_along(desk):
    desk.ask("stuck_with_children")
    child = int(desk.wait_for_stage().split()[1])
    os.kill(desk.transport.pid, signal.SIGKILL)
    desk.wait()
    gone(child)
    assert isinstance(desk.errors[0], OutOfMemoryError)


@POSIX
def test_killed_while_idle(desk):
    echo(desk)
    os.kill(desk.transport.pid, signal.SIGKILL)
    # Until its last thread has ended the system still counts it as alive: a request sent in that moment would fail.
    desk.wait(lambda: desk.transport.pid is None)
    echo(desk)


@POSIX
def test_suicide_and_crash(desk):
    desk.ask("killed")
    desk.wait()
    assert isinstance(desk.errors[0], OutOfMemoryError)
    desk.ask("crash")
    desk.wait()
    assert isinstance(desk.errors[0], WorkerError)
    assert "SIGSEGV" in desk.errors[0].message
    echo(desk)


def test_prints_do_not_reach_the_protocol(desk):
    _, array = desk.ask("noisy")
    desk.wait()
    assert desk.errors == []
    np.testing.assert_array_equal(read(desk, desk.results[0].label_map)[0], array)
    tail = desk.transport.log_tail()
    assert len(tail) <= 64 << 10
    assert "the last words" in tail
    # the log's file does not grow without bound either
    desk.client.poll()
    log = next(desk.client.session.path.glob("worker-*.log"))
    assert log.stat().st_size < 1 << 20


@pytest.mark.parametrize(
    ("deed", "code", "text"),
    [
        ("exit", "error", "SystemExit: 3"),
        ("bug", "error", "ZeroDivisionError"),
        ("out_of_memory", "memory", "900 GiB"),
        ("too_long", "input", "xxx"),
    ],
)
def test_failures_of_an_operation_are_answers(desk, deed, code, text):
    desk.ask(deed)
    desk.wait()
    assert isinstance(desk.errors[0], MedAIError)
    assert desk.errors[0].code == code
    assert text in desk.errors[0].message
    assert desk.errors[0].remedy
    pid = desk.transport.pid
    echo(desk)
    assert desk.transport.pid == pid


def test_operation_that_is_not_there_yet(desk):
    _, ref = desk.image()
    desk.client.request("classify", {"model": "m", "images": [ref]}, on_error=desk.errors.append)
    desk.wait()
    assert isinstance(desk.errors[0], InputError)
    assert "not available in this version" in desk.errors[0].message
    assert desk.files() == []


def test_array_file_that_is_too_short(desk):
    desk.ask("echo")
    file = next(desk.client.session.path.glob("a*.raw"))
    os.truncate(file, 5)
    desk.wait()
    assert desk.errors[0].code == "file"
    assert desk.files() == []


def test_malformed_and_overlong_lines_are_answered_and_skipped(desk, caplog):
    echo(desk)
    pid = desk.transport.pid
    desk.transport.send(b"this is no message\n")
    desk.transport.send(b"y" * (3 * MAX_LINE_BYTES) + b"\n")
    desk.wait(lambda: caplog.text.count("worker: A line") == 2 and desk.transport.idle)
    assert "no message" in caplog.text
    assert "more than 1048576" in caplog.text
    echo(desk)
    assert desk.transport.pid == pid


def test_line_of_exactly_the_limit_arrives(desk):
    number, _ = desk.ask("cooperative")
    desk.wait_for_stage()
    room = MAX_LINE_BYTES - len(encode(Request(99, "device.info", {"x": ""})))
    desk.transport.send(encode(Request(99, "device.info", {"x": "y" * room})))  # refused: unknown key, but understood
    desk.client.cancel(number)
    desk.wait()
    assert isinstance(desk.errors[0], Cancelled)
    echo(desk)


def test_requests_queue(desk):
    answers = []
    for model in "abc":
        _, ref = desk.image()
        desk.client.request(
            "segment",
            {"model": model, "images": [ref], "config": {"labels": ["echo"]}},
            on_result=lambda value: answers.append((value.model.id, read(desk, value.label_map).shape)),
            on_error=desk.errors.append,
        )
    desk.wait()
    assert desk.errors == []
    assert answers == [(model, (1, 3, 4, 5)) for model in "abc"]


def test_big_volume_goes_and_comes(desk):
    _, array = desk.ask("echo", shape=(64, 512, 512))
    desk.wait()
    reader = ArrayReader(desk.client.session, desk.results[0].label_map)
    steps = 1
    while not reader.step(1 << 20):
        steps += 1
    assert steps == 16
    np.testing.assert_array_equal(reader.array[0], array)
    assert desk.files() == []


PARENT = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import conftest
from medai.client import ChildProcessTransport, Client
transport = ChildProcessTransport(sys.executable, script=conftest.STUB)
client = Client(transport, session_parent=Path(sys.argv[3]), hello_timeout_s=conftest.LIMIT_S)
desk = conftest.Desk(client, transport)
desk.ask(sys.argv[4])
print(desk.wait_for_stage(), "of", transport.pid, flush=True)
time.sleep(600)
"""


@POSIX
@pytest.mark.parametrize("deed", ["cooperative", "stuck", "stuck_with_children"])
def test_worker_ends_when_its_parent_dies(tmp_path, deed):
    package_root = HERE.parents[2] / "MedAICore"
    command = [sys.executable, "-c", PARENT, str(package_root), str(HERE), str(tmp_path), deed]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    words = parent.stdout.readline()
    assert words, "the client did not come so far"
    pids = [int(number) for number in re.findall(r"\d+", words)]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in pids:
        gone(pid)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(PREFIX)] == []


@POSIX
def test_files_of_a_client_and_worker_killed_together_go_at_the_next_start(tmp_path):
    package_root = HERE.parents[2] / "MedAICore"
    command = [sys.executable, "-c", PARENT, str(package_root), str(HERE), str(tmp_path), "stuck_holding_the_gil"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline().split()[-1])
    parent.kill()
    os.kill(worker, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    gone(worker)
    assert len(list(tmp_path.iterdir())) == 1
    client = Client(ChildProcessTransport(sys.executable), session_parent=tmp_path)
    assert list(tmp_path.iterdir()) == [client.session.path]
    client.close()


@POSIX
@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_runs_cancels_and_kills_leave_nothing(desk, rounds):
    """Each round: five runs, a cancel that is obeyed or not, and every other round a kill."""
    for number in range(rounds):
        for _ in range(5):
            echo(desk)
        request, _ = desk.ask("cooperative" if number % 2 else "stuck")
        desk.wait_for_stage()
        desk.client.cancel(request)
        desk.wait()
        assert isinstance(desk.errors[0], Cancelled)
        if number % 2:
            desk.ask("stuck")
            desk.wait_for_stage()
            os.kill(desk.transport.pid, signal.SIGKILL)
            desk.wait()
            assert isinstance(desk.errors[0], OutOfMemoryError)
        assert desk.files() == []
    alive = [pid for pid in desk.pids if psutil.pid_exists(pid)]
    assert alive == ([desk.transport.pid] if desk.transport.pid else [])
