"""Big copies in slabs: a volume out to the session folder, a label map in from it, a few milliseconds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from medai.config.requests import ArrayRef
from medai.errors import InputError, MedAIError
from medai.image import Array
from medai.session import MappedArray, SessionFolder, array_ref, cannot_write, little_endian

SLAB_BYTES = 8 << 20
_numbers = count(1)


class ArrayWriter:
    """Copies voxels to a file of the session folder, one slab per `step`; then `ref` goes into a request.

    `array` has the axes (c, k, j, i) or (k, j, i), of any strides; it must not change or be freed until `done`.
    A file that was not completed is deleted by `abort`, and when writing fails (OutputError).
    """

    def __init__(
        self, session: SessionFolder, array: Array, ijk_to_ras: Array, name: str = "", modality: str = ""
    ) -> None:
        self._array = array[None] if array.ndim == 3 else array
        self.ref: ArrayRef = array_ref(f"a{next(_numbers)}.raw", self._array, ijk_to_ras, name, modality)
        self._path = session.path / self.ref.file
        self._rows = _rows(self.ref)
        self._written = 0
        try:
            self._stream = self._path.open("xb")
        except OSError as error:
            raise cannot_write(self._path, self.ref.nbytes, error) from error

    @property
    def fraction(self) -> float:
        """Share that is written, 0 to 1."""
        return self._written / self.ref.nbytes

    @property
    def done(self) -> bool:
        """Whether the file is complete."""
        return self._written == self.ref.nbytes

    def step(self, budget_bytes: int = SLAB_BYTES) -> bool:
        """Write about `budget_bytes` more; True once the file is complete."""
        stop = self._written + budget_bytes
        dtype = little_endian(self.ref.dtype)
        try:
            while self._written < min(stop, self.ref.nbytes):
                c, k, rows = next(self._rows)
                slab = np.ascontiguousarray(self._array[c, k, rows], dtype=dtype)
                self._written += self._stream.write(slab.data)
            if self.done:
                self._stream.close()
        except OSError as error:
            self.abort()
            raise cannot_write(self._path, self.ref.nbytes, error) from error
        return self.done

    def abort(self) -> None:
        """Delete the file, complete or not."""
        try:
            self._stream.close()
        except OSError:
            # A full disk is reported a second time for what was still buffered; the file goes away in any case.
            self._written = 0
        self._path.unlink(missing_ok=True)


class ArrayReader:
    """Copies a file of the session folder into `array` (c, k, j, i), one slab per `step`, and then deletes the file.

    `out` is where the voxels go: of the same shape, or (k, j, i) for one channel; None makes a new array. Voxels are
    cast to its type. Raises FileFormatError where the file is missing or has another size.
    """

    def __init__(self, session: SessionFolder, ref: ArrayRef, out: Array | None = None) -> None:
        self._session = session
        self.ref = ref
        try:
            self._mapped: MappedArray | None = session.open_array(ref)
        except MedAIError:
            session.discard(ref)
            raise
        self.array: Array = np.empty(ref.shape, np.dtype(ref.dtype)) if out is None else _four_axes(out)
        if self.array.shape != ref.shape:
            self.abort()
            raise InputError(f"Voxels of shape {ref.shape} do not fit {self.array.shape}.", "Give the same grid.")
        self._rows = _rows(ref)
        self._read = 0

    @property
    def fraction(self) -> float:
        """Share that is copied, 0 to 1."""
        return self._read / self.ref.nbytes

    @property
    def done(self) -> bool:
        """Whether `array` is complete."""
        return self._read == self.ref.nbytes

    def step(self, budget_bytes: int = SLAB_BYTES) -> bool:
        """Copy about `budget_bytes` more; True once `array` is complete and the file deleted."""
        stop = self._read + budget_bytes
        while self._mapped is not None and self._read < min(stop, self.ref.nbytes):
            c, k, rows = next(self._rows)
            slab = self._mapped.array[c, k, rows]
            self.array[c, k, rows] = slab
            self._read += slab.nbytes
            del slab  # a view would keep the file mapped
        if self.done:
            self.abort()
        return self.done

    def abort(self) -> None:
        """Delete the file, copied or not."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        self._session.discard(self.ref)


def _rows(ref: ArrayRef) -> Iterator[tuple[int, int, slice]]:
    # Pieces of at most 1 MiB (or one row), so that a budget is met closely also for the huge planes of 2D images.
    channels, planes, rows, columns = ref.shape
    step = max(1, (1 << 20) // (columns * ref.itemsize))
    for c in range(channels):
        for k in range(planes):
            for j in range(0, rows, step):
                yield c, k, slice(j, min(j + step, rows))


def _four_axes(array: Array) -> Array:
    return array[None] if array.ndim == 3 else array
