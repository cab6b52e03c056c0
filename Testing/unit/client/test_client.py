"""The client against a transport whose worker the test plays: order, cancel, crash, versions, callbacks, files."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

import medai
from medai.client import ArrayWriter, Client, WorkerExit
from medai.config.messages import (
    PROTOCOL_VERSION,
    Cancel,
    ErrorEvent,
    Hello,
    LogEvent,
    ProgressEvent,
    Request,
    ResultEvent,
    decode_from_client,
    encode,
)
from medai.errors import (
    Cancelled,
    ConfigError,
    EnvironmentFailure,
    GeometryError,
    OutOfMemoryError,
    ProtocolError,
    WorkerError,
)

MATRIX = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
RESULT = {
    "label_map": {"file": "r1-1.raw", "dtype": "uint8", "shape": [1, 2, 3, 4], "ijk_to_ras": MATRIX},
    "labels": [],
    "model": {"id": "m", "version": "1", "device": "cpu", "memory_mb": 1.0},
    "seconds": {},
    "engine": "none",
    "precision": "exact",
}
HELLO = Hello(PROTOCOL_VERSION, medai.__version__, 1)


class PlayedTransport:
    """A transport whose worker is the test: `lines` is what it says, `sent` what it was told."""

    def __init__(self, hello: Hello | None = HELLO):
        self.hello = hello
        self.lines: deque[bytes] = deque()
        self.sent: list[Request | Cancel] = []
        self.running = False
        self.starts = self.kills = 0
        self.exit: WorkerExit | None = None
        self.refuse: Exception | None = None

    @property
    def idle(self):
        return not self.lines

    def start(self, session):
        if self.refuse:
            raise self.refuse
        self.running = True
        self.starts += 1
        if self.hello:
            self.lines.append(encode(self.hello))

    def send(self, line):
        self.sent.append(decode_from_client(line))

    def poll(self, deliver):
        while self.lines:
            deliver(self.lines.popleft())

    def take_exit(self):
        found, self.exit = self.exit, None
        if found:
            self.running = False
        return found

    def kill(self):
        self.kills += 1
        self.running = False
        self.lines.clear()

    def close(self):
        self.kill()

    def say(self, *events):
        self.lines.extend(encode(event) for event in events)


class Heard:
    """What one request's callbacks were told."""

    def __init__(self):
        self.progress, self.results, self.errors = [], [], []

    @property
    def callbacks(self):
        return {
            "on_progress": self.progress.append,
            "on_result": self.results.append,
            "on_error": self.errors.append,
        }


@pytest.fixture
def transport():
    return PlayedTransport()


@pytest.fixture
def client(transport, tmp_path):
    client = Client(transport, session_parent=tmp_path, cancel_grace_s=1000.0)
    yield client
    client.close()
    assert list(tmp_path.iterdir()) == []


def polls(client, count=4):
    for _ in range(count):
        client.poll()


def ask(client, op="models.list"):
    heard = Heard()
    return client.request(op, **heard.callbacks), heard


def array(client):
    writer = ArrayWriter(client.session, np.zeros((2, 3, 4), np.uint8), np.eye(4))
    while not writer.step():
        pass
    return writer.ref


def files(client):
    return sorted(path.name for path in client.session.path.iterdir())


def test_result_and_progress(client, transport):
    number, heard = ask(client)
    assert transport.starts == 0  # nothing happens before poll
    polls(client)
    assert transport.sent == [Request(number, "models.list", {})]
    transport.say(ProgressEvent(number, 0.5, "Half", 3.0), ResultEvent(number, {"models": []}))
    polls(client)
    assert [(p.fraction, p.stage, p.eta_s) for p in heard.progress] == [(0.5, "Half", 3.0)]
    assert heard.results[0].models == ()
    assert heard.errors == []
    assert not client.busy


def test_one_at_a_time_in_order(client, transport):
    first, _ = ask(client)
    second, heard = ask(client)
    polls(client)
    assert [message.id for message in transport.sent] == [first]
    transport.say(ErrorEvent("geometry", "Crooked.", "Straighten it.", first))
    polls(client)
    assert [message.id for message in transport.sent] == [first, second]
    transport.say(ResultEvent(second, {"models": []}))
    polls(client)
    assert len(heard.results) == 1
    assert transport.starts == 1


def test_errors_arrive_as_what_they_were(client, transport):
    number, heard = ask(client)
    polls(client)
    transport.say(ErrorEvent("geometry", "Crooked.", "Straighten it.", number))
    polls(client)
    assert isinstance(heard.errors[0], GeometryError)
    assert (heard.errors[0].message, heard.errors[0].remedy) == ("Crooked.", "Straighten it.")


def test_wrong_requests_are_refused_before_they_are_sent(client, transport):
    with pytest.raises(ProtocolError, match="no operation"):
        client.request("segmentt")
    with pytest.raises(ConfigError, match="model"):
        client.request("segment", {"images": []})
    assert not client.busy


def test_cancel_of_a_waiting_request_needs_no_worker(client, transport):
    first, _ = ask(client)
    second, heard = ask(client)
    polls(client)
    client.cancel(second)
    polls(client)
    assert isinstance(heard.errors[0], Cancelled)
    assert [message.id for message in transport.sent] == [first]


def test_cancel_that_is_obeyed_keeps_the_worker(client, transport):
    number, heard = ask(client)
    polls(client)
    client.cancel(number)
    client.cancel(number)
    assert transport.sent[1:] == [Cancel(number)]
    transport.say(ProgressEvent(number, 0.9, "late"), ErrorEvent("cancelled", "Cancelled.", "", number))
    polls(client)
    assert isinstance(heard.errors[0], Cancelled)
    assert heard.progress == []
    assert transport.kills == 0


def test_cancel_that_is_not_obeyed_kills(transport, tmp_path):
    client = Client(transport, session_parent=tmp_path, cancel_grace_s=0.0)
    number, heard = ask(client)
    _, next_heard = ask(client)
    polls(client)
    client.cancel(number)
    polls(client)
    assert transport.kills == 1
    assert isinstance(heard.errors[0], Cancelled)
    assert transport.starts == 2  # for the next request
    transport.say(ResultEvent(transport.sent[-1].id, {"models": []}))
    polls(client)
    assert len(next_heard.results) == 1
    client.close()


def test_cancel_that_crosses_the_result_is_still_a_cancel(client, transport):
    number, heard = ask(client)
    polls(client)
    client.cancel(number)
    (client.session.path / f"r{number}-1.raw").write_bytes(b"x")
    transport.say(ResultEvent(number, {"models": []}))
    polls(client)
    assert heard.results == []
    assert isinstance(heard.errors[0], Cancelled)
    assert files(client) == []


@pytest.mark.parametrize(
    ("code", "log", "kind", "text"),
    [
        (-9, "", OutOfMemoryError, "signal 9"),
        (0xC0000017, "", OutOfMemoryError, "0xC0000017"),
        (-11, "Fatal Python error\nlast words\n", WorkerError, "SIGSEGV): last words"),
        (0xC0000005, "", WorkerError, "access violation"),
        (3, "", WorkerError, "exit code 3"),
        (-250, "", WorkerError, "signal 250"),
    ],
)
def test_death_of_the_worker_fails_one_request_only(client, transport, code, log, kind, text):
    _, heard = ask(client)
    _, next_heard = ask(client)
    polls(client)
    transport.exit = WorkerExit(code, log)
    polls(client)
    assert type(heard.errors[0]) is kind
    assert text in heard.errors[0].message
    assert heard.errors[0].remedy
    assert transport.starts == 2
    transport.say(ResultEvent(transport.sent[-1].id, {"models": []}))
    polls(client)
    assert len(next_heard.results) == 1


def test_worker_that_cannot_start(transport, client):
    transport.hello = None
    _, heard = ask(client)
    polls(client)
    transport.exit = WorkerExit(1, "ModuleNotFoundError: No module named 'encodings'\n")
    polls(client)
    assert isinstance(heard.errors[0], EnvironmentFailure)
    assert "encodings" in heard.errors[0].message


def test_interpreter_that_cannot_be_run(transport, client):
    transport.refuse = EnvironmentFailure("No such interpreter.", "Choose another.")
    _, heard = ask(client)
    polls(client)
    assert heard.errors == [transport.refuse]
    assert not client.busy


def test_worker_that_never_greets(transport, tmp_path):
    transport.hello = None
    client = Client(transport, session_parent=tmp_path, hello_timeout_s=0.0)
    _, heard = ask(client)
    polls(client)
    assert isinstance(heard.errors[0], EnvironmentFailure)
    assert transport.kills == 1
    client.close()


@pytest.mark.parametrize("change", [{"protocol": 2}, {"medai": "9.9.9"}])
def test_another_version_is_an_error(client, transport, change):
    transport.hello = Hello(**{"protocol": PROTOCOL_VERSION, "medai": medai.__version__, "pid": 1} | change)
    _, heard = ask(client)
    polls(client)
    assert isinstance(heard.errors[0], ProtocolError)
    assert str(next(iter(change.values()))) in heard.errors[0].message
    assert transport.sent == []
    assert transport.kills == 1


@pytest.mark.parametrize("line", [b"Segmentation fault\n", b'{"type": "surprise"}\n', b"x" * (1 << 20) + b"\n"])
def test_worker_that_talks_nonsense_is_ended(client, transport, line):
    _, heard = ask(client)
    polls(client)
    transport.lines.append(line)
    polls(client)
    assert isinstance(heard.errors[0], ProtocolError)
    assert transport.kills == 1


def test_result_of_the_wrong_shape(client, transport):
    number, heard = ask(client)
    polls(client)
    transport.say(ResultEvent(number, {"surprise": 1}))
    polls(client)
    assert isinstance(heard.errors[0], ProtocolError)


def test_events_of_no_open_request_are_ignored(client, transport, caplog):
    number, heard = ask(client)
    polls(client)
    (client.session.path / "r99-1.raw").write_bytes(b"x")
    transport.say(
        ProgressEvent(99, 0.1, "?"),
        ResultEvent(99, {}),
        ErrorEvent("error", "?", "", 99),
        ErrorEvent("protocol", "what?"),
        LogEvent("warning", "mind the gap"),
    )
    polls(client)
    assert (heard.progress, heard.results, heard.errors) == ([], [], [])
    assert files(client) == []
    assert "mind the gap" in caplog.text
    assert "what?" in caplog.text
    client.cancel(number)


def test_arrays_of_a_request_are_deleted_however_it_ends(client, transport):
    for ending in ("result", "error", "crash", "cancel while waiting", "nobody wants it"):
        ref = array(client)
        heard = Heard()
        wanted = heard.callbacks if ending != "nobody wants it" else {}
        number = client.request("segment", {"model": "m", "images": [ref]}, **wanted)
        if ending == "cancel while waiting":
            client.cancel(number)
        polls(client)
        if ending == "result":
            transport.say(ResultEvent(number, RESULT))
        elif ending == "error":
            transport.say(ErrorEvent("error", "no", "", number))
        elif ending == "crash":
            (client.session.path / f"r{number}-1.raw").write_bytes(b"half")
            transport.exit = WorkerExit(-11)
        elif ending == "nobody wants it":
            (client.session.path / f"r{number}-1.raw").write_bytes(b"whole")
            client.drop()
            transport.say(ErrorEvent("cancelled", "", "", number))
        polls(client)
        assert files(client) == [], ending
        assert not client.busy


def test_drop_calls_back_no_more(client, transport):
    first, heard_1 = ask(client)
    _, heard_2 = ask(client)
    polls(client)
    client.drop()
    transport.say(ProgressEvent(first, 0.5, "x"), ErrorEvent("cancelled", "", "", first))
    polls(client)
    for heard in (heard_1, heard_2):
        assert (heard.progress, heard.results, heard.errors) == ([], [], [])
    assert not client.busy


def test_exception_of_a_callback_comes_out_and_nothing_is_lost(client, transport):
    def fail(_):
        raise ValueError("of the caller")

    first = client.request("models.list", on_result=fail)
    _, heard = ask(client)
    polls(client)
    transport.say(ResultEvent(first, {"models": []}))
    with pytest.raises(ValueError, match="of the caller"):
        client.poll()
    polls(client)
    transport.say(ResultEvent(transport.sent[-1].id, {"models": []}))
    polls(client)
    assert len(heard.results) == 1


def test_callbacks_may_use_the_client(client, transport):
    heard = Heard()

    def again(_):
        client.poll()  # as a progress dialog that pumps events would
        client.request("models.list", **heard.callbacks)

    first = client.request("models.list", on_result=again)
    polls(client)
    transport.say(ResultEvent(first, {"models": []}))
    polls(client)
    assert len(transport.sent) == 2
    transport.say(ResultEvent(transport.sent[-1].id, {"models": []}))
    polls(client)
    assert len(heard.results) == 1


def test_closed_in_a_callback(transport, tmp_path):
    client = Client(transport, session_parent=tmp_path)
    number = client.request("models.list", on_result=lambda _: client.close())
    polls(client)
    transport.say(ResultEvent(number, {"models": []}), LogEvent("info", "more"))
    polls(client)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorkerError, match="closed"):
        client.request("models.list")


def test_idle_death_is_noticed_before_the_next_request(client, transport):
    number, _ = ask(client)
    polls(client)
    transport.say(ResultEvent(number, {"models": []}))
    polls(client)
    transport.exit = WorkerExit(-9)
    _, heard = ask(client)
    polls(client)
    assert transport.starts == 2
    assert heard.errors == []
