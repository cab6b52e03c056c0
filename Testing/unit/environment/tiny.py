"""A tiny set of packages that the tests make themselves, uv itself as a wheel, and an environment of them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import sys
import zipfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pytest

from MedAICoreLib.environment.commands import Sources
from MedAICoreLib.environment.environment import Environment
from MedAICoreLib.environment.lock import Lock, Sizes
from MedAICoreLib.environment.machine import Machine

MACHINE = Machine("linux", "x86_64")


def make_wheel(folder: Path, name: str, version: str, files: dict[str, bytes], tag: str = "py3-none-any") -> Path:
    """Write a wheel with these files, as a build backend would."""
    info = f"{name}-{version}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow((file, f"sha256={digest}", len(content)))
    writer.writerow((f"{info}/RECORD", "", ""))
    files[f"{info}/RECORD"] = rows.getvalue().encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100755 if ".data/scripts/" in file else 0o100644) << 16
            archive.writestr(entry, content)
    return path


def uv_wheel(folder: Path) -> Path:
    """uv of this test environment, put into a wheel again."""
    try:
        distribution = metadata.distribution("uv")
    except metadata.PackageNotFoundError:
        pytest.skip("uv is not installed in the test environment (pip install uv)")
    version = distribution.version
    executable = next(Path(str(distribution.locate_file(f))) for f in distribution.files or () if f.name == "uv")
    files = {f"uv-{version}.data/scripts/uv": executable.read_bytes(), "uv/__init__.py": b""}
    return make_wheel(folder, "uv", version, files, "py3-none-manylinux_2_17_x86_64")


def requirement(wheel: Path) -> str:
    """The wheel as a pinned and hashed line."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True)
class Tiny:
    """Wheels and the lock that names them."""

    wheels: Path
    lock: Lock

    def environment(self, root: Path, **changes: object) -> Environment:
        """An environment below `root` that is built from these wheels only, with no network."""
        sources = Sources(no_index=True, find_links=(str(self.wheels),), torch_backend="")
        options = {"slicer_python": sys.executable, "sources": sources, "lock": self.lock, "machine": MACHINE}
        return Environment(root, **{**options, **changes})  # type: ignore[arg-type]

    def changed(self, **changes: object) -> Tiny:
        """The same wheels with another lock."""
        return replace(self, lock=replace(self.lock, **changes))  # type: ignore[arg-type]


def make_tiny(folder: Path) -> Tiny:
    """Three packages: alpha, beta with many files, gamma with a read-only look."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    uv = uv_wheel(wheels)
    alpha = make_wheel(wheels, "alpha", "1.0", {"alpha/__init__.py": b"__version__ = '1.0'\n"})
    many = {f"beta/part{n}.py": f"value = {n}\n".encode() for n in range(200)}
    beta = make_wheel(wheels, "beta", "2.1", {"beta/__init__.py": b"from . import part7\n", **many})
    (folder / "lock.txt").write_text(requirement(alpha) + requirement(beta), encoding="utf-8")
    (folder / "uv.txt").write_text(requirement(uv), encoding="utf-8")
    lock = Lock(
        "linux-x86_64", folder / "lock.txt", folder / "uv.txt", "", sizes=Sizes(uv=20_000_000, packages=50_000),
        imports=("alpha", "beta"),
    )  # fmt: skip
    return Tiny(wheels, lock)
