"""Volumes on their way to the worker as the channels of one input, a slice of work per step."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from medai.client import ArrayWriter
from medai.mrml import GridResampler, image_from_volume, linear_between
from medai.session import array_ref, cannot_write, little_endian

STEP_SECONDS = 0.008
_numbers = count(1)


def channelSender(session: Any, volume: Any, reference: Any = None, modality: str = ""):
    """What copies the voxels of a volume node into the session folder, as a channel beside those of `reference`.

    The worker resamples channels to the grid of the first one by their geometry, so a linear difference between the
    parent transforms goes into the geometry that is sent. A warp cannot: there the volume is interpolated at the
    voxels of the reference here.
    """
    image = image_from_volume(volume, copy=False)
    matrix = image.ijk_to_ras
    if reference is not None and reference is not volume:
        between = linear_between(volume, reference)
        if between is None:
            return WarpedSender(session, volume, reference, modality)
        matrix = between @ matrix
    return PlainSender(session, image.array, matrix, volume.GetName(), modality)


class PlainSender:
    """Copies the voxels as they are."""

    def __init__(self, session: Any, array: Any, ijkToRas: Any, name: str, modality: str = "") -> None:
        self.stage = _("Sending '{name}'").format(name=name)
        self._writer = ArrayWriter(session, array, ijkToRas, name, modality)

    @property
    def ref(self):
        """What the request says about the file."""
        return self._writer.ref

    @property
    def fraction(self) -> float:
        """Share that is written, 0 to 1."""
        return self._writer.fraction

    def step(self) -> bool:
        """Write a slab; True once the file is complete."""
        return self._writer.step()

    def abort(self) -> None:
        """Delete the file."""
        self._writer.abort()


class WarpedSender:
    """Interpolates the volume on the reference's grid through their transforms, some rows per step, into a file."""

    def __init__(self, session: Any, volume: Any, reference: Any, modality: str = "") -> None:
        name = volume.GetName()
        self.stage = _("Resampling '{name}' through its transform").format(name=name)
        self._resampler = GridResampler(volume, reference)
        grid = image_from_volume(reference, copy=False)
        shape = np.broadcast_to(np.float32(0), (1, *self._resampler.shape))
        self.ref = array_ref(f"w{next(_numbers)}.raw", shape, grid.ijk_to_ras, name, modality)
        self._path = session.path / self.ref.file
        self._dtype = little_endian(self.ref.dtype)
        self._k, self._j, self._rows = 0, 0, 1
        try:
            self._stream = self._path.open("xb")
        except OSError as error:
            raise cannot_write(self._path, self.ref.nbytes, error) from error

    @property
    def fraction(self) -> float:
        """Share that is written, 0 to 1."""
        slices, rows = self._resampler.shape[:2]
        return (self._k + self._j / rows) / slices

    def step(self) -> bool:
        """Interpolate and write for a few milliseconds; True once the file is complete."""
        until = time.perf_counter() + STEP_SECONDS
        slices, rows = self._resampler.shape[:2]
        try:
            while self._k < slices and time.perf_counter() < until:
                self._block(rows)
            if self._k == slices:
                self._stream.close()
        except OSError as error:
            self.abort()
            raise cannot_write(self._path, self.ref.nbytes, error) from error
        return self._k == slices

    def _block(self, rows: int) -> None:
        """Some rows; how many adapts to what a row costs, which differs a thousandfold between kinds of transforms."""
        started = time.perf_counter()
        stop = min(self._j + self._rows, rows)
        block = self._resampler.rows(self._k, self._j, stop)
        self._stream.write(np.ascontiguousarray(block, dtype=self._dtype).data)
        seconds = time.perf_counter() - started
        if seconds < STEP_SECONDS / 4:
            self._rows = min(2 * self._rows, rows)
        elif seconds > STEP_SECONDS:
            self._rows = max(self._rows // 2, 1)
        self._k, self._j = (self._k, stop) if stop < rows else (self._k + 1, 0)

    def abort(self) -> None:
        """Delete the file, complete or not."""
        try:
            self._stream.close()
        except OSError:
            # A full disk is reported a second time for what was still buffered; the file goes away in any case.
            self._k = 0
        self._path.unlink(missing_ok=True)
