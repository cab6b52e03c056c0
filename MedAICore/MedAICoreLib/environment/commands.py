"""The command lines of uv and pip: where packages and interpreters come from, and into which folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from MedAICoreLib.environment.lock import Lock
from MedAICoreLib.environment.machine import Machine
from MedAICoreLib.environment.places import Places, venv_python

INDEX_HOST = "pypi.org"
TORCH_HOST = "download.pytorch.org"
INTERPRETER_HOST = "github.com/astral-sh/python-build-standalone"


@dataclass(frozen=True)
class Sources:
    """Where things are loaded from; the defaults are the public places.

    `index_url` stands for PyPI, `find_links` are folders with wheels, `no_index` forbids all else. `torch_backend` is
    uv's: ``auto`` (the build for this machine's GPU), ``cpu``, or empty (torch comes from the index like the rest).
    `python_mirror` stands for the download site of python-build-standalone, `python_downloads` for uv's list of it.
    """

    index_url: str = ""
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    torch_backend: str = "auto"
    python_mirror: str = ""
    python_downloads: str = ""


@dataclass(frozen=True)
class Commands:
    """Makes the command lines for one environment."""

    places: Places
    lock: Lock
    sources: Sources
    machine: Machine
    slicer_python: str
    isolated: tuple[str, ...] = field(default=("-s", "-P", "-X", "utf8"))

    @property
    def wants_gpu(self) -> bool:
        """Whether torch is to be the build for an NVIDIA GPU."""
        return self.machine.nvidia and self.sources.torch_backend == "auto"

    def _pip(self) -> list[str]:
        # Slicer's Python is not run with -I: its launcher tells it by PYTHONHOME where its library is. `isolated`
        # keeps the user's site-packages and the working folder away from it; --isolated, pip's settings.
        return [self.slicer_python, *self.isolated, "-m", "pip", "--isolated", "--no-input", "install",
                "--only-binary", ":all:", "--no-warn-script-location", "--disable-pip-version-check",
                "--cache-dir", str(self.places.cache / "pip"), "--progress-bar", "off", "--retries", "2"]  # fmt: skip

    def _index(self) -> list[str]:
        options = [part for folder in self.sources.find_links for part in ("--find-links", folder)]
        if self.sources.no_index:
            return [*options, "--no-index"]
        return [*options, "--index-url", self.sources.index_url] if self.sources.index_url else options

    def install_uv(self, folder: Path) -> tuple[str, ...]:
        """Slicer's pip puts uv into a folder of ours; site-packages stay as they are."""
        options = ["--target", str(folder), "--no-deps", "--require-hashes", "-r", str(self.lock.uv)]
        return (*self._pip(), *self._index(), *options)

    def install_interpreter(self) -> tuple[str, ...]:
        """uv loads an interpreter for the hardware (arm64 also under an x86_64 Slicer) into our folder."""
        command = [str(self.places.uv), "python", "install", self.interpreter_request(), "--no-bin"]
        if self.sources.python_mirror:
            command += ["--mirror", self.sources.python_mirror]
        return (*command, *self._downloads())

    def find_interpreter(self) -> tuple[str, ...]:
        """uv prints the path of that interpreter."""
        return (str(self.places.uv), "python", "find", self.interpreter_request(), "--managed-python", "--no-project")

    def interpreter_request(self) -> str:
        """The interpreter in uv's words, such as ``cpython-3.12-macos-aarch64-none``."""
        processor = {"arm64": "aarch64"}.get(self.machine.processor, self.machine.processor)
        libc = "gnu" if self.machine.system == "linux" else "none"
        return f"cpython-{self.lock.managed_python}-{self.machine.system}-{processor}-{libc}"

    def _downloads(self) -> list[str]:
        given = self.sources.python_downloads
        return ["--python-downloads-json-url", given] if given else []

    def make_venv(self, folder: Path, base: str) -> tuple[str, ...]:
        """An empty virtual environment."""
        return (str(self.places.uv), "venv", "--no-project", "--python", base, str(folder))

    def install_packages(self, folder: Path, requirements: Path, more: Sequence[str] = ()) -> tuple[str, ...]:
        """The locked packages, each checked against its hash; no other package comes along."""
        options = ["--no-deps", "--require-hashes", "-r", str(requirements), *more]
        return (*self._uv_install(folder), *self._index(), *options)

    def install_torch(self, folder: Path, constraints: Path) -> tuple[str, ...]:
        """torch in the build for this machine's GPU, with what this build needs."""
        options = ["-c", str(constraints), f"torch=={self.lock.torch}", *self._backend()]
        return (*self._uv_install(folder), *self._index(), *options)

    def _backend(self) -> list[str]:
        if self.sources.no_index or not self.sources.torch_backend:
            return []
        # uv's "auto" also knows AMD's and Intel's builds; those are large, and neither was asked for nor tested.
        return ["--torch-backend", "cpu" if self.sources.torch_backend == "auto" and not self.wants_gpu else
                self.sources.torch_backend]  # fmt: skip

    def reinstall(self, folder: Path, requirements: Path) -> tuple[str, ...]:
        """Single packages anew."""
        options = ["--no-deps", "--reinstall", "-r", str(requirements), *self._backend()]
        return (*self._uv_install(folder), *self._index(), *options)

    def forget_cached(self, names: Sequence[str]) -> tuple[str, ...]:
        """Drop packages from uv's cache: where links are hard, a changed file was changed there too."""
        return (str(self.places.uv), "cache", "clean", *names)

    def freeze(self, folder: Path) -> tuple[str, ...]:
        """Name and version of each installed package."""
        return (str(self.places.uv), "pip", "list", "--format", "json", "--python", str(venv_python(folder)))

    def _uv_install(self, folder: Path) -> list[str]:
        return [str(self.places.uv), "pip", "install", "--python", str(venv_python(folder)), "--only-binary", ":all:"]

    def slicer_packages(self, folder: Path) -> tuple[str, ...]:
        """The locked packages into a folder for Slicer's own Python, with its pip."""
        options = ["--target", str(folder), "--no-deps", "--require-hashes", "-r", str(self.lock.requirements)]
        return (*self._pip(), *self._index(), *options)

    def slicer_torch(self, folder: Path) -> tuple[str, ...]:
        """torch into the same folder. pip knows no GPU: PyPI's build where there is an NVIDIA GPU, else the small."""
        options = ["--target", str(folder), f"torch=={self.lock.torch}"]
        if self.wants_gpu or self.sources.no_index or not self.sources.torch_backend or self.machine.system == "macos":
            return (*self._pip(), *self._index(), *(options if self.wants_gpu else [*options, "--no-deps"]))
        return (*self._pip(), "--index-url", f"https://{TORCH_HOST}/whl/cpu", "--no-deps", *options)

    def download(
        self, folder: Path, requirements: Path, python: Path | None = None, index: str = ""
    ) -> tuple[str, ...]:
        """Wheels as files, for a pack: those that fit `python` (None: any of this machine), from `index`."""
        other = ["--python", str(python)] if python else []
        sources = ["--index-url", index, "--extra-index-url", self.sources.index_url or f"https://{INDEX_HOST}/simple"]
        return (self.slicer_python, *self.isolated, "-m", "pip", *other, "--isolated", "--no-input", "download",
                "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--progress-bar", "off",
                "--cache-dir", str(self.places.cache / "pip"), "-d", str(folder), "-r", str(requirements),
                *(sources if index else self._index()))  # fmt: skip
