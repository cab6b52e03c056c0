"""The command line `medai` as a child process of Slicer: ``medai plan``, ``medai prepare``, ``medai evaluate``.

Trainings outlive Slicer and have their own: `medai.client.training`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medai.client.child_process import scrubbed
from medai.client.process_tree import ProcessTree
from medai.errors import Cancelled, EnvironmentFailure, MedAIError, error_from_code

_CLOSE_TIMEOUT_S = 2.0


def command_line(python: Path | str, packages: Path | None = None, package_root: Path | str | None = None) -> list[str]:
    """How `medai` is run by this interpreter, in isolation: append the arguments.

    `python` and `packages` as in `ChildProcessTransport` (``MedAICoreLib.environment_setup.workerInterpreter()``),
    `package_root` is the folder that holds the package medai (None: this copy).
    """
    root = Path(__file__).resolve().parents[2] if package_root is None else Path(package_root)
    script = str(root / "medai" / "cli" / "command.py")
    if packages is not None:
        return [str(python), "-s", "-P", "-X", "utf8", script, "--packages", str(packages)]
    return [str(python), "-I", "-X", "utf8", script]


class CommandProcess:
    """One run of a command with ``--json``, driven by a timer; it ends with Slicer.

    process = CommandProcess(command_line(python), ["plan", dataset, "--json"], log)
    while process.poll():  # in Slicer: a tick of a timer
        pass
    process.value()  # the JSON object that the command printed; raises the MedAIError that it reported
    """

    def __init__(
        self,
        command: Sequence[str],
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; `log` takes its stderr. EnvironmentFailure where the interpreter cannot be started."""
        self._name = f"medai {arguments[0] if arguments else ''}".strip()
        self._log = log
        self._output = bytearray()
        self._returncode: int | None = None
        self._cancelled = False
        given = os.environ if environment is None else environment
        if not Path(command[0]).is_file():
            raise EnvironmentFailure(
                f"The interpreter '{command[0]}' does not exist.", "Choose the interpreter in the settings."
            )
        try:
            self._tree: ProcessTree | None = ProcessTree([*command, *arguments], scrubbed(given), log)
        except OSError as error:
            raise EnvironmentFailure(
                f"The interpreter '{command[0]}' cannot be started: {error.strerror or error}.",
                "Choose another interpreter in the settings.",
            ) from error

    def poll(self) -> bool:
        """Take what the command has printed; False once it has ended. Never waits."""
        if self._tree is None:
            return False
        returncode = self._tree.returncode()
        while data := self._tree.read():
            self._output += data
        if returncode is None:
            return True
        self._returncode = returncode
        self._tree.close()
        self._tree = None
        return False

    def value(self) -> dict[str, Any]:
        """The JSON object that the command printed last; the error that it reported is raised, as Cancelled is."""
        if self._cancelled:
            raise Cancelled()
        if self._returncode is None:
            raise RuntimeError(f"'{self._name}' still runs")
        lines = self._output.decode("utf-8", "replace").strip().splitlines()
        try:
            found = json.loads(lines[-1])
        except (IndexError, ValueError):
            found = None
        if isinstance(found, dict) and isinstance(found.get("error"), dict):
            error = found["error"]
            raise error_from_code(
                str(error.get("code", "")), str(error.get("message", "")), str(error.get("remedy", ""))
            )
        if self._returncode != 0 or not isinstance(found, dict):
            raise MedAIError(
                f"'{self._name}' ended with exit code {self._returncode}.{self._last_words()}",
                f"Look into '{self._log}'.",
            )
        return found

    def cancel(self) -> None:
        """End it with all processes that it started; waits for their end (milliseconds)."""
        if self._tree is not None:
            self._cancelled = True
            self._tree.kill()
            self._tree.wait(_CLOSE_TIMEOUT_S)
            self._tree.close()
            self._tree = None

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f" {lines[-1][:300]}" if lines else ""
