"""Work on many files in slices, so that the main loop stays free: sizes, deletion, hashes, archives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from MedAICoreLib.environment.operation import Part

_CHUNK_BYTES = 1 << 20
_LOCKED_TRIES = 5
_LOCKED_PAUSE_S = 0.2

Slices = Generator[Part | None, Any, Any]


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file and folder below `folder`, contents before their folder; links are not followed."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        yield entry


def measure(folders: Iterable[Path]) -> Generator[None, Any, int]:
    """Bytes that the folders take on the disk; a file with several names (hard links) counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder in folders:
        if folder.is_file():
            total += folder.stat().st_size
            continue
        for entry in walk(folder):
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(entry.path)  # DirEntry.stat knows no inode on Windows
                if found.st_nlink < 2 or (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
            yield
    return total


def delete_tree(folder: Path) -> Generator[None, Any, None]:
    """Delete a folder, also with read-only files in it; a file that is open elsewhere on Windows is tried again."""
    if folder.is_symlink() or folder.is_file():
        yield from _delete(folder)
        return
    for entry in walk(folder):
        yield from _delete(Path(entry.path))
    if folder.exists():
        yield from _delete(folder)


def _delete(path: Path) -> Generator[None, Any, None]:
    for attempt in range(_LOCKED_TRIES):
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
            yield
            return
        except PermissionError:
            if attempt == _LOCKED_TRIES - 1:
                raise
            _make_writable(path)
            if attempt == 0:
                continue
            resume = time.monotonic() + _LOCKED_PAUSE_S
            while time.monotonic() < resume:
                yield


def _make_writable(path: Path) -> None:
    # Windows refuses to delete a read-only file, POSIX to delete from a read-only folder.
    for target in (path.parent, path):
        if not target.is_symlink():
            with contextlib.suppress(OSError):
                os.chmod(target, stat.S_IRWXU if target.is_dir() else stat.S_IRUSR | stat.S_IWUSR)


def sha256_of(path: Path) -> Generator[None, Any, str]:
    """The file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            yield
    return digest.hexdigest()


def copy_stream(source: Any, target: Any) -> Generator[int, Any, str]:
    """Copy an open file to another, yielding the bytes of each piece; gives the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
        yield len(chunk)
    return digest.hexdigest()
