"""The files that probability and entropy maps are written into: memory-mapped, made before the run starts."""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from medai.errors import OutputError
from medai.image import Affine, Array, Image
from medai.preprocessing import ProbabilityMaps

_log = logging.getLogger(__name__)

_MIB = 2**20


@dataclass(frozen=True)
class MapPlace:
    """Where map files lie: `folder` (default: the system's temporary one), and `next_path`, which names each file.

    A named file holds the raw voxels (c, k, j, i), little-endian float32, and stays until its owner deletes it. Without
    `next_path` the files have no name and are gone with the arrays, however the process ends.
    """

    folder: Path | None = None
    next_path: Callable[[], Path] | None = None

    def new_array(self, shape: Sequence[int]) -> Array:
        """A float32 array of this shape, zero, in a new file. Raises OutputError where it cannot be made."""
        folder = self._existing_folder()
        path = None if self.next_path is None else self.next_path()
        nbytes = 4 * int(np.prod(shape))
        try:
            with tempfile.TemporaryFile(dir=folder) if path is None else path.open("x+b") as stream:
                _allocate(stream, nbytes)
                array: Array = np.memmap(stream, np.dtype("<f4"), "r+", shape=tuple(shape))
        except OSError as error:
            if path is not None and not isinstance(error, FileExistsError):
                _unlink(path)
            raise OutputError(
                f"A map of {nbytes / _MIB:.0f} MiB cannot be written in '{folder}': {error.strerror or error}.",
                "Free space there, or choose another folder.",
            ) from error
        return array

    def check_space(self, nbytes: int) -> None:
        """OutputError where the disk has no room for `nbytes`."""
        folder = self._existing_folder()
        free = shutil.disk_usage(folder).free
        if free < nbytes:
            raise OutputError(
                f"The probability and entropy maps need {nbytes / _MIB:.0f} MiB in '{folder}', where "
                f"{free / _MIB:.0f} MiB are free.",
                "Free space there, ask for fewer labels, or choose another folder.",
            )

    def _existing_folder(self) -> Path:
        return Path(tempfile.gettempdir()) if self.folder is None else self.folder


@dataclass(frozen=True, eq=False)
class MapSet:
    """The maps of one run, arrays (k, j, i) of the input grid: one for each of `values`, and the entropy."""

    values: tuple[int, ...]
    probabilities: tuple[Array, ...]
    entropy: Array | None

    @classmethod
    def create(cls, place: MapPlace, shape: Sequence[int], values: Sequence[int], entropy: bool) -> MapSet:
        """Make the files; OutputError, with none left behind, where the disk has no room for all of them."""
        count = len(values) + int(entropy)
        place.check_space(4 * int(np.prod(shape)) * count)
        arrays: list[Array] = []
        try:
            for _ in range(count):
                arrays.append(place.new_array(shape))
        except OutputError:
            for array in arrays:
                _remove(array)
            raise
        return cls(tuple(values), tuple(arrays[: len(values)]), arrays[-1] if entropy else None)

    def targets(self, class_values: Sequence[int], temperature: float) -> ProbabilityMaps:
        """The maps as `LabelWriter` takes them; ``class_values[n]`` is the label value of the network's class n."""
        by_value = dict(zip(self.values, self.probabilities, strict=True))
        # Class 0 is the background, also where labels that are not wanted count as background, too.
        probabilities = [None, *(by_value.get(value) for value in class_values[1:])] if by_value else ()
        return ProbabilityMaps(probabilities, self.entropy, temperature, self.let_go)

    def images(self, ijk_to_ras: Affine, name: str) -> tuple[tuple[tuple[int, Image], ...], Image | None]:
        """The probability maps by label value, and the entropy map, as images of this geometry."""
        maps = zip(self.values, self.probabilities, strict=True)
        entropy = None if self.entropy is None else Image(self.entropy[None], ijk_to_ras, name)
        return tuple((value, Image(array[None], ijk_to_ras, name)) for value, array in maps), entropy

    def arrays(self) -> tuple[Array, ...]:
        """All maps."""
        return self.probabilities if self.entropy is None else (*self.probabilities, self.entropy)

    def let_go(self) -> None:
        """Take the pages that were written out of this process' memory; they are in the files."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return  # Windows and others trim mapped files on their own, later
        for array in self.arrays():
            mapping = getattr(array, "_mmap", None)
            if mapping is not None:
                mapping.madvise(mmap.MADV_DONTNEED)

    def remove(self) -> None:
        """Delete the files: the run failed or was cancelled."""
        for array in self.arrays():
            _remove(array)


def map_path(image: Image) -> Path:
    """The named file in which the voxels of a map image lie."""
    filename = getattr(image.array, "filename", None)
    if filename is None:
        raise ValueError(f"image '{image.name}' lies in no named file")
    return Path(filename)


def _allocate(stream: IO[bytes], nbytes: int) -> None:
    """Give the file its size; where the system can, its blocks too: a full disk must be an error now, not a crash."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, nbytes)
    else:
        stream.truncate(nbytes)


def _remove(array: Array) -> None:
    filename = getattr(array, "filename", None)
    if filename is not None:
        _unlink(Path(filename))


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # Windows: still mapped; goes with the folder
        _log.debug("Cannot delete '%s' yet: %s", path, error)
