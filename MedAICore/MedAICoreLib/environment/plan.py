"""The one question before anything is loaded: what, from where, how big, into which folder; what speaks against."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from medai.errors import MedAIError
from MedAICoreLib.environment.commands import INDEX_HOST, INTERPRETER_HOST, TORCH_HOST, Sources
from MedAICoreLib.environment.failures import DiagnosedFailure, diagnose_error, failure_of
from MedAICoreLib.environment.lock import Lock
from MedAICoreLib.environment.machine import Machine
from MedAICoreLib.environment.places import Places
from MedAICoreLib.environment.state import CHOSEN, MANAGED, SLICER

# Longest path of a file in an environment on Windows (torch's headers; measured: 200 on Linux, where lib is deeper).
LONGEST_PATH = 195
_WINDOWS_LIMIT = 259


@dataclass(frozen=True)
class Item:
    """One thing that is loaded: its name, where it comes from, and about how many bytes."""

    name: str
    source: str
    download_bytes: int


@dataclass(frozen=True)
class Plan:
    """What an answer of "yes" leads to. `problem` is what stands against it, found before any download."""

    route: str
    folder: Path
    items: tuple[Item, ...]
    disk_bytes: int
    free_bytes: int
    gpu: bool
    problem: MedAIError | None = None

    @property
    def download_bytes(self) -> int:
        """About how much is loaded."""
        return sum(item.download_bytes for item in self.items)

    @property
    def sources(self) -> tuple[str, ...]:
        """The servers that are asked, each once."""
        return tuple(dict.fromkeys(item.source for item in self.items))


def make_plan(
    places: Places, lock: Lock | None, machine: Machine, sources: Sources, route: str = MANAGED, base: str = ""
) -> Plan:
    """The plan for this machine. Starts nothing, loads nothing; only a small file is tried to be written."""
    message, remedy = machine.problem()
    if lock is None or message:
        failure = DiagnosedFailure(message or "There is no list of packages.", remedy, "unsupported")
        return Plan(route, places.root, (), 0, free_bytes(places.root), machine.nvidia, failure)
    gpu = machine.nvidia and sources.torch_backend == "auto"
    items = tuple(_items(lock, sources, route, gpu))
    packages = sum(item.download_bytes for item in items)
    disk = round(packages * lock.sizes.unpacked_times)
    free = free_bytes(places.root)
    problem = _problem(places, route, base, disk, free)
    return Plan(route, places.root, items, disk, free, gpu, problem)


def _items(lock: Lock, sources: Sources, route: str, gpu: bool) -> list[Item]:
    index = sources.index_url or INDEX_HOST
    torch_index = TORCH_HOST if sources.torch_backend else index
    if sources.no_index:
        index = torch_index = ", ".join(sources.find_links)
    items = [Item("uv", index, lock.sizes.uv)] if route != SLICER else []
    if route == MANAGED:
        site = sources.python_mirror or sources.python_downloads or INTERPRETER_HOST
        items.append(Item(f"Python {lock.managed_python}", site, lock.sizes.interpreter))
    items.append(Item("packages", index, lock.sizes.packages))
    if lock.torch:
        name = f"torch {lock.torch} ({'GPU' if gpu else 'processor'})"
        items.append(Item(name, torch_index, lock.sizes.torch_gpu if gpu else lock.sizes.torch_cpu))
    return items


def _problem(places: Places, route: str, base: str, disk: int, free: int) -> MedAIError | None:
    root = str(places.root)
    if sys.platform == "win32" and len(root) + LONGEST_PATH > _WINDOWS_LIMIT and not _long_paths_allowed():
        return failure_of("path-too-long", root)
    if route == CHOSEN and not os.access(base, os.X_OK):
        return DiagnosedFailure(f"'{base}' is no program.", "Choose a Python 3.11 or newer.", "missing-interpreter")
    try:
        _try_to_write(places.root)
    except OSError as error:
        return diagnose_error(error, root)
    if free < disk:
        failure = failure_of("disk-full", root)
        message = f"{failure.message} About {megabytes(disk)} are needed, {megabytes(free)} are free."
        return DiagnosedFailure(message, failure.remedy, failure.kind)
    if route != SLICER and not may_execute(places.root):
        return failure_of("policy", root)
    return None


def _try_to_write(root: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(root)  # a name that is too long is one here
    existing = _existing(root)
    probe = existing / f".medai-{os.getpid()}"
    try:
        with probe.open("xb") as stream:
            stream.write(b"MedAI tries whether it may write here.")
    finally:
        # A full disk lets the file be made and refuses its content.
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def may_execute(root: Path) -> bool:
    """Whether programs may be started from the folder, as far as its file system says (mount option noexec)."""
    existing = _existing(root)
    no_exec = getattr(os, "ST_NOEXEC", 0)
    return not (no_exec and os.statvfs(existing).f_flag & no_exec)


def free_bytes(root: Path) -> int:
    """Free space where the folder is or will be."""
    return shutil.disk_usage(_existing(root)).free


def _existing(root: Path) -> Path:
    # os.path.exists says no where pathlib raises (names that are too long).
    return next(path for path in (root, *root.parents) if os.path.exists(path))


def megabytes(count: float) -> str:
    """``850 MB`` or ``1.5 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _long_paths_allowed() -> bool:
    import winreg

    key = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:  # type: ignore[attr-defined,unused-ignore]
            value = winreg.QueryValueEx(opened, "LongPathsEnabled")[0]  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return False
    return bool(value)
