"""The extension configures, builds, installs and ships every file, with the CMake at hand and a stand-in of Slicer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from architecture.cmake_lists import (
    MODULES,
    REPOSITORY,
    RESOURCES,
    SCRIPTS,
    listed_files,
    shipped_files,
    write_lists,
)

STAND_IN = Path(__file__).parent / "slicer_macros"
INSTALLED = Path("lib/Slicer-5.12/qt-scripted-modules")


@pytest.fixture(scope="module")
def cmake() -> str:
    """The CMake to test with; another one by putting it first on PATH."""
    found = shutil.which("cmake")
    if found is None:
        pytest.skip("no cmake on PATH")
    if shutil.which(os.environ.get("CXX", "c++")) is None and sys.platform != "win32":
        pytest.skip("no C++ compiler, which CMake's project() looks for")
    return found


def run_cmake(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=False, timeout=300)


def configure(cmake: str, source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    return run_cmake(cmake, "-S", source, "-B", build, f"-DSlicer_DIR={STAND_IN}")


@pytest.fixture(scope="module")
def installed(cmake: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Slicer would put on `sys.path`, after configure, build and install."""
    folder = tmp_path_factory.mktemp("cmake")
    configured = configure(cmake, REPOSITORY, folder / "build")
    assert configured.returncode == 0, configured.stdout + configured.stderr
    for step in ("build", "install"):
        target = ["--build", folder / "build"] if step == "build" else ["--install", folder / "build"]
        done = run_cmake(cmake, *target, *(["--prefix", folder / "installed"] if step == "install" else []))
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "installed" / INSTALLED


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("variable", [SCRIPTS, RESOURCES])
def test_lists_equal_the_tree(module: str, variable: str) -> None:
    listed = listed_files(module)[variable]
    assert sorted(listed) == sorted(shipped_files(module)[variable]), "run `make cmake-lists`"
    assert len(listed) == len(set(listed))


def test_every_file_is_installed(installed: Path) -> None:
    expected = {name for module in MODULES for files in shipped_files(module).values() for name in files}
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert found == expected


def test_installed_folder_has_only_module_files_at_its_top(installed: Path) -> None:
    """Slicer takes every Python file at the top for a module."""
    assert {path.stem for path in installed.glob("*.py")} == set(MODULES)
    assert not (installed / "Testing").exists()


def test_installed_package_imports_by_itself(installed: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import medai, medai.config; print(medai.__file__)"
    run = run_cmake(sys.executable, "-I", "-c", code, installed)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(installed)


@pytest.fixture
def small_extension(tmp_path: Path) -> Path:
    """An extension of one module whose lists are right."""
    module = tmp_path / "MedAICore"
    (module / "medai").mkdir(parents=True)
    (module / "MedAICore.py").write_text("", encoding="utf-8")
    (module / "medai" / "__init__.py").write_text("", encoding="utf-8")
    shutil.copy(REPOSITORY / "MedAITrain" / "CMakeLists.txt", module)
    lists = module / "CMakeLists.txt"
    lists.write_text(lists.read_text(encoding="utf-8").replace("MedAITrain", "MedAICore"), encoding="utf-8")
    write_lists("MedAICore", tmp_path)
    root = (
        "cmake_minimum_required(VERSION 3.16.3...3.28.0)\nproject(Small)\n"
        "find_package(Slicer REQUIRED)\ninclude(${Slicer_USE_FILE})\nadd_subdirectory(MedAICore)\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(root, encoding="utf-8")
    return tmp_path


def test_write_lists_finds_new_and_removed_files(small_extension: Path) -> None:
    module = small_extension / "MedAICore"
    (module / "medai" / "labels.py").write_text("", encoding="utf-8")
    (module / "medai" / "__pycache__").mkdir()
    (module / "medai" / "__pycache__" / "labels.pyc").write_bytes(b"")
    (module / "Resources").mkdir()
    (module / "Resources" / "icon.svg").write_text("", encoding="utf-8")
    write_lists("MedAICore", small_extension)
    assert listed_files("MedAICore", small_extension) == {
        SCRIPTS: ["MedAICore.py", "medai/__init__.py", "medai/labels.py"],
        RESOURCES: ["Resources/icon.svg"],
    }
    (module / "Resources" / "icon.svg").unlink()
    write_lists("MedAICore", small_extension)
    assert listed_files("MedAICore", small_extension)[RESOURCES] == []


def test_stand_in_refuses_a_listed_file_that_is_missing(cmake: str, small_extension: Path, tmp_path: Path) -> None:
    assert configure(cmake, small_extension, tmp_path / "good").returncode == 0
    (small_extension / "MedAICore" / "medai" / "__init__.py").unlink()
    refused = configure(cmake, small_extension, tmp_path / "bad")
    assert refused.returncode != 0
    assert "medai/__init__.py" in refused.stderr


def test_stand_in_refuses_two_modules_with_one_file(cmake: str, small_extension: Path, tmp_path: Path) -> None:
    shutil.copytree(small_extension / "MedAICore", small_extension / "Second")
    root = small_extension / "CMakeLists.txt"
    root.write_text(root.read_text(encoding="utf-8") + "add_subdirectory(Second)\n", encoding="utf-8")
    refused = configure(cmake, small_extension, tmp_path / "bad")
    assert refused.returncode != 0
    assert "overwrites" in refused.stderr
