"""A segmentation that a person asked for, on its way from the nodes to the scene; a slice of work per call."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from medai.config.requests import LabelFound, SegmentValue, TotalFound
from medai.config.segment import SegmentConfig
from medai.errors import InputError
from medai.label_statistics import LabelExtent
from medai.labels import LabelScheme
from medai.mrml import OverwritePolicy, image_from_volume, write_map, write_segmentation
from MedAICoreLib.runs import Run, RunState
from MedAISegLib.exchange import SegmentExchange


@dataclass(frozen=True)
class SegmentationRequest:
    """What a person asked for, with nodes by ID: a scene may be gone when the result arrives.

    `model`: package folder or file. `otherVolumeIds`: the model's second and further inputs. `modalities`: what the
    volumes are known to be, first one first (empty: unknown). `segmentationId`: empty for a new segmentation.
    `browserId`: of the sequence browser all of whose frames are segmented, with the volume as its proxy; empty for the
    volume as it is. `batch`: name of the runs that were asked for together; Cancel stops all of them.
    """

    volumeId: str
    volumeName: str
    model: str
    modelId: str
    segmentationId: str = ""
    overwrite: OverwritePolicy = OverwritePolicy.PROTECT
    config: SegmentConfig = field(default_factory=SegmentConfig)
    otherVolumeIds: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    browserId: str = ""
    batch: str = ""

    @property
    def volumeIds(self) -> tuple[str, ...]:
        """All inputs, in the model's order."""
        return (self.volumeId, *self.otherVolumeIds)

    def modalityOf(self, row: int) -> str:
        """Modality of the input in this place; empty where it is not known."""
        return self.modalities[row] if row < len(self.modalities) else ""


@dataclass(frozen=True)
class RunResult:
    """What a run made: the segmentation, the table, the figures per structure and of totals, and how it went.

    `mapIds`: volumes with probabilities and entropy. `frames`: how many images were segmented (1, but for a sequence).
    `modelLoads`: how often the worker had to load a model for it. `peakMemoryMb`: the most memory that the
    worker's process had meanwhile, in MiB, where the system tells.
    """

    segmentationId: str
    tableId: str
    statistics: tuple[LabelFound, ...]
    seconds: dict[str, float]
    totalSeconds: float
    engine: str
    precision: str
    warnings: tuple[str, ...]
    totals: tuple[TotalFound, ...] = ()
    mapIds: tuple[str, ...] = ()
    frames: int = 1
    modelLoads: int = 0
    peakMemoryMb: float | None = None


class SegmentRun(Run):
    """What the runs of this module share: their exchange with the worker."""

    request: SegmentationRequest
    _exchange: SegmentExchange | None

    def _send(self, volumes: list[Any]) -> None:
        """Start the exchange of these volumes with the worker."""
        modalities = [self.request.modalityOf(row) for row in range(len(volumes))]
        self._exchange = SegmentExchange(
            self._client, self.request.model, self.request.config, volumes, modalities, self._exchangeChanged
        )
        self._changed(RunState.SENDING, self._overall(0.0), _("Sending the image"))


class SegmentationRun(SegmentRun):
    """Segments the volume as it is now, from one or several inputs.

    `writeTable(scene, volume, segmentation, value)` makes the table node and gives its ID.
    """

    def __init__(
        self, runId: str, request: SegmentationRequest, scene: Any, client: Any, writeTable, onChanged
    ) -> None:
        super().__init__(runId, request, scene, client, onChanged)
        self._writeTable = writeTable

    def _start(self) -> None:
        self._send([self._volume(nodeId, self.request.volumeName) for nodeId in self.request.volumeIds])

    def _write(self) -> None:
        exchange, value = self._exchange, self._exchange.value
        volume = self._unchangedVolume()
        segmentation = self._segmentation()
        written = write_segmentation(
            self._scene,
            exchange.labels,
            LabelScheme(value.labels),
            volume,
            segmentation,
            policy=self.request.overwrite,
            run_id=self.runId,
            model_id=self.request.modelId,
            update_surfaces=False,  # takes seconds: the panel does it where 3D is shown
            extents=foundExtents(value.statistics),
        )
        node = self._scene.GetNodeByID(written.segmentation_node_id)
        noteRun(node, self, value)
        self.result = RunResult(
            written.segmentation_node_id,
            self._writeTable(self._scene, volume, node, value),
            value.statistics,
            {**value.seconds, "write_scene": written.seconds},
            time.monotonic() - self._startedSeconds,
            value.engine,
            value.precision,
            (*value.warnings, *written.warnings),
            value.totals,
            self._writeMaps(volume, value),
            modelLoads=int(value.seconds.get("load_model", 0.0) > 0),
            peakMemoryMb=value.peak_memory_mb,
        )
        self._end(RunState.DONE)

    def _writeMaps(self, volume: Any, value: SegmentValue) -> tuple[str, ...]:
        names = {label.value: label.name for label in value.labels}
        ids = []
        for received in self._exchange.maps:
            kind = "entropy" if received.value is None else "probability"
            label = "" if received.value is None else names[received.value]
            title = _("{volume} entropy") if received.value is None else _("{volume} probability of {label}")
            node = write_map(
                self._scene,
                received.data,
                volume,
                title.format(volume=volume.GetName(), label=label),
                kind=kind,
                key=f"{self.request.modelId} {kind} {label}".strip(),
            )
            ids.append(node.GetID())
        return tuple(ids)

    def _unchangedVolume(self) -> Any:
        """The volume, if its grid is still that of the voxels that were sent; a moved parent transform is fine."""
        volume = self._volume(self.request.volumeId, self.request.volumeName)
        now, sent = image_from_volume(volume, copy=False), self._exchange.image
        if now.shape != sent.shape or not np.allclose(now.ijk_to_ras, sent.ijk_to_ras, atol=1e-6):
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


def noteRun(node: Any, run: Run, value: SegmentValue) -> None:
    """Say in the node how its segments came about; it is saved with the scene."""
    details = {
        "MedAI.run": run.runId,
        "MedAI.model": f"{value.model.id} {value.model.version}",
        "MedAI.volume": run.request.volumeName,
        "MedAI.engine": value.engine,
        "MedAI.precision": value.precision,
        "MedAI.device": value.model.device,
        "MedAI.seconds": f"{sum(value.seconds.values()):.2f}",
    }
    for name, text in details.items():
        node.SetAttribute(name, text)


def foundExtents(statistics: tuple[LabelFound, ...]) -> dict[int, LabelExtent]:
    """Boxes and voxel counts that the worker counted, so that Slicer's main thread need not look at every voxel."""
    found = {}
    for entry in statistics:
        if entry.box is not None:
            k0, k1, j0, j1, i0, i1 = entry.box
            found[entry.value] = LabelExtent(entry.voxels, (slice(k0, k1), slice(j0, j1), slice(i0, i1)))
    return found
