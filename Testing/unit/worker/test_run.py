"""One request in this process: one answer whatever happens, progress held back, nothing left in the session folder."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from medai.client import Client, InProcessTransport
from medai.config.messages import (
    PROTOCOL_VERSION,
    ErrorEvent,
    Hello,
    LogEvent,
    ProgressEvent,
    Request,
    ResultEvent,
    decode_from_worker,
    encode,
)
from medai.config.requests import EvaluateValue, ModelsList
from medai.errors import Cancelled, MedAIError, is_out_of_memory
from medai.progress import Progress, check_cancelled
from medai.session import SessionFolder
from medai.worker import WarmModels, run_request
from medai.worker.run import ProgressThrottle
from medai.worker.server import Server, _lines


@pytest.fixture
def session(tmp_path):
    return SessionFolder.create(tmp_path)


def answer(operation, session, args=None, op="models.list", cancelled=lambda: False):
    lines = []
    request = Request(5, op, args or {})
    run_request(
        request, {"models.list": operation, "evaluate": operation}, lines.append, cancelled, session, WarmModels(1)
    )
    return [decode_from_worker(line) for line in lines]


def test_result(session):
    assert answer(lambda args, run: ModelsList(()), session) == [ResultEvent(5, {"models": []})]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
            "memory",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), "memory"),
        (RuntimeError("size mismatch"), "error"),
        (KeyError("x"), "error"),
        (SystemExit(1), "error"),
        (Cancelled(), "cancelled"),
        (MedAIError("Plain.", "Help."), "error"),
    ],
)
def test_every_failure_is_an_answer(session, error, code):
    def fail(args, run):
        raise error

    (event,) = answer(fail, session)
    assert isinstance(event, ErrorEvent)
    assert (event.id, event.code) == (5, code)
    assert event.message
    assert is_out_of_memory(error) == (code == "memory")


def test_values_that_cannot_be_sent_are_an_error(session):
    for value in (EvaluateValue({"dice": float("nan")}), EvaluateValue({"x": "y" * (1 << 20)})):
        (event,) = answer(lambda args, run, value=value: value, session)
        assert isinstance(event, ErrorEvent)
        assert event.code == "protocol"


def test_cancelled_before_it_began(session):
    (event,) = answer(lambda args, run: ModelsList(()), session, cancelled=lambda: True)
    assert event.code == "cancelled"


def test_failed_run_leaves_no_array(session, oblique_image):
    refs = [session.put_image(f"a{n}.raw", oblique_image) for n in (1, 2)]
    args = {
        key: {"file": ref.file, "dtype": ref.dtype, "shape": ref.shape, "ijk_to_ras": ref.ijk_to_ras}
        for key, ref in zip(("reference", "prediction"), refs, strict=True)
    }

    def fail(args, run):
        image = run.take(args.reference)  # the other one is never looked at
        run.put(image)
        raise ValueError("late")

    (event,) = answer(fail, session, args, op="evaluate")
    assert "late" in event.message
    assert list(session.path.iterdir()) == []


def test_unknown_and_unserved_operations(session):
    assert answer(None, session, op="click.undo")[0].code == "input"
    assert answer(None, session, op="nonsense")[0].code == "protocol"
    assert answer(None, session, args={"x": 1})[0].code == "config"


def test_progress_is_at_most_ten_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("medai.worker.run.time.monotonic", lambda: now[0])
    lines = []
    throttle = ProgressThrottle(7, lines.append)
    for step in range(1000):  # ten seconds
        now[0] = 100.0 + step * 0.01
        throttle(Progress(step / 1000, "Working"))
    assert 90 <= len(lines) <= 101
    lines.clear()
    throttle(Progress(1.5, "Last"))
    assert lines == []
    now[0] += 0.1
    throttle.flush()
    throttle.flush()
    assert [decode_from_worker(line) for line in lines] == [ProgressEvent(7, 1.0, "Last")]
    throttle(Progress(0.5, "late"))
    throttle.close()
    now[0] += 1.0
    throttle.flush()
    assert len(lines) == 1


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_lines_are_cut_out_of_a_stream(size, monkeypatch):
    monkeypatch.setattr("medai.worker.server.MAX_LINE_BYTES", 30)
    stream = b"one\n" + b"two two\n\n" + b"x" * 100 + b"\nlast\nno end"
    parts = [stream[start : start + size] for start in range(0, len(stream), size)] + [b""]
    monkeypatch.setattr("medai.worker.server.os.read", lambda fd, most: parts.pop(0))
    found = list(_lines(0))
    assert found[:3] == [b"one\n", b"two two\n", b"\n"]
    assert len(found) == 5
    assert 30 < len(found[3]) <= 101
    assert found[4] == b"last\n"


def in_process(operation, tmp_path):
    models = WarmModels(1)

    def run(request, deliver, cancelled, session):
        run_request(request, {"models.list": operation}, deliver, cancelled, session, models)

    import medai

    transport = InProcessTransport(run, encode(Hello(PROTOCOL_VERSION, medai.__version__, os.getpid())))
    return Client(transport, session_parent=tmp_path)


def drain(client):
    while client.busy:
        client.poll()


def test_in_process_transport(tmp_path):
    def operation(args, run):
        run.progress(Progress(0.5, "Half"))
        return ModelsList(())

    client = in_process(operation, tmp_path)
    progress, results = [], []
    for _ in range(2):
        client.request("models.list", on_progress=progress.append, on_result=results.append)
    drain(client)
    assert [p.stage for p in progress] == ["Half", "Half"]
    assert len(results) == 2
    client.close()
    assert list(tmp_path.iterdir()) == []


def test_in_process_cancel_from_a_callback(tmp_path):
    def operation(args, run):
        run.progress(Progress(0.5, "Half"))
        for _ in range(10):
            check_cancelled(run.cancelled)
        return ModelsList(())

    client = in_process(operation, tmp_path)
    errors = []
    number = client.request("models.list", on_progress=lambda p: client.cancel(number), on_error=errors.append)
    drain(client)
    assert isinstance(errors[0], Cancelled)
    client.close()


def test_in_process_exception_of_a_callback_is_not_the_operations(tmp_path):
    def operation(args, run):
        run.progress(Progress(0.5, "Half"))
        return ModelsList(())

    def fail(_):
        raise ZeroDivisionError("of the caller")

    client = in_process(operation, tmp_path)
    results = []
    client.request("models.list", on_progress=fail, on_result=results.append)
    with pytest.raises(ZeroDivisionError, match="of the caller"):
        drain(client)
    drain(client)
    assert len(results) == 1
    client.close()


def test_log_of_medai_reaches_the_client(session):
    import logging

    from medai.worker.run import EventLogHandler

    lines = []
    logger = logging.getLogger("medai.test_log")
    handler = EventLogHandler(lines.append, lambda: 4)
    logger.addHandler(handler)
    try:
        logger.info("not this")
        logger.warning("%d voxels", 3)
        logger.error("broken")
    finally:
        logger.removeHandler(handler)
    assert [decode_from_worker(line) for line in lines] == [
        LogEvent("warning", "3 voxels", 4),
        LogEvent("error", "broken", 4),
    ]


def test_server_writes_whole_lines_to_a_slow_reader(session):
    import threading

    read_fd, write_fd = os.pipe()
    server = Server(-1, write_fd, session, None, {}, WarmModels(1))
    line = encode(LogEvent("info", "x" * 500_000))  # larger than a pipe
    writers = [threading.Thread(target=server.emit, args=(line,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    received = b""
    while len(received) < 3 * len(line):
        received += os.read(read_fd, 70_001)
    for writer in writers:
        writer.join()
    assert received == line * 3
    os.close(read_fd)
    os.close(write_fd)


def test_take_gives_private_memory(session, oblique_image):
    ref = session.put_image("a1.raw", oblique_image)
    image = session.take_image(ref)
    image.array[...] = 0
    assert not np.array_equal(image.array, oblique_image.array)
