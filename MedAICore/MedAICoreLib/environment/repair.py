"""Repair: every installed file compared with its package's own list, what is broken installed again, the check run."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medai.errors import EnvironmentFailure
from MedAICoreLib.environment.build import Workshop, build, check, list_packages, provide_uv, settle
from MedAICoreLib.environment.files import sha256_of
from MedAICoreLib.environment.operation import Part, Stage, Steps, empty_log
from MedAICoreLib.environment.places import Places, site_packages
from MedAICoreLib.environment.state import SLICER, Built, read_state


@dataclass(frozen=True)
class Damage:
    """What is wrong with the files of one package; `changed` means that a file is there with other content."""

    name: str
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def verify(places: Places, built: Built) -> Generator[Part | None, Any, list[Damage]]:
    """Compare each file with the RECORD of its package; a package that is gone altogether is damaged too."""
    folder = places.environment(built.folder)
    site = folder if built.route == SLICER else site_packages(folder)
    records = sorted(site.glob("*.dist-info")) if site is not None else []
    found: dict[str, Damage] = {}
    for number, info in enumerate(records):
        yield Part(number / len(records), info.name)
        damage = yield from _verify_package(info)
        found[normalized(damage.name)] = damage
    gone = [Damage(name, ("",)) for name in built.packages if normalized(name) not in found]
    return gone + [damage for damage in found.values() if damage.missing or damage.changed]


def _verify_package(info: Path) -> Generator[None, Any, Damage]:
    name = info.name.removesuffix(".dist-info").rpartition("-")[0]
    missing, changed = [], []
    try:
        with (info / "RECORD").open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError):
        return Damage(name, ("RECORD",))
    for file, digest, *_size in rows:
        path = info.parent / file
        if not path.is_file():
            if not file.endswith(".pyc"):
                missing.append(file)
        elif digest.startswith("sha256="):
            found = yield from sha256_of(path)
            if _as_recorded(found) != digest.removeprefix("sha256="):
                changed.append(file)
        yield
    return Damage(name, tuple(missing), tuple(changed))


def _as_recorded(hexadecimal: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).rstrip(b"=").decode()


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def repair(shop: Workshop, base: str = "") -> Steps:
    """Bring the environment into order with as little loading as possible; where its interpreter is broken, build anew.

    What is only missing comes from uv's cache, also without a network; changed files are loaded again.
    """
    places = shop.places
    built = read_state(places).built
    if built is None:
        raise EnvironmentFailure("There is no environment to repair.", "Install it.")
    empty_log(places)
    if built.route == SLICER or not (yield from _interpreter_runs(shop, built)):
        return (yield from build(shop, built.route, base or built.base, built.pack))
    yield Stage("comparing files with their packages", 0.05, 0.5)
    damaged = yield from verify(places, built)
    if damaged:
        yield from provide_uv(shop)
        yield Stage(f"installing again: {', '.join(damage.name for damage in damaged)}", 0.5, 0.85)
        yield from _reinstall(shop, built, damaged)
    folder = places.environment(built.folder)
    packages = yield from list_packages(shop, folder) if places.uv.is_file() else _unchanged(built)
    checked = yield from check(shop, replace(built, packages=packages), 0.85, 0.95)
    yield from settle(places, checked)
    return damaged


def _unchanged(built: Built) -> Steps:
    yield None
    return built.packages


def _interpreter_runs(shop: Workshop, built: Built) -> Steps:
    yield Stage("trying the interpreter", 0.0, 0.05)
    python = built.python(shop.places)
    if not python.is_file():
        return False
    done = yield shop.run((str(python), "-I", "-c", "import encodings, ssl, ctypes, zlib"), may_fail=True)
    return done.returncode == 0


def _reinstall(shop: Workshop, built: Built, damaged: list[Damage]) -> Steps:
    lock = shop.commands.lock
    versions = {normalized(name): f"{name}=={version}\n" for name, version in built.packages.items()}
    names = [normalized(damage.name) for damage in damaged]
    changed = [normalized(damage.name) for damage in damaged if damage.changed]
    if changed:
        yield shop.run(shop.commands.forget_cached(changed))
    # uv takes requirements with hashes (the locked ones) and without (torch and what came with it) only apart.
    locked = [lock.block(name) for name in names if lock.block(name)]
    other = [versions.get(name, f"{name}\n") for name in names if not lock.block(name)]
    for lines in (locked, other):
        if lines:
            yield from _reinstall_lines(shop, built, lines, online=bool(changed))


def _reinstall_lines(shop: Workshop, built: Built, lines: list[str], online: bool) -> Steps:
    places = shop.places
    places.temporary.mkdir(parents=True, exist_ok=True)
    requirements = places.temporary / "repair.txt"
    requirements.write_text("".join(line.rstrip("\n") + "\n" for line in lines), encoding="utf-8")
    command = shop.commands.reinstall(places.environment(built.folder), requirements)
    if not online:
        done = yield shop.run((*command, "--offline"), may_fail=True)
        if done.returncode == 0:
            return
    yield shop.run(command)
