"""Building: the steps of the three routes. What was begun is named in the state file before, and called built after."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medai.errors import EnvironmentFailure
from MedAICoreLib.environment.commands import Commands
from MedAICoreLib.environment.failures import DiagnosedFailure
from MedAICoreLib.environment.files import delete_tree, measure
from MedAICoreLib.environment.operation import Part, Run, Stage, Steps, empty_log
from MedAICoreLib.environment.places import Places
from MedAICoreLib.environment.plan import megabytes
from MedAICoreLib.environment.state import MANAGED, SLICER, Built, change_state, read_state
from MedAICoreLib.environment.variables import child_variables

logger = logging.getLogger(__name__)

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# With these the site of the interpreters may be out of reach while that of the packages is not.
_SITE_KINDS = ("no-network", "proxy", "certificate", "hash-mismatch")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class Workshop:
    """What every operation needs: the folders, the command lines, this process' variables."""

    commands: Commands
    variables: dict[str, str] | None = None
    extra_imports: tuple[str, ...] = ("medai.worker.server",)

    @property
    def places(self) -> Places:
        """The folders."""
        return self.commands.places

    def run(self, command: tuple[str, ...], **options: Any) -> Run:
        """A child process with clean variables."""
        self.places.temporary.mkdir(parents=True, exist_ok=True)
        return Run(command, child_variables(self.places, self.variables), **options)


class DownloadWatch:
    """Reads uv's lines (``Downloading torch (182.9MiB)``) and the disk, and tells how far the loading is."""

    def __init__(self, root: Path, expected_bytes: int, unpacked_times: float) -> None:
        self._root = root
        self._expected = max(expected_bytes, 1)
        self._unpacked_times = unpacked_times
        self._free = shutil.disk_usage(root).free
        self._announced: dict[str, float] = {}
        self._loaded = 0.0

    def __call__(self, text: str) -> Part:
        """How much is loaded, after uv printed `text` (may be empty)."""
        for name, count, unit in re.findall(r"Downloading (\S+) \(([\d.]+)(B|KiB|MiB|GiB)\)", text):
            self._announced[name] = float(count) * _UNITS[unit]
        for name in re.findall(r"Downloaded (\S+)", text):
            self._loaded += self._announced.pop(name, 0.0)
        # Between the two lines of a large file only the disk tells that something happens.
        written = self._free - shutil.disk_usage(self._root).free
        loaded = min(max(self._loaded, written / self._unpacked_times, 0.0), self._expected)
        waiting = ", ".join(self._announced)
        amount = f"{megabytes(loaded)} of about {megabytes(self._expected)}"
        return Part(min(0.97, loaded / self._expected), f"{amount}: {waiting}" if waiting else amount)


def build(shop: Workshop, route: str, base: str = "", pack: str = "", keep: Path | None = None) -> Steps:
    """Build a new environment beside an old one, and put it in the old one's place when it has passed its check.

    `pack` is the offline pack that it comes from, `keep` the folder into which that was unpacked.
    The managed route falls back to Slicer's own Python where its interpreter cannot be loaded or started.
    """
    places = shop.places
    empty_log(places)
    yield from clear_leftovers(places, keep)
    name = places.next_name()
    change_state(places, building=name)
    folder = places.environment(name)
    fallback = ""
    if route != SLICER:
        try:
            base = yield from _make_venv(shop, route, base, folder)
        except DiagnosedFailure as failure:
            if route != MANAGED or not _slicer_may_do(failure, shop):
                raise
            fallback = f"{failure.message} Slicer's own Python is used instead."
            logger.warning("%s", fallback)
            yield from delete_tree(folder)
            route = SLICER
    if route == SLICER:
        base = yield from _fill_slicer_folder(shop, folder)
        packages = shop.commands.lock.pins()
    else:
        yield from _install(shop, folder)
        packages = yield from list_packages(shop, folder)
    built = Built(name, route, shop.commands.lock.stamp, base, packages, pack=pack)
    built = yield from check(shop, built, 0.92, 0.97)
    if fallback:
        built = replace(built, warnings=(*built.warnings, fallback))
    yield from settle(places, built)
    return read_state(places).built


def settle(places: Places, built: Built) -> Steps:
    """Make `built` the environment that is used, and delete the one before."""
    yield Stage("tidying up", 0.97, 1.0)
    yield from delete_tree(places.temporary)
    size = yield from measure([places.environment(built.folder), places.interpreters, places.tools, places.cache,
                               places.archives])  # fmt: skip
    change_state(places, built=replace(built, size_bytes=size), building="")
    for folder in places.environments():
        if folder.name != built.folder:
            yield from delete_tree(folder)


def clear_leftovers(places: Places, keep_folder: Path | None = None) -> Steps:
    """Delete what interrupted builds left; the cache of downloads stays."""
    state = read_state(places)
    keep = state.built.folder if state.built else ""
    wrecks = [folder for folder in places.environments() if folder.name != keep]
    if wrecks:
        yield Stage("clearing away what an interrupted installation left", 0.0, 0.01)
    for folder in [*wrecks, places.temporary, *sorted(places.root.glob("uv-*"))]:
        if folder != keep_folder:
            yield from delete_tree(folder)
    if state.building:
        change_state(places, building="")


def _make_venv(shop: Workshop, route: str, base: str, folder: Path) -> Steps:
    yield from provide_uv(shop)
    if route == MANAGED:
        base = yield from _provide_interpreter(shop)
    yield Stage("making the environment", 0.14, 0.15)
    yield shop.run(shop.commands.make_venv(folder, base))
    return base


def _slicer_may_do(failure: DiagnosedFailure, shop: Workshop) -> bool:
    # Where uv came from its index, the packages will come too: only the interpreter's site is out of reach.
    if not shop.commands.slicer_python:
        return False
    return failure.kind == "policy" or (failure.kind in _SITE_KINDS and shop.places.uv.is_file())


def provide_uv(shop: Workshop) -> Steps:
    """uv in our folder, of the locked version; loaded only where it is missing."""
    places, lock = shop.places, shop.commands.lock
    yield Stage("loading uv", 0.01, 0.04)
    wanted = lock.uv.read_text(encoding="utf-8").split("==")[1].split()[0]
    if places.uv.is_file() and (places.tools / f"uv-{wanted}.dist-info" / "RECORD").is_file():
        return
    fresh = places.root / "uv-new"
    yield from delete_tree(fresh)
    yield shop.run(shop.commands.install_uv(fresh))
    yield from delete_tree(places.tools)
    fresh.rename(places.tools)


def _provide_interpreter(shop: Workshop) -> Steps:
    lock = shop.commands.lock
    yield Stage(f"loading Python {lock.managed_python}", 0.04, 0.14)
    watch = DownloadWatch(shop.places.root, lock.sizes.interpreter, lock.sizes.unpacked_times)
    yield shop.run(shop.commands.install_interpreter(), watch=watch)
    found = yield shop.run(shop.commands.find_interpreter())
    return found.stdout.strip()


def _install(shop: Workshop, folder: Path) -> Steps:
    lock = shop.commands.lock
    torch_bytes = lock.sizes.torch_gpu if shop.commands.wants_gpu else lock.sizes.torch_cpu
    split = 0.15 + 0.77 * lock.sizes.packages / max(lock.sizes.packages + torch_bytes, 1) if lock.torch else 0.92
    yield Stage("loading packages", 0.15, split)
    watch = DownloadWatch(shop.places.root, lock.sizes.packages, lock.sizes.unpacked_times)
    yield shop.run(shop.commands.install_packages(folder, lock.requirements), watch=watch)
    if lock.torch:
        yield Stage(f"loading torch {lock.torch}", split, 0.92)
        watch = DownloadWatch(shop.places.root, torch_bytes, lock.sizes.unpacked_times)
        yield shop.run(shop.commands.install_torch(folder, lock.requirements), watch=watch)


def _fill_slicer_folder(shop: Workshop, folder: Path) -> Steps:
    if not shop.commands.slicer_python:
        raise EnvironmentFailure("Slicer's own Python was not found.", "Choose an interpreter.")
    yield Stage("loading packages for Slicer's own Python", 0.08, 0.5)
    yield shop.run(shop.commands.slicer_packages(folder))
    if shop.commands.lock.torch:
        yield Stage(f"loading torch {shop.commands.lock.torch} for Slicer's own Python", 0.5, 0.92)
        yield shop.run(shop.commands.slicer_torch(folder))
    return shop.commands.slicer_python


def list_packages(shop: Workshop, folder: Path) -> Steps:
    """Name and version of what is installed."""
    listed = yield shop.run(shop.commands.freeze(folder))
    return {str(entry["name"]): str(entry["version"]) for entry in json.loads(listed.stdout)}


def check(shop: Workshop, built: Built, start: float = 0.0, stop: float = 1.0) -> Steps:
    """The self-check: imports, a small inference on each device, versions. Gives `built` with what was found."""
    yield Stage("checking that everything works", start, stop)
    yield Part(0.1)
    folder = built.package_folder(shop.places) if built.folder else None
    # -I would keep Slicer's launcher from telling its Python where its library is (see Commands.isolated).
    flags = shop.commands.isolated if folder else ("-I", "-X", "utf8")
    script = PACKAGE_ROOT / "medai" / "worker" / "selfcheck.py"
    lock = shop.commands.lock
    modules = [*lock.imports, *(shop.extra_imports if lock.torch else ())]
    command = (str(built.python(shop.places)), *flags, str(script), str(PACKAGE_ROOT), str(folder or ""), *modules)
    done = yield shop.run(command, may_fail=True)
    found = _answer(done.stdout)
    if done.returncode != 0 or found is None:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DiagnosedFailure(
            f"The interpreter '{command[0]}' cannot run the self-check: {reason[0]}.",
            "Repair the environment, or choose another interpreter.", "broken", done.stderr)  # fmt: skip
    if found["problems"]:
        raise DiagnosedFailure(
            f"The environment does not work: {'; '.join(found['problems'])}.",
            "Repair the environment.", "broken", done.stderr)  # fmt: skip
    warnings = list(found["warnings"])
    if lock.torch and shop.commands.wants_gpu and not any(d.startswith("cuda") for d in found["devices"]):
        warnings.append("There is an NVIDIA driver, but torch sees no GPU. Update the driver, then repair.")
    return replace(built, versions=found["versions"], devices=tuple(found["devices"]), warnings=tuple(warnings))


def _answer(stdout: str) -> dict[str, Any] | None:
    try:
        found = json.loads(stdout)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
