"""File name suffixes of the formats that are read and written."""

from __future__ import annotations

from pathlib import Path

from medai.errors import OutputError

SEGMENTATION = ".seg.nrrd"
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
READABLE = (SEGMENTATION, *WRITABLE, ".nhdr", ".mhd")
LABEL_MAP_WRITABLE = (SEGMENTATION, *WRITABLE)


def image_suffix(path: Path) -> str:
    """The suffix of `path` among READABLE in lower case (``.seg.nrrd`` before ``.nrrd``), or an empty string."""
    name = path.name.lower()
    return next((suffix for suffix in READABLE if name.endswith(suffix) and name != suffix), "")


def stem(path: Path) -> str:
    """The file's name without its image suffix."""
    suffix = image_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def writable_suffix(path: Path, choices: tuple[str, ...]) -> str:
    """The suffix of an output file; OutputError where it is not one of `choices`."""
    suffix = image_suffix(path)
    if suffix not in choices:
        raise OutputError(
            f"'{path.name}' has no suffix of a format that can be written here.", f"Use one of {', '.join(choices)}."
        )
    return suffix
