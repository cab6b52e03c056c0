"""Trying an interpreter that the person chose: does it have everything already, or can it at least be built on?"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from MedAICoreLib.environment.build import Workshop, check
from MedAICoreLib.environment.failures import DiagnosedFailure
from MedAICoreLib.environment.operation import Stage, Steps, empty_log
from MedAICoreLib.environment.state import SLICER, Built

_OLDEST, _NEWEST = (3, 11), (3, 13)


@dataclass(frozen=True)
class Probed:
    """An interpreter: with `complete` it has all packages; otherwise an environment can be built on it."""

    python: str
    version: str
    complete: bool
    missing: str = ""


def probe(shop: Workshop, python: str) -> Steps:
    """What the interpreter at `python` is good for. DiagnosedFailure where it is good for nothing."""
    yield Stage(f"trying '{python}'", 0.0, 0.3)
    if not os.path.isfile(python):
        raise DiagnosedFailure(f"'{python}' does not exist.", "Choose a Python 3.11 to 3.13.", "missing-interpreter")
    empty_log(shop.places)
    question = "import json, struct, sys; print(json.dumps([*sys.version_info[:3], struct.calcsize('P')]))"
    done = yield shop.run((python, "-I", "-X", "utf8", "-c", question), may_fail=True)
    try:
        major, minor, micro, pointer = json.loads(done.stdout)
    except ValueError as error:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DiagnosedFailure(
            f"'{python}' is no Python ({reason}).", "Choose a Python 3.11 to 3.13.", "missing-interpreter"
        ) from error
    version = f"{major}.{minor}.{micro}"
    if not _OLDEST <= (major, minor) <= _NEWEST or pointer != 8:
        raise DiagnosedFailure(
            f"'{python}' is Python {version} ({8 * pointer} bit); MedAI needs 3.11 to 3.13 with 64 bit.",
            "Choose another Python.", "missing-interpreter")  # fmt: skip
    # As Slicer's route has it, the interpreter is used as it stands, with no folder before its own packages.
    candidate = Built("", SLICER, "", python)
    try:
        yield from check(shop, candidate, 0.3, 1.0)
    except DiagnosedFailure as failure:
        return Probed(python, version, complete=False, missing=failure.message)
    return Probed(python, version, complete=True)
