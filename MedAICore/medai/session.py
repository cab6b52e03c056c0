"""The session folder: where voxels lie while they go between Slicer and the worker (docs/protocol.md, section 6)."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import re
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import numpy as np

from medai.config.requests import ArrayRef
from medai.errors import FileFormatError, InputError, OutputError
from medai.image import Array, Image
from medai.process_identity import ProcessIdentity

logger = logging.getLogger(__name__)
PREFIX = "medai-session-"
_NAME = re.compile(re.escape(PREFIX) + r"(\d+-\d+)-.+")


class SessionFolder:
    """A folder that only this user can open, named after the process that owns it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, parent: Path | None = None) -> SessionFolder:
        """A new, empty folder of mode 0700 in `parent` (the temporary folder), owned by this process."""
        parent = Path(tempfile.gettempdir()) if parent is None else Path(parent)
        try:
            return cls(Path(tempfile.mkdtemp(prefix=f"{PREFIX}{ProcessIdentity.current()}-", dir=parent)))
        except OSError as error:
            raise OutputError(
                f"Cannot make a folder for temporary data in '{parent}': {error.strerror or error}.",
                "Free space there, or choose another temporary folder in Slicer's settings.",
            ) from error

    def remove(self) -> None:
        """Delete the folder with everything in it; nothing happens where it is gone already."""
        shutil.rmtree(self.path, ignore_errors=True)

    def discard(self, *refs: ArrayRef) -> None:
        """Delete the files of these arrays, where they still exist."""
        for ref in refs:
            _unlink(self.path / ref.file)

    def discard_results_of(self, request_id: int) -> None:
        """Delete every file that the worker wrote for this request."""
        for path in self.path.glob(f"r{request_id}-*"):
            _unlink(path)

    def open_array(self, ref: ArrayRef) -> MappedArray:
        """The array of `ref`, memory-mapped; FileFormatError where its file is missing or has another size."""
        return MappedArray(self.path / ref.file, ref)

    def take_image(self, ref: ArrayRef) -> Image:
        """The image of `ref`; its file is deleted at once. Writing to its voxels changes no file.

        The voxels stay memory-mapped where the system lets a mapped file be deleted, and are copied on Windows.
        """
        mapped = self.open_array(ref)
        array = mapped.array
        if sys.platform == "win32":
            array = array.copy()
            mapped.close()
        self.discard(ref)
        return Image(array, np.array(ref.ijk_to_ras, np.float64).reshape(4, 4), ref.name, ref.modality)

    def put_image(self, file: str, image: Image) -> ArrayRef:
        """Write the voxels of `image` as `file`; a file that could not be written whole is removed (OutputError)."""
        ref = array_ref(file, image.array, image.ijk_to_ras, image.name, image.modality)
        path = self.path / file
        try:
            with path.open("xb") as stream:
                for channel in image.array:
                    for plane in channel:  # one at a time: an image of odd strides is never copied as a whole
                        stream.write(np.ascontiguousarray(plane, dtype=little_endian(ref.dtype)).data)
        except OSError as error:
            _unlink(path)
            raise cannot_write(path, ref.nbytes, error) from error
        return ref


class MappedArray:
    """A file of raw voxels in memory: `array` (c, k, j, i), private (copy on write), until `close`."""

    def __init__(self, path: Path, ref: ArrayRef) -> None:
        try:
            with path.open("rb") as stream:
                found = os.fstat(stream.fileno()).st_size
                if found != ref.nbytes:
                    raise FileFormatError(
                        f"'{path}' has {found} bytes, but shape {list(ref.shape)} of {ref.dtype} needs {ref.nbytes}.",
                        "Send the image again.",
                    )
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise FileFormatError(
                f"Cannot read the voxels in '{path}': {error.strerror or error}.", "Send the image again."
            ) from error
        self.array: Array = np.frombuffer(self._map, dtype=little_endian(ref.dtype)).reshape(ref.shape)

    def close(self) -> None:
        """Give the memory back; views of `array` must not be used any more."""
        del self.array
        try:
            self._map.close()
        except BufferError:  # a caller still holds a view: the memory goes with that view
            logger.debug("A view of a session array outlives its file.")


def array_ref(file: str, array: Array, ijk_to_ras: Array, name: str = "", modality: str = "") -> ArrayRef:
    """What a message says about these voxels (c, k, j, i); InputError for a type of number that cannot be sent."""
    if array.ndim != 4:
        raise InputError(f"An array of shape {array.shape} is no image.", "Give the axes (channel, k, j, i).")
    if array.dtype.name not in _DTYPES:
        raise InputError(
            f"Voxels of type {array.dtype.name} cannot be sent to the worker.",
            f"Cast the volume first, to one of: {', '.join(_DTYPES)}.",
        )
    c, k, j, i = array.shape
    matrix = tuple(float(v) for v in np.asarray(ijk_to_ras, np.float64).reshape(16))
    return ArrayRef(file, array.dtype.name, (c, k, j, i), matrix, name, modality)  # type: ignore[arg-type]


def little_endian(dtype: str) -> np.dtype:
    """numpy's type of the file's voxels."""
    return np.dtype(dtype).newbyteorder("<")


def cannot_write(path: Path, nbytes: int, error: OSError) -> OutputError:
    """The error of a session file of `nbytes` that could not be written."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return OutputError(
            f"No space for {nbytes / 2**20:.0f} MiB of voxels in '{path.parent}'.",
            "Free space on that disk, or choose another temporary folder in Slicer's settings.",
        )
    return OutputError(f"Cannot write '{path}': {error.strerror or error}.", "Check the temporary folder.")


def sweep(parent: Path | None = None) -> int:
    """Remove this user's session folders whose process no longer exists; returns how many."""
    parent = Path(tempfile.gettempdir()) if parent is None else Path(parent)
    removed = 0
    for path in parent.glob(f"{PREFIX}*"):
        match = _NAME.fullmatch(path.name)
        owner = ProcessIdentity.parse(match[1]) if match else None
        if owner is None or owner.alive() or not _is_own_folder(path):
            continue
        shutil.rmtree(path, ignore_errors=True)
        removed += 1
        logger.info("Removed '%s' of process %s, which has ended.", path, owner.pid)
    return removed


_DTYPES = (
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
)  # fmt: skip


def _is_own_folder(path: Path) -> bool:
    # lstat: in a temporary folder that everybody can write to, a link of somebody else may have this name.
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.getuid())


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # Windows: still mapped by the other side; goes with the session folder
        logger.debug("Cannot delete '%s' yet: %s", path, error)
