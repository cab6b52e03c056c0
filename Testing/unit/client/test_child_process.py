"""What the worker's process gets to see, and an interpreter that is none."""

from __future__ import annotations

import os

import pytest

from medai.client import ChildProcessTransport
from medai.client.child_process import scrubbed
from medai.errors import EnvironmentFailure
from medai.session import SessionFolder


def test_variables_of_slicer_do_not_reach_the_worker():
    home = os.path.abspath("/opt/Slicer")
    environment = {
        "PYTHONPATH": "x", "PYTHONHOME": "x", "PYTHONNOUSERSITE": "1", "LD_LIBRARY_PATH": "x", "LD_PRELOAD": "x",
        "DYLD_LIBRARY_PATH": "x", "QT_PLUGIN_PATH": "x", "QTWEBENGINE_DISABLE_SANDBOX": "1", "QML2_IMPORT_PATH": "x",
        "SLICER_HOME": home, "TCL_LIBRARY": "x", "ITK_AUTOLOAD_PATH": "x",
        "HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "LANG": "de",
        "PATH": os.pathsep.join([os.path.join(home, "bin"), "/usr/bin", home, "/bin"]),
    }  # fmt: skip
    assert scrubbed(environment) == {
        "HOME": "/home/me",
        "CUDA_VISIBLE_DEVICES": "1",
        "OMP_NUM_THREADS": "2",
        "LANG": "de",
        "PATH": os.pathsep.join(["/usr/bin", "/bin"]),
    }


def test_path_is_kept_outside_of_slicer():
    assert scrubbed({"PATH": "/usr/bin"}) == {"PATH": "/usr/bin"}


def test_interpreter_that_does_not_exist(tmp_path):
    session = SessionFolder.create(tmp_path)
    with pytest.raises(EnvironmentFailure, match="no_python"):
        ChildProcessTransport(tmp_path / "no_python").start(session)


def test_interpreter_that_is_no_program(tmp_path):
    text = tmp_path / "python"
    text.write_text("no program", encoding="utf-8")
    session = SessionFolder.create(tmp_path)
    with pytest.raises(EnvironmentFailure, match="cannot be started"):
        ChildProcessTransport(text).start(session)
