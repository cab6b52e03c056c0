"""The lists of packages that are shipped: complete, hashed, in step with pyproject.toml, and from public places."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from MedAICoreLib.environment import DiagnosedFailure, Environment
from MedAICoreLib.environment.commands import Commands, Sources
from MedAICoreLib.environment.lock import RESOURCES, load_lock
from MedAICoreLib.environment.machine import Machine, this_machine
from MedAICoreLib.environment.places import Places
from MedAICoreLib.environment.variables import child_variables

REPOSITORY = Path(__file__).resolve().parents[3]
PLATFORMS = ("linux-x86_64", "windows-x86_64", "macos-arm64")


def names(requirements: list[str]) -> dict[str, str]:
    """Requirement by lower-case name."""
    return {re.match(r"[\w.-]+", line).group(0).lower(): line for line in requirements}


def test_requirements_mirror_pyproject():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = names(project["dependencies"] + project["optional-dependencies"]["fast"])
    lines = (RESOURCES / "requirements.in").read_text(encoding="utf-8").splitlines()
    listed = names([line for line in lines if line and not line.startswith("#")])
    assert listed.keys() == wanted.keys()
    for name in listed.keys() - {"torch"}:  # pinned: its build is chosen apart
        assert listed[name] == wanted[name]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_package_is_pinned_and_hashed(platform):
    lock = load_lock(platform)
    pins = lock.pins()
    assert {"monai", "simpleitk", "safetensors", "numpy", "scipy", "openvino"} <= pins.keys()
    assert pins["torch"] == lock.torch
    assert not [name for name in pins if name.startswith(("nvidia", "triton", "openvino-telemetry"))]
    for name in pins.keys() - {"torch"}:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", lock.block(name)), name
    assert lock.block("nothing") == ""
    assert lock.imports[0] == "torch"
    assert "SimpleITK" in lock.imports


@pytest.mark.parametrize("file", sorted(RESOURCES.iterdir()), ids=lambda path: path.name)
def test_lists_name_no_server_and_are_small(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|index-url|find-links|trusted-host", text)
    assert file.stat().st_size < 1_000_000


@pytest.mark.parametrize(("platform", "nvidia"), [(p, gpu) for p in PLATFORMS for gpu in (False, True)])
def test_the_question_names_size_source_and_folder(tmp_path, platform, nvidia):
    system, processor = platform.split("-")
    environment = Environment(tmp_path / "env", machine=Machine(system, processor, nvidia=nvidia))
    plan = environment.plan()
    assert plan.sources == ("pypi.org", "github.com/astral-sh/python-build-standalone", "download.pytorch.org")
    assert plan.folder == tmp_path / "env"
    # macOS has one build of torch; the GPU's is there elsewhere only.
    assert (2.5e9 < plan.download_bytes < 3.5e9) == (nvidia and system != "macos") or plan.download_bytes < 6e8
    assert plan.disk_bytes > 3 * plan.download_bytes
    assert not (tmp_path / "env").exists()


def test_stamp_follows_version_platform_and_packages(tmp_path):
    stamps = {load_lock(platform).stamp for platform in PLATFORMS}
    assert len(stamps) == 3
    assert all(re.fullmatch(r"\S+ \S+ [0-9a-f]{16}", stamp) for stamp in stamps)


def test_commands_ask_for_the_right_interpreter_and_build(tmp_path):
    def commands(machine: Machine, sources: Sources | None = None) -> Commands:
        return Commands(Places(tmp_path), load_lock(machine.tag), sources or Sources(), machine, "/slicer/PythonSlicer")

    mac = commands(Machine("macos", "arm64"))
    assert mac.interpreter_request() == "cpython-3.12-macos-aarch64-none"
    assert commands(Machine("windows", "x86_64")).interpreter_request() == "cpython-3.12-windows-x86_64-none"
    torch = commands(Machine("linux", "x86_64", nvidia=True)).install_torch(tmp_path / "e1", tmp_path / "lock")
    assert torch[-2:] == ("--torch-backend", "auto")
    assert commands(Machine("linux", "x86_64")).install_torch(tmp_path, tmp_path)[-2:] == ("--torch-backend", "cpu")
    without_gpu = commands(Machine("linux", "x86_64", nvidia=True), Sources(torch_backend="cpu"))
    assert not without_gpu.wants_gpu
    assert "https://download.pytorch.org/whl/cpu" in without_gpu.slicer_torch(tmp_path)
    mirrored = commands(Machine("linux", "x86_64"), Sources("https://mirror.example/simple"))
    assert "https://mirror.example/simple" in mirrored.install_packages(tmp_path / "e1", tmp_path / "lock")
    assert "https://mirror.example/simple" in mirrored.install_uv(tmp_path)


def test_children_see_the_network_settings_and_nothing_of_slicer(tmp_path):
    ours = {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "x", "SSL_CERT_FILE": "/c.pem", "HOME": "/h"}
    foreign = {"PYTHONHOME": "/s", "PYTHONPATH": "/s", "LD_LIBRARY_PATH": "/s", "QT_PLUGIN_PATH": "/s", "UV_INDEX": "x",
               "PIP_INDEX_URL": "x", "VIRTUAL_ENV": "/v", "CONDA_PREFIX": "/c", "DYLD_LIBRARY_PATH": "/s"}  # fmt: skip
    found = child_variables(Places(tmp_path), {**ours, **foreign})
    assert {name: found[name] for name in ours} == ours
    assert not foreign.keys() & found.keys()
    assert found["UV_NO_CONFIG"] == found["UV_SYSTEM_CERTS"] == "1"
    inside = [name for name, value in found.items() if value.startswith(str(tmp_path))]
    assert {"TMPDIR", "UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_CACHE_DIR", "PIP_CACHE_DIR"} <= set(inside)


def test_this_machine_is_known():
    machine = this_machine()
    assert machine.bits == 64
    assert machine.tag in PLATFORMS or machine.problem()[0]


def test_intel_macs_are_told_by_the_lock_too(tmp_path):
    with pytest.raises(DiagnosedFailure, match="Intel"):
        Environment(tmp_path, machine=Machine("macos", "x86_64")).lock()
