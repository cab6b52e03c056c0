"""Every failure that a person may meet, provoked where Linux allows, and told in plain words with a remedy.

``python -m pytest Testing/unit/environment/test_failures.py -rP -k told`` prints the texts.
"""

from __future__ import annotations

import errno
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from medai.errors import EnvironmentFailure
from MedAICoreLib.environment.commands import Sources
from MedAICoreLib.environment.environment import Environment, Kind
from MedAICoreLib.environment.failures import FAILURES, DiagnosedFailure, diagnose, diagnose_error
from MedAICoreLib.environment.lock import load_lock
from MedAICoreLib.environment.machine import Machine
from MedAICoreLib.environment.operation import Operation
from MedAICoreLib.environment.plan import LONGEST_PATH
from MedAICoreLib.environment.state import read_state

DOCS = Path(__file__).resolve().parents[3] / "docs" / "environment.md"
VARIABLES = {"PATH": "/usr/bin:/bin"}


def told(operation: Operation, kind: str) -> DiagnosedFailure:
    """The failure in which the operation ends, which must be of this kind and say what to do."""
    with pytest.raises(EnvironmentFailure) as caught:
        operation.finish()
    failure = caught.value
    assert isinstance(failure, DiagnosedFailure), failure
    print(f"{failure.kind}: {failure.message} | {failure.remedy}")
    assert failure.kind == kind, f"{failure.message}\n{failure.details}"
    assert failure.remedy
    assert "Traceback" not in failure.message
    return failure


@contextmanager
def file_system(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False,
                             capture_output=True)  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def listening(handler: type, certificate: Path | None = None) -> Iterator[int]:
    """A server on loopback; gives its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Refusing(http.server.BaseHTTPRequestHandler):
    """A proxy that wants a password."""

    def do_CONNECT(self) -> None:
        self.send_response(407, "Proxy Authentication Required")
        self.end_headers()

    do_GET = do_CONNECT

    def log_message(self, _format: str, *_arguments: object) -> None:
        """Say nothing."""


def online(empty: Environment, index: str, variables: dict[str, str] | None = None) -> Environment:
    """The environment with packages from an index instead of the folder; uv is installed."""
    sources = Sources(index_url=index, torch_backend="")
    return Environment(
        empty.folder, sys.executable, sources, empty.lock(), empty.machine, {**VARIABLES, **(variables or {})}
    )


def test_told_no_network(empty):
    failure = told(online(empty, "http://127.0.0.1:9/simple").build("chosen", sys.executable), "no-network")
    assert "127.0.0.1:9" in failure.message
    assert empty.status().kind is Kind.INTERRUPTED
    # Continued when the network is back.
    empty.build("chosen", sys.executable).finish()
    assert empty.status().kind is Kind.READY


def test_told_no_network_already_for_uv(tiny, tmp_path):
    environment = online(tiny.environment(tmp_path / "env"), "http://127.0.0.1:9/simple")
    told(environment.build("chosen", sys.executable), "no-network")


def test_told_proxy_refuses(empty):
    with listening(Refusing) as port:
        proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}
        told(online(empty, "https://pypi.invalid/simple", proxy).build("chosen", sys.executable), "proxy")
        shutil.rmtree(empty.places.tools)  # and already for uv, which pip loads
        told(online(empty, "https://pypi.invalid/simple", proxy).build("chosen", sys.executable), "proxy")


def test_told_certificate_is_not_trusted(empty, tmp_path):
    pem = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(pem), "-out", f"{pem}.crt"]
    if not shutil.which("openssl") or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("openssl cannot make a certificate here")
    pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text(), encoding="utf-8")
    with listening(Refusing, pem) as port:
        told(online(empty, f"https://localhost:{port}/simple").build("chosen", sys.executable), "certificate")


def test_told_disk_full_before_and_while(tiny, tmp_path):
    with file_system(tmp_path / "small", "size=24m") as disk:
        plenty = tiny.environment(disk / "env")
        failure = told(plenty.build("chosen", sys.executable), "disk-full")
        assert "80 MB are needed" in failure.message
        assert not (disk / "env" / "e1").exists()
        unknown = tiny.changed(sizes=replace(tiny.lock.sizes, uv=0, packages=0)).environment(disk / "env")
        told(unknown.build("chosen", sys.executable), "disk-full")
        unknown.remove().finish()
        assert not list(disk.iterdir())


def test_told_no_permission(tiny, tmp_path):
    with file_system(tmp_path / "readonly", "size=1m,ro") as disk:
        told(tiny.environment(disk / "env").build("chosen", sys.executable), "no-permission")


def test_told_path_too_long(tiny, tmp_path):
    told(tiny.environment(tmp_path / ("long" * 70)).build("chosen", sys.executable), "path-too-long")


def test_told_windows_path_too_long(tiny, tmp_path, monkeypatch):
    from MedAICoreLib.environment import plan

    monkeypatch.setattr(plan.sys, "platform", "win32")
    monkeypatch.setattr(plan, "_long_paths_allowed", lambda: False)
    folder = tmp_path / ("x" * (260 - LONGEST_PATH - len(str(tmp_path)) if len(str(tmp_path)) < 60 else 10))
    problem = tiny.environment(folder).plan().problem
    assert problem.kind == "path-too-long"
    monkeypatch.setattr(plan, "_long_paths_allowed", lambda: True)
    assert tiny.environment(folder).plan().problem is None


def test_told_programs_are_forbidden_then_slicers_python_is_used(tiny, tmp_path):
    with file_system(tmp_path / "noexec", "size=300m,noexec") as disk:
        environment = tiny.environment(disk / "env")
        assert environment.plan().problem.kind == "policy"
        print(f"policy: {environment.plan().problem}")
        built = environment.build().finish()
        assert built.route == "slicer"
        assert environment.check().finish().versions["alpha"] == "1.0"


def test_told_uv_may_not_be_started_then_slicers_python_is_used(empty):
    empty.places.uv.unlink()
    empty.places.uv.write_bytes(b"\x7fELF")
    empty.places.uv.chmod(0o600)
    told(empty.build("chosen", sys.executable), "policy")
    built = empty.build("managed").finish()
    assert built.route == "slicer"
    assert "Slicer's own Python is used instead" in built.warnings[0]


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine("macos", "x86_64"), "Intel"),
        (Machine("linux", "x86_64", libc="musl"), "musl"),
        (Machine("windows", "x86_64", bits=32), "32 bit"),
        (Machine("linux", "riscv64"), "riscv64"),
        (Machine("macos", "arm64", version=(13, 6)), "macOS 13.6"),
        (Machine("linux", "x86_64", version=(2, 17)), "glibc 2.17"),
    ],
)
def test_told_unsupported_before_any_download(tiny, tmp_path, machine, words):
    environment = Environment(tmp_path / "env", sys.executable, machine=machine)
    assert environment.status().kind is Kind.UNSUPPORTED
    assert environment.plan().items == ()
    failure = told(environment.build(), "unsupported")
    assert words in failure.message
    assert not (tmp_path / "env").exists() or not list((tmp_path / "env").iterdir())


def test_told_hash_mismatch(empty, tiny):
    wrong = empty.folder.parent / "wrong.txt"
    text = tiny.lock.requirements.read_text(encoding="utf-8")
    wrong.write_text(text.replace(text.split("sha256:")[1][:64], "0" * 64), encoding="utf-8")
    told(tiny.changed(requirements=wrong).environment(empty.folder).build("chosen", sys.executable), "hash-mismatch")
    told(tiny.changed(requirements=wrong).environment(empty.folder).build("slicer"), "hash-mismatch")


def test_told_missing_package(empty, tiny):
    wrong = empty.folder.parent / "wrong.txt"
    wrong.write_text(f"alpha==9.9 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    told(tiny.changed(requirements=wrong).environment(empty.folder).build("chosen", sys.executable), "missing-package")


def test_told_damaged_list_of_packages(tmp_path):
    with pytest.raises(EnvironmentFailure, match="is damaged") as caught:
        load_lock("linux-x86_64", tmp_path)
    assert "Install MedAI again" in caught.value.remedy


def test_told_the_system_ended_it(empty):
    # More packages than can be installed before the signal comes.
    operation = empty.build("chosen", sys.executable)
    while operation._child is None or operation.stage != "making the environment":
        assert operation.advance(0.0)
    os.kill(operation._child.pid, signal.SIGSTOP)
    os.kill(operation._child.pid, signal.SIGKILL)
    told(operation, "killed")


def test_told_interrupted(empty):
    operation = empty.build("chosen", sys.executable)
    while operation.stage != "loading packages":
        assert operation.advance(0.0)
        time.sleep(0.001)
    operation.close()  # Slicer ends
    assert empty.status().kind is Kind.INTERRUPTED
    assert read_state(empty.places).building


def test_told_no_python(tiny, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("no program", encoding="utf-8")
    environment = tiny.environment(tmp_path / "env")
    told(environment.build("chosen", str(text)), "missing-interpreter")
    told(environment.probe(str(tmp_path / "nowhere")), "missing-interpreter")
    if shutil.which("true"):
        told(environment.probe(shutil.which("true")), "missing-interpreter")
    assert not environment.folder.exists() or not list(environment.folder.rglob("e1"))


def test_probe_tells_whether_an_interpreter_has_everything(tiny, tmp_path):
    environment = tiny.environment(tmp_path / "env")
    probed = environment.probe(sys.executable).finish()
    assert not probed.complete
    assert "alpha cannot be imported" in probed.missing
    assert tiny.changed(imports=("json",)).environment(tmp_path / "env").probe(sys.executable).finish().complete
    assert not environment.folder.exists() or environment.status().kind is Kind.ABSENT


# What cannot be provoked on Linux, in the words of Windows, macOS and the tools.
WORDS = [
    (
        "failed to remove: The process cannot access the file because it is being used by another process.",
        "locked-file",
    ),
    ("'C:\\x\\python.exe' cannot be started: [WinError 1260] This program is blocked by group policy.", "policy"),
    ("'C:\\x\\uv.exe' cannot be started: [WinError 5] Access is denied", "policy"),
    ("An Application Control policy has blocked this file. (os error 4551)", "policy"),
    ("error: Failed to write\n  cause: There is not enough space on the disk. (os error 112)", "disk-full"),
    ("The filename or extension is too long. (os error 206)", "path-too-long"),
    ("failed to create directory `C:\\x`: Access is denied. (os error 5)", "no-permission"),
    ("cause: invalid peer certificate: UnknownIssuer", "certificate"),
    ("getaddrinfo failed", "no-network"),
    ("Failed to query Python interpreter at `/x/python3`\n  cause: Permission denied (os error 13)", "policy"),
]


@pytest.mark.parametrize(("words", "kind"), WORDS)
def test_told_in_the_words_of_other_systems(words, kind):
    failure = diagnose(words, r"C:\Users\me\AppData\Local\MedAI\env")
    assert failure.kind == kind
    assert "{" not in failure.message + failure.remedy


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, "disk-full"), (errno.EACCES, "no-permission"), (errno.ENAMETOOLONG, "path-too-long")],
)
def test_errors_of_this_process_are_told_too(number, kind):
    assert diagnose_error(OSError(number, os.strerror(number)), "/folder").kind == kind


def test_windows_own_error_numbers_decide():
    class WindowsError(OSError):
        winerror = 32

        def __str__(self) -> str:
            return "[WinError 32] The process cannot access the file"

    assert diagnose_error(WindowsError(errno.EACCES, "x"), "/folder").kind == "locked-file"


def test_an_unknown_failure_shows_the_last_words():
    failure = diagnose("first\nsomething odd happened\n", "/folder", "loading packages")
    assert failure.kind == "unknown"
    assert "something odd happened" in failure.message


def test_every_failure_is_in_the_documentation():
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    for failure in FAILURES:
        assert f"`{failure.kind}`" in text, failure.kind
        start = failure.message.format(folder="…", what="", stage="…").split("…")[0]
        assert start.strip() in text, failure.message
