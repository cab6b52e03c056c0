"""Whether the volume under a click session is still the one that was sent to the worker."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from medai.image import Image
from medai.mrml import image_from_volume

_PLANES_A_STEP = 16


class VolumeWatch:
    """Remembers the voxels (by a checksum) and the grid of a volume, and listens to its changes.

    The checksum is taken in steps beside the sending, so that the window does not stall. Slicer tells that voxels were
    modified also where none has another value (and where the proxy node of a sequence was set to the same frame
    again): only when it did, they are summed up anew and compared. `onEvent` is called when the volume tells of any
    change, and when any node leaves the scene. A parent transform may change at any time: prompts are mapped when they
    are placed.
    """

    def __init__(self, volume: Any, onEvent: Callable[[], None]) -> None:
        self.image: Image = image_from_volume(volume, copy=False)
        self._volume = volume
        self._data = volume.GetImageData()
        self._time = _timeOf(volume)
        self._sum = 0
        self._plane = 0
        self._onEvent = onEvent
        events = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, "ModifiedEvent")
        scene = volume.GetScene()
        self._tags = [(volume, volume.AddObserver(event, self._told)) for event in events]
        self._tags.append((scene, scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._told)))

    def step(self) -> bool:
        """Sum up the next slab; True once all voxels are in."""
        voxels = self.image.array
        stop = min(self._plane + _PLANES_A_STEP, voxels.shape[1])
        self._sum = _sumOf(voxels[:, self._plane : stop], self._sum)
        self._plane = stop
        return stop == voxels.shape[1]

    @property
    def touched(self) -> bool:
        """Whether the volume may have other voxels or another grid by now (quick)."""
        return self._volume.GetImageData() is not self._data or _timeOf(self._volume) != self._time

    def changed(self) -> str:
        """What has changed: "grid", "voxels", or "" for nothing; sums up all voxels where they were touched."""
        now = self._volume.GetImageData()
        if now is None or now.GetNumberOfPoints() == 0:
            return "voxels"
        image = image_from_volume(self._volume, copy=False)
        if image.shape != self.image.shape or not np.allclose(image.ijk_to_ras, self.image.ijk_to_ras, atol=1e-6):
            return "grid"
        if not self.touched:
            return ""
        while not self.step():
            pass
        if image.array.dtype != self.image.array.dtype or _sumOf(image.array, 0) != self._sum:
            return "voxels"
        self._data, self._time, self.image = now, _timeOf(self._volume), image
        return ""

    def close(self) -> None:
        """Stop listening."""
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []

    def _told(self, _caller: Any, _event: str) -> None:
        self._onEvent()


def _timeOf(volume: Any) -> tuple[int, int]:
    data = volume.GetImageData()
    scalars = data.GetPointData().GetScalars() if data is not None else None
    return (data.GetMTime() if data is not None else 0, scalars.GetMTime() if scalars is not None else 0)


def _sumOf(voxels: np.ndarray, start: int) -> int:
    """CRC-32 of the voxels, plane by plane, so that no copy of the volume is made."""
    for channel in voxels:
        for plane in channel:
            start = zlib.crc32(np.ascontiguousarray(plane).view(np.uint8), start)
    return start
