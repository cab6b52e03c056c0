"""A child process with all processes that it starts: pipes that never block, and a kill that leaves none of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 16
# A pipe of Windows in non-blocking mode takes a piece wholly or not at all.
_WRITE_BYTES = 1 << 12 if sys.platform == "win32" else 1 << 16


class ProcessTree:
    """A process that was started with pipes on stdin and stdout, and its stderr in the file `log`.

    On POSIX it leads a session and a process group of its own; on Windows it lives in a Job Object that ends with us.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        stderr = _open_append(log)
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(environment),
                bufsize=0,
                **options,
            )
        finally:
            os.close(stderr)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._job: Any = _make_job(self._process)
        _stop_blocking(self._stdin.fileno())
        if sys.platform != "win32":
            os.set_blocking(self._stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """The first process."""
        return self._process.pid

    def read(self) -> bytes | None:
        """What waits in stdout; None where nothing has come, empty where no process can write to it any more."""
        if sys.platform == "win32":
            from medai.client.windows import read_available

            return read_available(self._stdout.fileno(), _READ_BYTES)
        try:
            return os.read(self._stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return None

    def write(self, data: bytes) -> int:
        """Write what fits into stdin without waiting; returns how many bytes (all, where nobody reads any more)."""
        try:
            return os.write(self._stdin.fileno(), data[:_WRITE_BYTES])
        except BlockingIOError:
            return 0
        except OSError:  # the process has ended; its exit is reported by `returncode`
            return len(data)

    def returncode(self) -> int | None:
        """The exit code of the first process, None while it runs. When it has ended, the rest of its tree is killed."""
        if self._process.returncode is None and _has_ended(self._process):
            # The group is killed before its leader is reaped where the system allows: until then nobody else can be
            # given its number.
            self._kill_tree()
            self._process.poll()
        return self._process.returncode

    def kill(self) -> None:
        """End every process of the tree, without waiting."""
        if self._process.returncode is None:
            self._kill_tree()

    def _kill_tree(self) -> None:
        if self._job is not None:
            self._job.kill()
        elif sys.platform == "win32":
            self._process.kill()
        else:
            _kill_group(self._process.pid)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the first process has ended; False where it has not after `timeout_s`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Close our ends of the pipes, and the job."""
        self._stdin.close()
        self._stdout.close()
        if self._job is not None:
            self._job.close()
            self._job = None


def _open_append(path: Path) -> int:
    if sys.platform == "win32":
        from medai.client.windows import open_append

        return open_append(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _make_job(process: subprocess.Popen[bytes]) -> Any:
    if sys.platform != "win32":
        return None
    from medai.client.windows import Job

    return Job(int(process._handle))  # type: ignore[attr-defined,unused-ignore]


def _stop_blocking(stdin: int) -> None:
    # Before Python 3.12 Windows has no such call; there a write may wait until the worker's reading thread takes it.
    if sys.platform != "win32" or sys.version_info >= (3, 12):
        os.set_blocking(stdin, False)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):  # Windows; macOS before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else in this process has reaped it
        return process.poll() is not None


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # All gone; macOS says "not permitted" where only zombies are left.
        return
