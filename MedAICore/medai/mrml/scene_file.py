"""Scene files (.mrb) that Slicer opens."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from medai.errors import OutputError


def save_scene_mrb(scene: Any, path: str | Path) -> Path:
    """Write the scene with all its data as an .mrb file; whole or not at all. Raises OutputError."""
    target = Path(path).absolute()
    if target.suffix.lower() != ".mrb":
        raise OutputError(f"A scene cannot be written as '{target.name}'.", "Give a file name that ends in .mrb.")
    try:
        # A folder beside the target: renaming is atomic only within one file system. The scene keeps the file's name.
        with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
            temporary = Path(folder) / target.name
            written = scene.WriteToMRB(temporary.as_posix())
            if not written or not temporary.is_file():
                raise OutputError(f"Slicer could not write the scene '{target}'.", "Check the free space of the disk.")
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"The scene '{target}' could not be written: {error.strerror or error}.",
            "Choose a folder that exists, can be written to and has room.",
        ) from error
    return target
