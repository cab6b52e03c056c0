"""Looks at output paths before a run, so that minutes of computing are not lost to a folder that cannot be written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from medai.errors import OutputError

SEGMENTATION_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nrrd", ".mha", ".nii", ".mrb")


def check_output(path: Path, suffixes: Sequence[str], inputs: Iterable[Path] = ()) -> None:
    """OutputError where `path` has none of the suffixes, is a folder or one of `inputs`, or cannot be written.

    Whether it can be written is tried with a temporary file in its folder: permissions say little on network disks, and
    nothing to an administrator.
    """
    if not path.name.lower().endswith(tuple(suffixes)) or path.name.lower() in suffixes:
        raise OutputError(f"'{path}' has no known output suffix.", f"Use one of {', '.join(suffixes)}.")
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder.", "Give the name of a file.")
    if any(_same_file(path, source) for source in inputs):
        raise OutputError(f"'{path}' is an input of this run.", "Give the output another name.")
    check_folder(path.parent, path)


def check_folder(folder: Path, path: Path) -> None:
    """OutputError where `folder`, in which `path` is to be written, is missing or refuses a new file."""
    if not folder.is_dir():
        raise OutputError(
            f"'{path}' cannot be written: the folder '{folder}' does not exist.",
            "Make it first, or choose another one.",
        )
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".medai-"):
            pass
    except OSError as error:
        raise OutputError(
            f"'{path}' cannot be written: {error.strerror or error}.", "Choose a folder that you may write to."
        ) from error


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.exists() and other.exists() and path.samefile(other)
    except OSError:
        return False
