"""The messages: every example of docs/protocol.md is read by the dataclasses and survives the way there and back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from medai.config import from_json, to_json
from medai.config import messages as m
from medai.config import requests as r
from medai.errors import ConfigError, ProtocolError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"
EXAMPLES = re.findall(r"```json ([a-z. ]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MESSAGES = [(kind, text) for kind, text in EXAMPLES if " " not in kind]
DATA = [(kind, text) for kind, text in EXAMPLES if " " in kind]
REF = {"file": "a1.raw", "dtype": "int16", "shape": [1, 2, 3, 4], "ijk_to_ras": [1.0, 0, 0, 0] * 4}


def test_page_has_an_example_of_every_message_and_operation():
    assert {kind for kind, _ in MESSAGES} == {*m._CLIENT_TYPES, *m._WORKER_TYPES}
    assert {kind for kind, _ in DATA if kind.startswith("args")} == {f"args {op}" for op in r.OPERATIONS}
    # click.undo, redo and reset have the value of click.prompt
    assert {kind for kind, _ in DATA if kind.startswith("value")} == {f"value {op}" for op in r.OPERATIONS} - {
        "value click.undo",
        "value click.redo",
        "value click.reset",
    }
    assert len(re.findall("```json", PAGE.read_text(encoding="utf-8"))) == len(EXAMPLES)
    assert f"Protocol version: **{m.PROTOCOL_VERSION}**" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("kind", "text"), MESSAGES, ids=[kind for kind, _ in MESSAGES])
def test_example_message(kind, text):
    decode = m.decode_from_client if kind in m._CLIENT_TYPES else m.decode_from_worker
    message = decode(text.encode())
    line = m.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message
    expected = json.loads(text)
    assert json.loads(line) == expected | {"type": kind}


@pytest.mark.parametrize(("kind", "text"), DATA, ids=[kind for kind, _ in DATA])
def test_example_arguments_and_values(kind, text):
    what, op = kind.split()
    data = json.loads(text)
    cls = {"args": r.ARGUMENTS, "value": r.VALUES}[what][op]
    typed = from_json(cls, data)
    again = from_json(cls, json.loads(json.dumps(to_json(typed))))
    assert again == typed
    assert len(r.array_refs(typed)) == len(r.array_refs(data)) == text.count('"ijk_to_ras"')


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json\n",
        b"[]\n",
        b"\xff\xfe{}\n",
        b'{"type": "reques", "id": 1}\n',
        b'{"type": ["request"], "id": 1}\n',
        b'{"type": "request", "id": "1", "op": "segment"}\n',
        b'{"type": "request", "op": "segment"}\n',
        b'{"type": "request", "id": 1, "op": "segment", "extra": 2}\n',
        b'{"type": "cancel", "id": NaN}\n',
        b"[" * 100_000,
    ],
)
def test_malformed_lines_are_refused(line):
    with pytest.raises(ProtocolError):
        m.decode_from_client(line)


def test_events_are_not_requests():
    with pytest.raises(ProtocolError, match="is no message"):
        m.decode_from_client(b'{"type": "result", "id": 1, "value": {}}')


def test_line_limit_is_one_mebibyte():
    room = m.MAX_LINE_BYTES - len(m.encode(m.LogEvent("info", "")))
    assert len(m.encode(m.LogEvent("info", "x" * room))) == m.MAX_LINE_BYTES
    with pytest.raises(ProtocolError, match="more than 1048576"):
        m.encode(m.LogEvent("info", "x" * (room + 1)))
    with pytest.raises(ProtocolError, match="more than 1048576"):
        m.decode_from_client(b" " * m.MAX_LINE_BYTES + b"\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_values_that_are_not_json_are_refused(value):
    with pytest.raises(ProtocolError, match="not plain JSON"):
        m.encode(m.ResultEvent(1, {"dice": value}))


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../a1.raw"},
        {"file": "/etc/passwd"},
        {"file": ".hidden"},
        {"file": "a/b"},
        {"file": "a\\b"},
        {"file": ""},
        {"dtype": "object"},
        {"dtype": ">i2"},
        {"shape": [2, 3, 4]},
        {"shape": [1, 0, 3, 4]},
        {"shape": [1, -2, 3, -4]},
        {"ijk_to_ras": [1.0] * 12},
        {"ijk_to_ras": [float("nan")] * 16},
    ],
)
def test_array_references_cannot_leave_the_session_folder_or_be_senseless(change):
    assert from_json(r.ArrayRef, REF).nbytes == 48
    with pytest.raises(ConfigError):
        from_json(r.ArrayRef, REF | change)


def test_unknown_operation_and_wrong_arguments():
    with pytest.raises(ProtocolError, match="no operation 'segmnt'"):
        m.arguments_of(m.Request(1, "segmnt"))
    with pytest.raises(ConfigError, match=r"segment: .*model"):
        m.arguments_of(m.Request(1, "segment", {"images": [REF]}))
    with pytest.raises(ConfigError, match="images is empty"):
        m.arguments_of(m.Request(1, "segment", {"model": "m", "images": []}))


@pytest.mark.parametrize(
    "prompt",
    [
        {"kind": "point"},
        {"kind": "point", "points_ras": [[0, 0, 0], [1, 1, 1]]},
        {"kind": "lasso", "points_ras": [[0, 0, 0], [1, 1, 1]]},
        {"kind": "box"},
        {"kind": "point", "points_ras": [[0, 0]]},
    ],
)
def test_prompts_need_their_points(prompt):
    with pytest.raises(ConfigError):
        from_json(r.Prompt, prompt)


def test_id_of_a_broken_message():
    assert m.id_of_line(b'{"type": "request", "id": 5}') == 5
    assert m.id_of_line(b'{"id": true}') is None
    assert m.id_of_line(b"{") is None
