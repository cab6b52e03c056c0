"""Make the development environment in `.venv`; called by `make env` with any Python 3.11 or newer.

Only the standard library is used, since this runs before anything is installed. What it does, in order: checks the
interpreter, the system's OpenGL libraries (installs them with apt where it may), creates the environment, installs
torch (a CPU build where there is no NVIDIA GPU, so that no gigabytes of CUDA libraries come along), installs the
project with its extras, and at last slicer-layer-dm without its dependencies: its metadata pins an older slicer-core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
EXTRAS = "view,fast,dicom,demo,test,dev"
LAYER_DISPLAYABLE_MANAGER = "slicer-layer-dm>=2.0,<3"
APT_PACKAGES = ("libegl1", "libgl1", "libgl1-mesa-dri", "libegl-mesa0")
STAMP_NAME = "medai-environment.txt"


class EnvironmentProblem(Exception):
    """Something is missing that this script cannot put right; the text says what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Bring `.venv` up to date and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--force", action="store_true", help="install again though nothing has changed")
    options = parser.parse_args(arguments)
    stamp = options.venv / STAMP_NAME
    if not options.force and stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint():
        return 0
    start = time.monotonic()
    try:
        check_interpreter()
        install_system_libraries()
        python = create_venv(options.venv)
        install_packages(python)
    except EnvironmentProblem as problem:
        print(f"make env: {problem}", file=sys.stderr)
        return 1
    stamp.write_text(fingerprint(), encoding="utf-8")
    print(f"make env: {options.venv} is ready after {(time.monotonic() - start) / 60:.1f} min")
    return 0


def fingerprint() -> str:
    """Hash of everything that decides what gets installed."""
    content = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(content).hexdigest()


def check_interpreter() -> None:
    """Refuse an interpreter that is too old or that has no `venv`."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 (this may be called with any Python)
        raise EnvironmentProblem(
            f"{sys.executable} is Python {version}, MedAI needs 3.11 or newer. "
            "Install one and name it: make env PYTHON=/path/to/python3.12"
        )
    try:
        import ensurepip  # noqa: F401  (Debian and Ubuntu split it off)
    except ImportError:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        if not can_use_apt():
            raise EnvironmentProblem(
                f"{sys.executable} cannot make virtual environments; on Debian or Ubuntu: sudo apt install {package}"
            ) from None
        apt_install([package])


def can_use_apt() -> bool:
    """Whether this is a Debian-like system and we may install packages on it."""
    return shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0


def missing_system_libraries() -> list[str]:
    """Names of the Debian packages for off-screen rendering that are not installed (empty where there is no dpkg)."""
    if not sys.platform.startswith("linux") or shutil.which("dpkg-query") is None:
        return []
    missing = []
    for package in APT_PACKAGES:
        query = subprocess.run(
            ["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True, check=False
        )
        if "ok installed" not in query.stdout:
            missing.append(package)
    return missing


def install_system_libraries() -> None:
    """Install the OpenGL libraries where we may; else name them. Tests that need OpenGL skip themselves without."""
    missing = missing_system_libraries()
    if not missing:
        return
    if can_use_apt():
        apt_install(missing)
    else:
        print(
            "make env: pictures and rendering tests need OpenGL libraries that are missing here; install them with\n"
            f"    sudo apt-get install {' '.join(missing)}",
            file=sys.stderr,
        )


def apt_install(packages: list[str]) -> None:
    """Install Debian packages (needs root)."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", *packages]):
        if subprocess.run(command, env=environment, check=False).returncode:
            raise EnvironmentProblem(f"`{' '.join(command)}` failed; install {' '.join(packages)} and try again")


def create_venv(folder: Path) -> Path:
    """Create the environment unless it is there, and return its interpreter."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.is_file():
        run([sys.executable, "-m", "venv", str(folder)], f"the environment {folder} could not be created")
        pip(python, "install", "--upgrade", "pip")
    return python


def install_packages(python: Path) -> None:
    """Install torch first, then the project with its extras, then what must come without dependencies."""
    pip(python, "install", *torch_arguments(python))
    pip(python, "install", "--editable", f"{ROOT}[{EXTRAS}]")
    pip(python, "install", "--no-deps", LAYER_DISPLAYABLE_MANAGER)


def torch_arguments(python: Path) -> list[str]:
    """What to give `pip install` for torch.

    The plain requirement is right on macOS and Windows, where PyPI carries CPU builds, beside an NVIDIA GPU, and where
    pip's own configuration already leads to a CPU build. PyPI's Linux build is the CUDA one: then PyTorch's CPU index.
    """
    if not sys.platform.startswith("linux") or shutil.which("nvidia-smi") or torch_is_installed(python):
        return [TORCH]
    return [TORCH] if resolves_to_cpu_build(python) else [TORCH, "--index-url", TORCH_CPU_INDEX]


def torch_is_installed(python: Path) -> bool:
    """Whether the environment has the torch that we want, in whatever build."""
    code = f"import importlib.metadata as m; assert m.version('torch').split('+')[0] == {TORCH.split('==')[1]!r}"
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


def resolves_to_cpu_build(python: Path) -> bool:
    """Whether pip, as it is configured here, would take a CPU build of torch (a dry run: nothing is installed)."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", "--report", "-", TORCH]
    dry_run = subprocess.run(command, capture_output=True, text=True, check=False)
    if dry_run.returncode:
        return False
    versions = [item["metadata"]["version"] for item in json.loads(dry_run.stdout)["install"]]
    return all(version.endswith("+cpu") for version in versions)


def pip(python: Path, *arguments: str) -> None:
    """Run pip of the environment."""
    print(f"make env: pip {' '.join(arguments)}", flush=True)
    run(
        [str(python), "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"],
        f"`pip {' '.join(arguments)}` failed in {python.parent.parent}; the lines above say why. "
        "Without a network, or with a Python for which torch has no wheel yet, try another: make env PYTHON=python3.12",
    )


def run(command: list[str], problem: str) -> None:
    """Run a command and raise `EnvironmentProblem` where it fails."""
    if subprocess.run(command, check=False).returncode:
        raise EnvironmentProblem(problem)


if __name__ == "__main__":
    sys.exit(main())
