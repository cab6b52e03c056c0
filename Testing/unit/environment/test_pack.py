"""The offline pack: made, installed without any network, and refused where it is not what it should be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from unit.environment.download_site import make_site, serve

from medai.errors import EnvironmentFailure
from MedAICoreLib.environment.environment import Environment, Kind
from MedAICoreLib.environment.pack import read_manifest

MEDAI_CORE = Path(__file__).resolve().parents[3] / "MedAICore"

INSTALLER = """
import socket, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from unit.environment.tiny import MACHINE
from MedAICoreLib.environment import Environment, Sources
from MedAICoreLib.environment.lock import Lock
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[8])), 2)
    raise SystemExit("there is a network")
except OSError:
    pass
lock = Lock("linux-x86_64", Path(sys.argv[4]), Path(sys.argv[5]), "", sys.argv[7], imports=("alpha", "beta"))
sources = Sources(python_downloads=sys.argv[9])
environment = Environment(Path(sys.argv[3]), sys.executable, sources, lock, MACHINE)
print(environment.install_pack(Path(sys.argv[6])).finish().route)
"""


@pytest.fixture(scope="module")
def managed(tiny, tmp_path_factory) -> tuple[Environment, Path, str]:
    """An environment with an interpreter from the stand-in of the download site, its pack, uv's list of downloads."""
    folder = tmp_path_factory.mktemp("managed")
    downloads, site, version = make_site(folder)
    with serve(site) as (url, asked):
        environment = tiny.changed(managed_python=version).environment(folder / "data" / "MedAI" / "env")
        environment = environment.with_sources(python_mirror=url, python_downloads=str(downloads))
        environment.build().finish()
        assert len(asked) == 1
        assert asked[0].endswith("install_only_stripped.tar.gz")
    return environment, environment.pack(folder / "pack.zip").finish(), str(downloads)


@pytest.fixture(scope="module")
def pack(template, tiny, tmp_path_factory) -> Path:
    """A pack without interpreter."""
    return tiny.environment(template).pack(tmp_path_factory.mktemp("pack") / "pack.zip").finish()


def test_managed_interpreter_comes_from_the_download_site(managed):
    environment = managed[0]
    status = environment.status()
    assert status.kind is Kind.READY
    assert status.built.route == "managed"
    assert status.built.base.startswith(str(environment.places.interpreters))
    python, packages = environment.interpreter()
    assert packages is None
    found = subprocess.run([str(python), "-I", "-c", "import sys, beta; print(sys.base_prefix)"], check=True,
                           capture_output=True, text=True).stdout  # fmt: skip
    assert found.startswith(str(environment.places.interpreters))
    assert environment.repair().finish() == []


def test_pack_with_its_interpreter_is_installed_in_a_namespace_without_network(managed, tiny, tmp_path):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-n", "true"], check=False).returncode != 0:
        pytest.skip("no network namespace can be made here (unshare -n)")
    environment, pack, downloads = managed
    lock = environment.lock()
    root = tmp_path / "other" / "MedAI" / "env"
    with serve(str(tmp_path)) as (url, asked):
        testing = MEDAI_CORE.parent / "Testing"
        command = ["unshare", "-n", sys.executable, "-c", INSTALLER, str(MEDAI_CORE), str(testing),
                   str(root), str(lock.requirements), str(lock.uv), str(pack), lock.managed_python,
                   url.rpartition(":")[2], downloads]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert not asked
    assert done.stdout.strip() == "managed"
    other = tiny.changed(managed_python=lock.managed_python).environment(root)
    assert other.status().kind is Kind.READY
    assert other.check().finish().versions["alpha"] == "1.0"
    assert not list(root.glob("uv-*"))
    (root / "e1" / "lib").rename(root / "e1" / "gone")
    other.repair().finish()
    assert other.check().finish()
    other.remove().finish()
    assert not root.exists()


def test_pack_without_interpreter_needs_one(pack, tiny, tmp_path):
    environment = tiny.environment(tmp_path / "env")
    with pytest.raises(EnvironmentFailure, match=r"has no interpreter; it needs a Python 3\."):
        environment.install_pack(pack).finish()
    environment.install_pack(pack, sys.executable).finish()
    assert environment.status().kind is Kind.READY


def test_manifest_lists_every_file_with_its_hash(pack, tiny):
    manifest = read_manifest(pack, tiny.lock)
    assert sorted(name.split("-")[0] for name in manifest.files) == ["wheels/alpha", "wheels/beta", "wheels/uv"]
    assert manifest.size == sum(file.size for file in manifest.files.values()) > 1_000_000


def rewritten(pack: Path, target: Path, entries: dict[str, bytes] | None = None, **changes: object) -> Path:
    """The pack with other or more entries, and another manifest."""
    with zipfile.ZipFile(pack) as source, zipfile.ZipFile(target, "w") as archive:
        manifest = json.loads(source.read("manifest.json"))
        for name in manifest["files"]:
            if not name.startswith("wheels/uv"):  # large, and not looked at
                archive.writestr(name, (entries or {}).get(name, source.read(name)))
        manifest["files"] = {n: f for n, f in manifest["files"].items() if not n.startswith("wheels/uv")}
        for name, data in (entries or {}).items():
            if name not in manifest["files"]:
                archive.writestr(name, data)
                manifest["files"][name] = {"sha256": "0" * 64, "size": len(data)}
        archive.writestr("manifest.json", json.dumps({**manifest, **changes}))
    return target


@pytest.mark.parametrize(
    "name",
    ["../../outside.whl", "/etc/outside.whl", "wheels/../../outside.whl", "wheels/..", "C:/outside.whl",
     "wheels\\..\\outside.whl", "elsewhere/x.whl", "wheels/a/b.whl", "wheels/x.whl:stream"],
)  # fmt: skip
def test_names_that_lead_outside_are_refused(pack, tiny, tmp_path, name):
    bad = rewritten(pack, tmp_path / "bad.zip", {name: b"x"})
    environment = tiny.environment(tmp_path / "root" / "env")
    with pytest.raises(EnvironmentFailure, match=r"does not belong into a pack|cannot be used"):
        environment.install_pack(bad, sys.executable).finish()
    assert not list(tmp_path.rglob("outside*"))


def test_links_and_unlisted_files_are_refused(pack, tmp_path):
    link = zipfile.ZipInfo("wheels/link.whl")
    link.external_attr = 0o120777 << 16
    shutil.copy(pack, tmp_path / "link.zip")
    with zipfile.ZipFile(tmp_path / "link.zip", "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(EnvironmentFailure, match="does not belong into a pack"):
        read_manifest(tmp_path / "link.zip")
    shutil.copy(pack, tmp_path / "more.zip")
    with zipfile.ZipFile(tmp_path / "more.zip", "a") as archive:
        archive.writestr("wheels/more-1-py3-none-any.whl", "x")
    with pytest.raises(EnvironmentFailure, match="list of files does not fit"):
        read_manifest(tmp_path / "more.zip")


def test_another_platform_or_version_is_told(pack, tiny, tmp_path):
    with pytest.raises(EnvironmentFailure, match="is for macos-arm64; this computer is linux-x86_64"):
        read_manifest(rewritten(pack, tmp_path / "a.zip", platform="macos-arm64"), tiny.lock)
    with pytest.raises(EnvironmentFailure, match=r"made by another version of MedAI \(0.0.9\)"):
        read_manifest(rewritten(pack, tmp_path / "b.zip", stamp="0.0.9 linux-x86_64 0123"), tiny.lock)
    with pytest.raises(EnvironmentFailure, match="its format is 2"):
        read_manifest(rewritten(pack, tmp_path / "c.zip", format=2))


def test_damaged_packs_are_told(pack, tiny, tmp_path):
    environment = tiny.environment(tmp_path / "root" / "env")
    wheel = next(name for name in read_manifest(pack).files if name.startswith("wheels/beta"))
    changed = rewritten(pack, tmp_path / "changed.zip", {wheel: b"not the wheel"})
    with pytest.raises(EnvironmentFailure, match=r"'wheels/beta-2\.1-py3-none-any\.whl' is damaged"):
        environment.install_pack(changed, sys.executable).finish()
    for name, data in (("text.zip", b"no archive"), ("cut.zip", pack.read_bytes()[:100_000])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(EnvironmentFailure, match="cannot be used as an offline pack"):
            environment.install_pack(tmp_path / name, sys.executable).finish()
    with pytest.raises(EnvironmentFailure, match="does not exist"):
        read_manifest(tmp_path / "nowhere.zip")
