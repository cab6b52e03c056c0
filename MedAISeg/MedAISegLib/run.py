"""One segmentation on its way: voxels out, request, labels back, written into the scene. A slice of work per call."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from medai.client import ArrayReader, ArrayWriter
from medai.config.requests import LabelFound, SegmentArgs, SegmentValue
from medai.config.segment import SegmentConfig
from medai.errors import InputError, MedAIError
from medai.label_statistics import LabelExtent
from medai.labels import LabelScheme
from medai.mrml import OverwritePolicy, image_from_volume, write_segmentation

# Shares of the progress bar; the network takes nearly all of the time.
SENT, COMPUTED, RECEIVED = 0.04, 0.94, 0.98


class RunState(Enum):
    """Where a run is."""

    WAITING = "waiting"
    SENDING = "sending"
    COMPUTING = "computing"
    RECEIVING = "receiving"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True)
class SegmentationRequest:
    """What a person asked for, with nodes by ID: a scene may be gone when the result arrives.

    `model`: package folder or file. `segmentationId`: empty for a new segmentation.
    """

    volumeId: str
    volumeName: str
    model: str
    modelId: str
    segmentationId: str = ""
    overwrite: OverwritePolicy = OverwritePolicy.PROTECT
    config: SegmentConfig = field(default_factory=SegmentConfig)


@dataclass(frozen=True)
class RunResult:
    """What a run made: the segmentation, the table, the figures per structure, and how it went."""

    segmentationId: str
    tableId: str
    statistics: tuple[LabelFound, ...]
    seconds: dict[str, float]
    totalSeconds: float
    engine: str
    precision: str
    warnings: tuple[str, ...]


class SegmentationRun:
    """A state machine that `advance` moves on; it never waits, and copies at most one slab per call.

    `client`: `medai.client.Client`. `writeTable(scene, volume, segmentation, statistics)` makes the table node and
    gives its ID. `onChanged(run)` is called at each change.
    """

    def __init__(
        self, runId: str, request: SegmentationRequest, scene: Any, client: Any, writeTable, onChanged
    ) -> None:
        self.runId = runId
        self.request = request
        self.state = RunState.WAITING
        self.fraction = 0.0
        self.stage = ""
        self.etaSeconds: float | None = None
        self.error: MedAIError | None = None
        self.result: RunResult | None = None
        self._scene = scene
        self._client = client
        self._writeTable = writeTable
        self._onChanged = onChanged
        self._startedSeconds = 0.0
        self._writer: ArrayWriter | None = None
        self._reader: ArrayReader | None = None
        self._requestId: int | None = None
        self._value: SegmentValue | None = None
        self._image: Any = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    def advance(self) -> None:
        """Do the next slice of work; what goes wrong ends the run with its error and leaves the scene as it was."""
        try:
            if self.state is RunState.WAITING:
                self._start()
            elif self.state is RunState.SENDING:
                self._send()
            elif self.state is RunState.RECEIVING:
                self._receive()
            elif self.state is RunState.WRITING:
                self._write()
        except MedAIError as error:
            self._fail(error)

    def cancel(self) -> None:
        """End the run; where the worker computes, it is told, and the run ends with its answer (within a second)."""
        if self.state is RunState.COMPUTING and self._requestId is not None:
            self._changed(self.state, self.fraction, _("Cancelling"))
            self._client.cancel(self._requestId)
        elif not self.ended:
            self._releaseFiles()
            self._changed(RunState.CANCELLED, 0.0, "")

    def drop(self) -> None:
        """End the run at once and for good, as its scene is closed."""
        if self._requestId is not None:
            self._client.drop(self._requestId)
        if not self.ended:
            self._releaseFiles()
            self._changed(RunState.CANCELLED, 0.0, "")

    def _start(self) -> None:
        self._startedSeconds = time.monotonic()
        self._image = image_from_volume(self._volume(), copy=False)
        self._writer = ArrayWriter(
            self._client.session, self._image.array, self._image.ijk_to_ras, self.request.volumeName
        )
        self._changed(RunState.SENDING, 0.0, _("Sending the image"))

    def _send(self) -> None:
        assert self._writer is not None
        if not self._writer.step():
            self._changed(self.state, SENT * self._writer.fraction, self.stage)
            return
        reference, self._writer = self._writer.ref, None
        self._requestId = self._client.request(
            "segment",
            SegmentArgs(self.request.model, (reference,), self.request.config),
            on_progress=self._onProgress,
            on_result=self._onResult,
            on_error=self._fail,
        )
        self._changed(RunState.COMPUTING, SENT, _("Starting"))

    def _onProgress(self, progress: Any) -> None:
        self.etaSeconds = progress.eta_s
        self._changed(self.state, SENT + progress.fraction * (COMPUTED - SENT), progress.stage)

    def _onResult(self, value: SegmentValue) -> None:
        self._value, self._requestId, self.etaSeconds = value, None, None
        try:
            self._reader = ArrayReader(self._client.session, value.label_map)
        except MedAIError as error:
            self._fail(error)
            return
        self._changed(RunState.RECEIVING, COMPUTED, _("Receiving the labels"))

    def _receive(self) -> None:
        assert self._reader is not None
        done = self._reader.step()
        fraction = COMPUTED + self._reader.fraction * (RECEIVED - COMPUTED)
        if done:
            self._changed(RunState.WRITING, RECEIVED, _("Writing the segmentation"))
        else:
            self._changed(self.state, fraction, self.stage)

    def _write(self) -> None:
        assert self._reader is not None and self._value is not None
        labels, value = self._reader.array[0], self._value
        volume = self._unchangedVolume()
        segmentation = self._segmentation()
        written = write_segmentation(
            self._scene,
            labels,
            LabelScheme(value.labels),
            volume,
            segmentation,
            policy=self.request.overwrite,
            run_id=self.runId,
            model_id=self.request.modelId,
            update_surfaces=False,  # takes seconds: the panel does it where 3D is shown
            extents=_extents(value.statistics),
        )
        node = self._scene.GetNodeByID(written.segmentation_node_id)
        self._noteRun(node, value)
        tableId = self._writeTable(self._scene, volume, node, value.statistics)
        self.result = RunResult(
            written.segmentation_node_id,
            tableId,
            value.statistics,
            {**value.seconds, "write_scene": written.seconds},
            time.monotonic() - self._startedSeconds,
            value.engine,
            value.precision,
            (*value.warnings, *written.warnings),
        )
        self._releaseFiles()
        self._changed(RunState.DONE, 1.0, "")

    def _noteRun(self, node: Any, value: SegmentValue) -> None:
        """Say in the node how its segments came about; it is saved with the scene."""
        details = {
            "MedAI.run": self.runId,
            "MedAI.model": f"{value.model.id} {value.model.version}",
            "MedAI.volume": self.request.volumeName,
            "MedAI.engine": value.engine,
            "MedAI.precision": value.precision,
            "MedAI.device": value.model.device,
            "MedAI.seconds": f"{sum(value.seconds.values()):.2f}",
        }
        for name, text in details.items():
            node.SetAttribute(name, text)

    def _volume(self) -> Any:
        volume = self._scene.GetNodeByID(self.request.volumeId)
        if volume is None:
            raise InputError(
                _("The volume '{name}' is no longer in the scene.").format(name=self.request.volumeName),
                _("Load it again and press Apply."),
            )
        return volume

    def _unchangedVolume(self) -> Any:
        """The volume, if its grid is still that of the voxels that were sent; a moved parent transform is fine."""
        volume = self._volume()
        now = image_from_volume(volume, copy=False)
        if now.shape != self._image.shape or not np.allclose(now.ijk_to_ras, self._image.ijk_to_ras, atol=1e-6):
            raise InputError(
                _("The volume '{name}' was moved or resampled while it was segmented.").format(name=volume.GetName()),
                _("Press Apply again."),
            )
        return volume

    def _segmentation(self) -> Any:
        if not self.request.segmentationId:
            return None
        node = self._scene.GetNodeByID(self.request.segmentationId)
        if node is None:
            raise InputError(
                _("The segmentation for the result is no longer in the scene."),
                _("Choose another one and press Apply."),
            )
        return node

    def _fail(self, error: MedAIError) -> None:
        if self.ended:
            return
        self._requestId = None
        self._releaseFiles()
        self.error = error
        self._changed(RunState.CANCELLED if error.code == "cancelled" else RunState.FAILED, 0.0, "")

    def _releaseFiles(self) -> None:
        if self._writer is not None:
            self._writer.abort()
        if self._reader is not None:
            self._reader.abort()
        self._writer = self._reader = self._image = self._value = None

    def _changed(self, state: RunState, fraction: float, stage: str) -> None:
        self.state, self.fraction, self.stage = state, fraction, stage
        if state in ENDED:
            self.etaSeconds = None
        self._onChanged(self)


def _extents(statistics: tuple[LabelFound, ...]) -> dict[int, LabelExtent]:
    """Boxes and voxel counts that the worker counted, so that Slicer's main thread need not look at every voxel."""
    found = {}
    for entry in statistics:
        if entry.box is not None:
            k0, k1, j0, j1, i0, i1 = entry.box
            found[entry.value] = LabelExtent(entry.voxels, (slice(k0, k1), slice(j0, j1), slice(i0, i1)))
    return found
