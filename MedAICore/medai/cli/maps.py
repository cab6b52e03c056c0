"""The probability and entropy maps of ``medai segment`` as files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medai.cli.outputs import check_folder, check_output
from medai.errors import OutputError

if TYPE_CHECKING:
    from medai.labels import LabelScheme
    from medai.segment import SegmentResult

_SUFFIX = ".nii.gz"
_ENTROPY_SUFFIXES = (".nii.gz", ".nrrd", ".mha", ".nii")
# Windows refuses these, and names that end in a dot or a space.
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def check_maps(probabilities: Path | None, entropy: Path | None, others: Iterable[Path]) -> None:
    """OutputError, before anything is computed, where the folder or the file cannot be written or is another file."""
    if probabilities is not None:
        if probabilities.exists() and not probabilities.is_dir():
            raise OutputError(f"'{probabilities}' is a file.", "Give --probabilities the name of a folder.")
        check_folder(probabilities if probabilities.is_dir() else probabilities.resolve().parent, probabilities)
    if entropy is not None:
        check_output(entropy, _ENTROPY_SUFFIXES)
        if entropy.resolve() in {path.resolve() for path in others}:
            raise OutputError(f"'{entropy}' is an input or the other output of this run.", "Give it another name.")


def write_maps(probabilities: Path | None, entropy: Path | None, result: SegmentResult) -> dict[str, Any]:
    """Write the maps that were asked for, each file whole or not at all; what the JSON result says of them."""
    from medai.imageio import write_image

    written: dict[str, Any] = {}
    if probabilities is not None:
        try:
            probabilities.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder '{probabilities}' cannot be made: {error.strerror}.") from error
        names = file_names(result.scheme)
        for value, image in result.probabilities:
            write_image(probabilities / names[value], image)
        labels = {label.value: label.name for label in result.scheme}
        written["probabilities"] = {labels[v]: str(probabilities / names[v]) for v, _ in result.probabilities}
    if entropy is not None and result.entropy is not None:
        write_image(entropy, result.entropy)
        written["entropy"] = str(entropy)
    return written


def file_names(scheme: LabelScheme) -> dict[int, str]:
    """Label value -> file name: the label's name where every system takes it, made unique by the value otherwise."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for label in scheme:
        # 60 characters are at most 240 bytes in UTF-8; file systems take 255.
        name = _UNSAFE.sub("_", label.name)[:60].strip(" .") or "label"
        name = f"_{name}" if _RESERVED.fullmatch(name) else name
        while name.casefold() in taken:
            name = f"{name}-{label.value}"
        taken.add(name.casefold())
        names[label.value] = name + _SUFFIX
    return names
