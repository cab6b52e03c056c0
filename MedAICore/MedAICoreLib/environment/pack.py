"""The offline pack: wheels, uv and the interpreter's archive in one file, made on one machine, installed on another."""

from __future__ import annotations

import json
import os
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medai.errors import EnvironmentFailure
from MedAICoreLib.environment.build import DownloadWatch, Workshop, build
from MedAICoreLib.environment.commands import TORCH_HOST
from MedAICoreLib.environment.failures import DiagnosedFailure, failure_of
from MedAICoreLib.environment.files import copy_stream, delete_tree
from MedAICoreLib.environment.lock import Lock
from MedAICoreLib.environment.operation import Part, Stage, Steps, empty_log
from MedAICoreLib.environment.places import Places
from MedAICoreLib.environment.plan import free_bytes, megabytes
from MedAICoreLib.environment.repair import normalized
from MedAICoreLib.environment.state import CHOSEN, MANAGED, SLICER, Built, read_state

FORMAT = 1
SUFFIX = ".zip"
_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 20
_NAME = re.compile(r"(wheels|archives)/[A-Za-z0-9._+%-]+")


@dataclass(frozen=True)
class PackedFile:
    """One file of a pack."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a pack says of itself: `stamp` of the lock, `platform`, the Python (``3.12``) and how it is to be had."""

    platform: str
    stamp: str
    python: str
    route: str
    torch: str
    files: dict[str, PackedFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def make_pack(shop: Workshop, target: Path) -> Steps:
    """Write the pack of the environment that is installed. The wheels are loaded again: uv keeps them unpacked only."""
    places = shop.places
    built = read_state(places).built
    if built is None:
        raise EnvironmentFailure("There is no environment to make a pack of.", "Install it first.")
    empty_log(places)
    yield from delete_tree(places.temporary)
    wheels = places.temporary / "wheels"
    wheels.mkdir(parents=True)
    yield from _load_wheels(shop, built, wheels)
    archives = sorted(places.archives.iterdir()) if built.route == MANAGED and places.archives.is_dir() else []
    if built.route == MANAGED and not archives:
        raise EnvironmentFailure("The archive of the interpreter is gone.", "Remove the environment and install it.")
    sources = {f"wheels/{path.name}": path for path in sorted(wheels.iterdir())}
    sources.update({f"archives/{path.name}": path for path in archives if path.is_file()})
    python = ".".join(built.versions.get("python", "").split(".")[:2])
    manifest = Manifest(shop.commands.lock.platform, built.stamp, python, built.route, shop.commands.lock.torch, {})
    yield from _write(target, manifest, sources)
    yield from delete_tree(places.temporary)
    return target


def _load_wheels(shop: Workshop, built: Built, wheels: Path) -> Steps:
    lock = shop.commands.lock
    python = built.python(shop.places) if built.route != SLICER else None
    yield Stage("loading the packages for the pack", 0.0, 0.3)
    watch = DownloadWatch(shop.places.root, lock.sizes.packages, 1.0)
    yield shop.run(shop.commands.download(wheels, lock.uv))
    yield shop.run(shop.commands.download(wheels, lock.requirements, python), watch=watch)
    rest = {name: v for name, v in built.packages.items() if not lock.block(normalized(name))}
    if not rest:
        return
    yield Stage("loading torch for the pack", 0.3, 0.6)
    requirements = wheels.parent / "torch.txt"
    requirements.write_text("".join(f"{name}=={version}\n" for name, version in rest.items()), encoding="utf-8")
    local = rest.get("torch", "").partition("+")[2]
    index = f"https://{TORCH_HOST}/whl/{local}" if local and shop.commands.sources.torch_backend else ""
    size = lock.sizes.torch_cpu if local in ("", "cpu") else lock.sizes.torch_gpu
    watch = DownloadWatch(shop.places.root, size, 1.0)
    yield shop.run(shop.commands.download(wheels, requirements, python, index), watch=watch)


def _write(target: Path, manifest: Manifest, sources: dict[str, Path]) -> Steps:
    yield Stage(f"writing '{target.name}'", 0.6, 1.0)
    total = sum(path.stat().st_size for path in sources.values())
    needed = total + _MANIFEST_BYTES
    if free_bytes(target.parent) < needed:
        failure = failure_of("disk-full", str(target.parent))
        raise DiagnosedFailure(f"{failure.message} The pack needs {megabytes(needed)}.", failure.remedy, failure.kind)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    written = 0
    files: dict[str, dict[str, Any]] = {}
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, path in sources.items():
                with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as packed:
                    pieces = copy_stream(source, packed)
                    digest = ""
                    while True:
                        try:
                            written += next(pieces)
                        except StopIteration as stop:
                            digest = stop.value
                            break
                        yield Part(written / total, path.name)
                files[name] = {"sha256": digest, "size": path.stat().st_size}
            content = {"format": FORMAT, "platform": manifest.platform, "stamp": manifest.stamp, "files": files,
                       "python": manifest.python, "route": manifest.route, "torch": manifest.torch}  # fmt: skip
            archive.writestr(_MANIFEST, json.dumps(content, indent=1))
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_manifest(path: Path, lock: Lock | None = None) -> Manifest:
    """What the pack at `path` holds. EnvironmentFailure where it is none, unsafe, damaged, or for another platform or
    version than `lock` (None: not compared)."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(_MANIFEST)
            if info.file_size > _MANIFEST_BYTES:
                raise _bad_pack(path, f"its {_MANIFEST} has {info.file_size} bytes")
            content = json.loads(archive.read(info))
            entries = {entry.filename: entry for entry in archive.infolist() if entry.filename != _MANIFEST}
    except FileNotFoundError as error:
        raise _bad_pack(path, "it does not exist") from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _bad_pack(path, f"{error}") from error
    manifest = _parse(path, content)
    for name, entry in entries.items():
        _refuse_unsafe(path, name, entry)
    wrong = set(entries) ^ set(manifest.files)
    if wrong:
        raise _bad_pack(path, f"its list of files does not fit '{min(wrong)}'")
    if lock is not None:
        _refuse_other(path, manifest, lock)
    return manifest


def _parse(path: Path, content: Any) -> Manifest:
    try:
        if content["format"] != FORMAT:
            raise _bad_pack(path, f"its format is {content['format']}, this MedAI reads {FORMAT}")
        files = {str(n): PackedFile(str(f["sha256"]), int(f["size"])) for n, f in content["files"].items()}
        texts = [str(content[key]) for key in ("platform", "stamp", "python", "route", "torch")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _bad_pack(path, f"its {_MANIFEST} is damaged: {error!r}") from error
    platform, stamp, python, route, torch = texts
    return Manifest(platform, stamp, python, route, torch, files)


def _refuse_unsafe(path: Path, name: str, entry: zipfile.ZipInfo) -> None:
    # Only plain files in the two folders: nothing of ".", "..", absolute paths, drives, streams or links gets through.
    is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
    if not _NAME.fullmatch(name) or PurePosixPath(name).name in (".", "..") or is_link:
        raise _bad_pack(path, f"it holds '{name}', which does not belong into a pack")


def _refuse_other(path: Path, manifest: Manifest, lock: Lock) -> None:
    if manifest.platform != lock.platform:
        raise DiagnosedFailure(
            f"The pack '{path.name}' is for {manifest.platform}; this computer is {lock.platform}.",
            "Make the pack on a computer of the same kind.", "wrong-platform")  # fmt: skip
    if manifest.stamp.rpartition(" ")[2] != lock.stamp.rpartition(" ")[2]:
        raise DiagnosedFailure(
            f"The pack '{path.name}' was made by another version of MedAI ({manifest.stamp.split()[0]}).",
            "Make the pack with the version that is installed here.", "wrong-version")  # fmt: skip


def install_pack(shop: Workshop, path: Path, base: str = "") -> Steps:
    """Build the environment from the pack alone, without a network; `base`: an interpreter, for a pack without one."""
    places, lock = shop.places, shop.commands.lock
    empty_log(places)
    manifest = read_manifest(path, lock)
    needed = round(manifest.size * (1 + lock.sizes.unpacked_times))
    if free_bytes(places.root) < needed:
        failure = failure_of("disk-full", str(places.root))
        raise DiagnosedFailure(f"{failure.message} The pack needs {megabytes(needed)}.", failure.remedy, failure.kind)
    wheels = places.root / "uv-pack"
    try:
        yield from _unpack(path, manifest, places, wheels)
        sources = replace(shop.commands.sources, no_index=True, find_links=(str(wheels),), torch_backend="")
        commands = replace(shop.commands, sources=sources)
        route = manifest.route if manifest.route == SLICER or not base else CHOSEN
        if route == CHOSEN and not base:
            raise DiagnosedFailure(
                f"The pack '{path.name}' has no interpreter; it needs a Python {manifest.python}.",
                "Choose a Python of this version.", "missing-interpreter")  # fmt: skip
        built = yield from build(replace(shop, commands=commands), route, base, str(path), keep=wheels)
    finally:
        _delete_now(wheels)
    return built


def _unpack(path: Path, manifest: Manifest, places: Places, wheels: Path) -> Steps:
    yield Stage(f"unpacking '{path.name}'", 0.0, 0.05)
    yield from delete_tree(wheels)
    wheels.mkdir(parents=True)
    places.archives.mkdir(parents=True, exist_ok=True)
    done = 0
    with zipfile.ZipFile(path) as archive:
        for name, listed in manifest.files.items():
            kind, _slash, file = name.partition("/")
            target = (wheels if kind == "wheels" else places.archives) / file
            partial = target.with_name(f"{file}.part")
            with archive.open(name) as source, partial.open("wb") as stream:
                pieces = copy_stream(source, stream)
                while True:
                    try:
                        done += next(pieces)
                    except zipfile.BadZipFile as error:
                        raise _bad_pack(path, f"'{name}' is damaged") from error
                    except StopIteration as stop:
                        digest = stop.value
                        break
                    yield Part(done / max(manifest.size, 1), file)
            if digest != listed.sha256:
                partial.unlink()
                raise _bad_pack(path, f"'{name}' is damaged (its SHA-256 is {digest})")
            os.replace(partial, target)


def _delete_now(folder: Path) -> None:
    # A dozen files: also when the operation is cancelled there is time for them.
    for _step in delete_tree(folder):
        pass


def _bad_pack(path: Path, reason: str) -> DiagnosedFailure:
    return DiagnosedFailure(
        f"'{path}' cannot be used as an offline pack: {reason}.", "Copy the pack again, or make a new one.", "bad-pack"
    )
