"""Results are written whole or not at all: a temporary name in the same folder, fsync, rename."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medai.errors import OutputError, output_error

__all__ = ["atomic_output", "output_error"]

# Enough of the name is kept to recognise the file; with the rest of the temporary name it stays below 255 bytes.
_KEPT_CHARACTERS = 60


@contextmanager
def atomic_output(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`, with its suffix; on success it is renamed to `path`, else removed.

    The block writes a file, or makes a folder (which must not exist at `path` yet), under the temporary path. An
    OSError (no permission, full disk) becomes an OutputError that names `path`.
    """
    path = Path(path)
    _check_target(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.partial-{path.name[-_KEPT_CHARACTERS:]}")
    try:
        yield temporary
        if not temporary.exists():
            raise OutputError(f"Nothing was written for '{path}'.", "Check the free space and permissions.")
        _sync(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise output_error(path, error) from error
    except BaseException:
        _remove(temporary)
        raise


def _check_target(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder.", "Give the name of a file.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder '{path.parent}' does not exist.", "Make it first, or choose another folder.")


def _sync(path: Path) -> None:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        with open(file, "rb+") as stream:
            os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders; its rename is journalled.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
