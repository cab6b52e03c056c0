"""Building, checking, repairing, removing: with the real uv, tiny packages and no network."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import pip
import pytest

from medai.errors import Cancelled, EnvironmentFailure
from medai.process_identity import ProcessIdentity
from MedAICoreLib.environment.build import DownloadWatch
from MedAICoreLib.environment.environment import Kind
from MedAICoreLib.environment.operation import OperationState
from MedAICoreLib.environment.places import Places, default_root, site_packages, venv_python
from MedAICoreLib.environment.state import FolderLock, State, read_state, write_state

TESTING = Path(__file__).resolve().parents[2]


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def sources(folder: Path) -> dict[str, str]:
    """The same without what the interpreter compiles for itself."""
    return {name: digest for name, digest in content(folder).items() if not name.endswith(".pyc")}


def site(environment) -> Path:
    """Where the environment's packages are."""
    return site_packages(environment.places.environment(read_state(environment.places).built.folder))


def run(python: Path, code: str) -> str:
    """What the interpreter prints."""
    return subprocess.run([str(python), "-I", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def slicer_like(tmp_path) -> Path:
    """A Python with pip, as Slicer's own, whose packages nobody may touch."""
    venv.create(tmp_path / "slicer", with_pip=False)
    shutil.copytree(Path(pip.__file__).parent, site_packages(tmp_path / "slicer") / "pip")
    return tmp_path / "slicer"


@pytest.mark.parametrize("route", ["chosen", "slicer"])
def test_build_leaves_slicer_and_home_as_they_were(tiny, tmp_path, slicer_like, route):
    home = tmp_path / "home"
    home.mkdir()
    # A short PATH: pip asks rustc, where there is one, for its version, and rustup's writes into the home folder.
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONHOME": "/nowhere", "UV_INDEX_URL": "http://no",
                 "PIP_INDEX_URL": "http://no", "LD_LIBRARY_PATH": "/nowhere"}  # fmt: skip
    python = venv_python(slicer_like)
    before = content(site_packages(slicer_like))
    environment = tiny.environment(tmp_path / "data" / "MedAI" / "env", slicer_python=str(python), variables=variables)
    built = environment.build(route, sys.executable).finish()
    assert content(site_packages(slicer_like)) == before
    assert not list(home.rglob("*"))
    assert environment.status().kind is Kind.READY
    assert built.packages == {"alpha": "1.0", "beta": "2.1"}
    interpreter, packages = environment.interpreter()
    if route == "slicer":
        assert interpreter == python
        assert (packages / "beta" / "part7.py").is_file()
    else:
        assert packages is None
        assert run(interpreter, "import alpha; print(alpha.__version__)") == "1.0"
    environment.remove().finish()
    assert not list((tmp_path / "data").rglob("*"))
    assert content(site_packages(slicer_like)) == before


def test_new_version_replaces_the_old_environment_when_it_works(installed, tiny):
    other = tiny.lock.requirements.with_name("other.txt")
    other.write_text(tiny.lock.requirements.read_text().split("\n")[0] + "\n", encoding="utf-8")
    updated = tiny.changed(requirements=other, imports=("alpha",)).environment(installed.folder)
    assert updated.status().kind is Kind.OUTDATED
    assert updated.status().usable
    updated.build("chosen", sys.executable).finish()
    assert updated.status().kind is Kind.READY
    assert [folder.name for folder in updated.places.environments()] == ["e2"]
    assert read_state(updated.places).built.packages == {"alpha": "1.0"}


def test_a_new_version_that_does_not_work_leaves_the_old_one(installed, tiny):
    wrong = tiny.changed(imports=("alpha", "delta")).environment(installed.folder)
    operation = wrong.build("chosen", sys.executable)
    with pytest.raises(EnvironmentFailure, match="delta cannot be imported"):
        operation.finish()
    assert wrong.interpreter()[0] == venv_python(installed.folder / "e1")


def test_check_tells_versions_and_problems(installed):
    assert installed.check().finish().versions["alpha"] == "1.0"
    (site(installed) / "beta" / "part7.py").write_text("raise ValueError('broken')\n", encoding="utf-8")
    with pytest.raises(EnvironmentFailure, match="beta cannot be imported: ValueError: broken"):
        installed.check().finish()


def test_repair_puts_back_what_is_missing_and_what_was_changed(installed):
    before = sources(site(installed))
    assert installed.repair().finish() == []
    (site(installed) / "beta" / "part3.py").unlink()
    (site(installed) / "alpha" / "__init__.py").write_text("changed", encoding="utf-8")
    damaged = {damage.name: damage for damage in installed.repair().finish()}
    assert damaged["beta"].missing == ("beta/part3.py",)
    assert damaged["alpha"].changed == ("alpha/__init__.py",)
    assert sources(site(installed)) == before
    shutil.rmtree(site(installed) / "alpha-1.0.dist-info")
    assert [damage.name for damage in installed.repair().finish()] == ["alpha"]


def test_repair_of_a_broken_interpreter_builds_anew(installed):
    venv_python(installed.folder / "e1").unlink()
    assert installed.status().kind is Kind.BROKEN
    assert installed.interpreter() is None
    installed.repair().finish()
    assert installed.status().kind is Kind.READY
    assert run(installed.interpreter()[0], "import beta; print(beta.part7.value)") == "7"


def test_remove_takes_everything_but_the_models(installed):
    models = installed.folder.parent / "models" / "mine"
    models.mkdir(parents=True)
    locked = site(installed) / "beta"
    (locked / "part1.py").chmod(stat.S_IREAD)
    locked.chmod(stat.S_IREAD | stat.S_IEXEC)
    (installed.places.cache / "outward").symlink_to(models)
    installed.remove().finish()
    assert installed.status().kind is Kind.ABSENT
    assert not installed.folder.exists()
    assert models.is_dir()


def test_an_interrupted_removal_is_never_taken_for_usable(installed):
    operation = installed.remove()
    while operation.advance(0.0) and venv_python(installed.folder / "e1").exists():
        pass
    operation.cancel()
    operation.advance()
    assert operation.state is OperationState.CANCELLED
    assert installed.interpreter() is None
    installed.remove().finish()
    assert not installed.folder.exists()


def test_cancel_kills_the_tools_and_the_next_build_goes_on(empty):
    operation = empty.build("chosen", sys.executable)
    while operation.stage != "loading packages":
        assert operation.advance()
        time.sleep(0.001)
    operation.advance()
    child = operation._child
    operation.cancel()
    assert not operation.advance()
    assert isinstance(operation.error, Cancelled)
    assert child is None or ProcessIdentity.of(child.pid) is None
    assert empty.status().kind is Kind.INTERRUPTED
    assert not empty.status().usable
    empty.build("chosen", sys.executable).finish()
    assert empty.status().kind is Kind.READY


def test_one_process_at_a_time(empty, tiny):
    operation = empty.build("chosen", sys.executable)
    operation.advance()
    assert empty.status().kind is Kind.BUSY
    second = tiny.environment(empty.folder).build("chosen", sys.executable)
    with pytest.raises(EnvironmentFailure, match=f"is being changed by process {os.getpid()}"):
        second.finish()
    operation.finish()
    assert empty.status().kind is Kind.READY


def test_a_lock_of_a_dead_process_is_taken_over_and_its_child_ended(tmp_path):
    places = Places(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    identity = ProcessIdentity.of(dead.pid)
    dead.wait()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    places.lock.write_text(f"{identity}\n{ProcessIdentity.of(child.pid)}\n", encoding="utf-8")
    lock = FolderLock(places)
    assert not lock.is_live()
    with lock.hold():
        assert child.wait(10) == -signal.SIGKILL
        assert FolderLock(places).is_live()
    assert not places.lock.exists()


def test_a_damaged_state_file_means_that_nothing_is_usable(installed):
    installed.places.state.write_text('{"format": 1', encoding="utf-8")
    assert installed.status().kind is Kind.INTERRUPTED
    installed.build("chosen", sys.executable).finish()
    assert installed.status().kind is Kind.READY


BUILDER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from dataclasses import replace
from unit.environment.tiny import MACHINE
from MedAICoreLib.environment import Environment, Sources
from MedAICoreLib.environment.lock import Lock
lock = Lock("linux-x86_64", Path(sys.argv[4]), Path(sys.argv[5]), "", imports=("alpha", "beta"))
sources = Sources(no_index=True, find_links=(sys.argv[6],), torch_backend="")
environment = Environment(Path(sys.argv[3]), sys.executable, sources, lock, MACHINE)
print("begin", flush=True)
environment.build("chosen", sys.executable).finish()
print("done", flush=True)
"""


@pytest.mark.parametrize("attempt", range(5))
def test_killed_at_a_random_moment_the_next_start_recovers(empty, tiny, attempt):
    lock = tiny.lock
    command = [sys.executable, "-c", BUILDER, str(TESTING.parent / "MedAICore"), str(TESTING), str(empty.folder),
               str(lock.requirements), str(lock.uv), str(tiny.wheels)]  # fmt: skip
    builder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert builder.stdout.readline().strip() == "begin"
    # From the first file to after the end; uv itself may live on for a moment, its builder does not.
    time.sleep(random.Random(attempt).uniform(0.02, 0.9))
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    builder.stdout.close()
    status = tiny.environment(empty.folder).status()
    assert status.kind in (Kind.ABSENT, Kind.INTERRUPTED, Kind.READY)
    if status.kind is Kind.READY:  # it was quicker
        assert tiny.environment(empty.folder).check().finish()
        return
    assert not status.usable
    tiny.environment(empty.folder).build("chosen", sys.executable).finish()
    recovered = tiny.environment(empty.folder)
    assert recovered.status().kind is Kind.READY
    assert len(recovered.places.environments()) == 1
    assert recovered.repair().finish() == []
    recovered.remove().finish()
    assert not recovered.folder.exists()


def test_default_root_follows_the_platform(tmp_path):
    assert default_root({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "MedAI" / "env"
    assert default_root({"XDG_DATA_HOME": "relative"}) == Path.home() / ".local" / "share" / "MedAI" / "env"


def test_state_is_read_as_it_was_written(installed):
    state = read_state(installed.places)
    changed = State(replace(state.built, warnings=("über",), devices=("cpu", "cuda:0 X")), building="e7")
    write_state(installed.places, changed)
    assert read_state(installed.places) == changed


def test_progress_tells_bytes_from_uvs_lines(tmp_path):
    watch = DownloadWatch(tmp_path, 300 << 20, 1e9)  # what else is written to the disk does not count here
    part = watch("Resolved 2 packages\nDownloading scipy (100.0MiB)\nDownloading torch (200.0MiB)\n")
    assert part.fraction == pytest.approx(0.0, abs=1e-3)
    assert part.detail.endswith("of about 315 MB: scipy, torch")
    part = watch(" Downloaded scipy\n")
    assert part.fraction == pytest.approx(1 / 3, abs=1e-3)
    assert part.detail == "105 MB of about 315 MB: torch"
    assert watch(" Downloaded torch\n").fraction == pytest.approx(0.97)
