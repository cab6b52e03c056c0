"""Tiny environments: built once with the real uv, copied (as hard links) for each test."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from unit.environment.tiny import Tiny, make_tiny

from MedAICoreLib.environment.environment import Environment


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Tiny:
    """Wheels that were made here, and uv."""
    if not sys.platform.startswith("linux"):
        pytest.skip("uv is packed into a wheel for Linux")
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def template(tiny, tmp_path_factory) -> Path:
    """The folder of an environment that was built on the running interpreter."""
    root = tmp_path_factory.mktemp("template") / "MedAI" / "env"
    tiny.environment(root).build("chosen", sys.executable).finish()
    return root


@pytest.fixture
def installed(tiny, template, tmp_path) -> Environment:
    """A complete environment of this test's own."""
    return tiny.environment(copy(template, tmp_path / "data" / "MedAI" / "env"))


@pytest.fixture
def empty(tiny, template, tmp_path) -> Environment:
    """Nothing but uv, which takes longest to install."""
    root = tmp_path / "data" / "MedAI" / "env"
    copy(template / "uv", root / "uv")
    return tiny.environment(root)


def copy(source: Path, target: Path) -> Path:
    """The folder again; files that tests change are real copies, uv is a link."""
    target.parent.mkdir(parents=True, exist_ok=True)

    def put(one: str, other: str) -> str:
        if Path(one).name == "uv":
            os.link(one, other)
            return other
        return shutil.copy2(one, other)

    shutil.copytree(source, target, symlinks=True, copy_function=put)
    return target
