"""One classification on its way: voxels and segments out, probabilities and heat map back, written into the scene."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from medai.config.classify import ClassifyConfig
from medai.config.requests import Classified, ClassifyArgs, ClassifyValue
from medai.errors import InputError
from medai.image import Roi
from medai.mrml import (
    ClassRow,
    SegmentMap,
    SegmentMaps,
    append_to_class_table,
    image_from_volume,
    new_map_data,
    write_map,
)
from medai.mrml.class_table import TABLE_ATTRIBUTE
from MedAICoreLib.channel_sender import PlainSender, channelSender
from MedAICoreLib.exchange import Exchange
from MedAICoreLib.runs import Run, RunState

# Share of the progress that reading the segments takes.
PREPARED = 0.05


@dataclass(frozen=True)
class ClassificationRequest:
    """What a person asked for, with nodes by ID: a scene may be gone when the result arrives.

    `model`: package folder or file. `volumeId`: empty for a model that looks at the segments' shapes alone.
    `roi` (in the volume's coordinates) and `roiId`: only this region. `segmentationId` and `segmentIds`: each of these
    segments. `tableId`: empty for the scene's table of results. `batch`: what all runs of one press of Apply share.
    """

    volumeId: str
    volumeName: str
    model: str
    modelId: str
    modelTitle: str = ""
    config: ClassifyConfig = field(default_factory=ClassifyConfig)
    roi: Roi | None = None
    roiId: str = ""
    segmentationId: str = ""
    segmentIds: tuple[str, ...] = ()
    sendsImage: bool = True
    tableId: str = ""
    batch: str = ""


@dataclass(frozen=True)
class ClassificationResult:
    """What a run made: the items in their order, the table, the heat map's volume (empty: none), and how it went.

    `modelLoads`: how often the worker had to load a model for it.
    """

    items: tuple[Classified, ...]
    tableId: str
    heatMapId: str
    model: str
    seconds: dict[str, float]
    totalSeconds: float
    engine: str
    warnings: tuple[str, ...]
    modelLoads: int = 0


class ClassificationRun(Run):
    """Classifies one volume, a region of it, or segments; those that overlap travel in several requests."""

    def __init__(
        self, runId: str, request: ClassificationRequest, scene: Any, client: Any, onChanged: Callable
    ) -> None:
        super().__init__(runId, request, scene, client, onChanged)
        self._segments: SegmentMaps | None = None
        self._parts: list[SegmentMap | None] = []
        self._answered: list[tuple[SegmentMap | None, ClassifyValue]] = []
        self._grid: Any = None
        self._heat: Any = None
        self._heatVoxels: Any = None

    # Sending

    def _start(self) -> None:
        volume = self._volume(self.request.volumeId, self.request.volumeName) if self.request.volumeId else None
        if volume is not None:
            self._grid = image_from_volume(volume, copy=False)
        if not self.request.segmentationId:
            self._parts = [None]
            self._sendPart()
            return
        self._segments = SegmentMaps(self._segmentation(), volume, self.request.segmentIds)
        self._changed(RunState.SENDING, 0.0, _("Reading the segments"))

    def _prepare(self) -> None:
        if not self._segments.step():
            self._changed(self.state, PREPARED * self._segments.fraction, self.stage)
            return
        self._parts = list(self._segments.maps())
        self._sendPart()

    def _sendPart(self) -> None:
        """Start the exchange of the next label map, or of the volume alone."""
        part = self._parts[len(self._answered)]
        senders = []
        if self.request.sendsImage:
            volume = self._volume(self.request.volumeId, self.request.volumeName)
            senders.append(channelSender(self._client.session, volume))
        if part is not None:
            image = part.label_map
            senders.append(PlainSender(self._client.session, image.array, image.ijk_to_ras, image.name))
        self._exchange = Exchange(
            self._client,
            "classify",
            senders,
            lambda references: self._arguments(part, references),
            self._incoming,
            self._exchangeChanged,
        )
        self._changed(RunState.SENDING, self._overall(0.0), _("Sending the image"))

    def _arguments(self, part: SegmentMap | None, references: list[Any]) -> ClassifyArgs:
        labelMap = references.pop() if part is not None else None
        return ClassifyArgs(
            self.request.model,
            tuple(references),
            (self.request.roi,) if self.request.roi is not None else (),
            labelMap,
            tuple(part.labels) if part is not None else (),
            self.request.config,
        )

    def _overall(self, fraction: float) -> float:
        begun = PREPARED if self._segments is not None else 0.0
        share = (len(self._answered) + fraction) / max(1, len(self._parts))
        return super()._overall(begun + (1.0 - begun) * min(share, 1.0))

    # Receiving

    def _incoming(self, value: ClassifyValue) -> list[tuple[Any, Any]]:
        if value.heat_map is None:
            return []
        if self._heat is None:
            # Straight into the voxels of the volume node to be.
            self._heat, self._heatVoxels = new_map_data(value.heat_map.shape[1:])
            return [(value.heat_map, self._heatVoxels)]
        return [(value.heat_map, None)]

    def _onReceived(self) -> None:
        exchange = self._exchange
        self._answered.append((self._parts[len(self._answered)], exchange.value))
        if len(self._answered) > 1 and exchange.arrays:
            np.maximum(self._heatVoxels, exchange.arrays[0][0], out=self._heatVoxels)
        if len(self._answered) == len(self._parts):
            self._changed(RunState.WRITING, self._overall(0.0), _("Writing the result"))
            return
        exchange.release()
        self._exchange = None
        self._sendPart()

    # Writing

    def _write(self) -> None:
        volume = self._unchangedVolume() if self.request.volumeId else None
        segmentation = self._segmentation() if self.request.segmentationId else None
        found = [(part, item) for part, value in self._answered for item in value.items]
        if segmentation is not None:
            order = {segmentId: n for n, segmentId in enumerate(self.request.segmentIds)}
            found.sort(key=lambda pair: order.get(pair[0].ids.get(pair[1].value, ""), len(order)))
        if self.request.roi is not None:
            found = [(part, replace(item, name=self._roiName())) for part, item in found]
        values = [value for _part, value in self._answered]
        model = f"{values[0].model.id} {values[0].model.version}"
        items = tuple(item for _part, item in found)
        table = self._writeTable(items, model, volume, segmentation)
        for part, item in found:
            self._noteItem(part, item, model, volume, segmentation)
        heatMap = self._writeHeatMap(volume)
        warnings = list(self._segments.warnings) if self._segments is not None else []
        for value in values:
            warnings += [warning for warning in value.warnings if warning not in warnings]
        seconds = {key: sum(value.seconds.get(key, 0.0) for value in values) for key in values[0].seconds}
        self.result = ClassificationResult(
            items,
            table.GetID(),
            heatMap.GetID() if heatMap is not None else "",
            model,
            seconds,
            time.monotonic() - self._startedSeconds,
            values[0].engine,
            tuple(warnings),
            sum(value.seconds.get("load_model", 0.0) > 0 for value in values),
        )
        self._end(RunState.DONE)

    def _writeTable(self, items: tuple[Classified, ...], model: str, volume: Any, segmentation: Any) -> Any:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        name = (volume or segmentation).GetName()
        whole = self.request.roi is None and segmentation is None
        rows = [
            ClassRow(
                name,
                _("whole volume") if whole else item.name,
                item.predicted,
                item.probabilities,
                model,
                now,
                item.anomaly.score if item.anomaly is not None else None,
                item.anomaly.flag if item.anomaly is not None else None,
            )
            for item in items
        ]
        return append_to_class_table(self._scene, rows, self._table(), _("MedAI classification"))

    def _table(self) -> Any:
        """The chosen table; without a choice that of earlier runs, or None where there is none in the scene."""
        if self.request.tableId:
            node = self._scene.GetNodeByID(self.request.tableId)
            if node is None:
                raise InputError(
                    _("The table for the result is no longer in the scene."), _("Choose another one and press Apply.")
                )
            return node
        for node in slicer.util.getNodesByClass("vtkMRMLTableNode", self._scene):
            if node.GetAttribute(TABLE_ATTRIBUTE) == "classification":
                return node
        return None

    def _noteItem(self, part: SegmentMap | None, item: Classified, model: str, volume: Any, segmentation: Any) -> None:
        """Say in the volume, the ROI or the segment what it was found to be; it is saved with the scene."""
        notes = {
            "MedAI.class": item.predicted,
            "MedAI.probability": f"{item.probabilities[item.predicted]:.4f}",
            "MedAI.classifier": model,
            "MedAI.anomaly": "" if item.anomaly is None else ("yes" if item.anomaly.flag else "no"),
        }
        if segmentation is not None:
            segment = segmentation.GetSegmentation().GetSegment(part.ids.get(item.value, ""))
            note = segment.SetTag if segment is not None else None
        elif self.request.roi is not None:
            roi = self._scene.GetNodeByID(self.request.roiId)
            note = roi.SetAttribute if roi is not None else None
        else:
            note = volume.SetAttribute
        for name, text in notes.items() if note is not None else ():
            note(name, text)

    def _writeHeatMap(self, volume: Any) -> Any:
        if self._heat is None or volume is None:
            return None
        name = _("{volume} heat map").format(volume=volume.GetName())
        node = write_map(self._scene, self._heat, volume, name, kind="heat", key=f"{self.request.modelId} heat")
        node.SetAttribute("MedAI.explanation", self.request.config.explain)
        return node

    def _roiName(self) -> str:
        roi = self._scene.GetNodeByID(self.request.roiId)
        return roi.GetName() if roi is not None else _("region")

    def _segmentation(self) -> Any:
        node = self._scene.GetNodeByID(self.request.segmentationId)
        if node is None:
            raise InputError(_("The segmentation is no longer in the scene."), _("Choose another one and press Apply."))
        return node

    def _unchangedVolume(self) -> Any:
        """The volume, if its grid is still that of the voxels that were sent; a moved parent transform is fine."""
        volume = self._volume(self.request.volumeId, self.request.volumeName)
        now = image_from_volume(volume, copy=False)
        if now.shape != self._grid.shape or not np.allclose(now.ijk_to_ras, self._grid.ijk_to_ras, atol=1e-6):
            raise InputError(
                _("The volume '{name}' was moved or resampled while it was classified.").format(name=volume.GetName()),
                _("Press Apply again."),
            )
        return volume

    def _end(self, state: RunState) -> None:
        self._grid = self._segments = None
        if state is not RunState.DONE:
            self._heat = self._heatVoxels = None
        self._parts = []
        super()._end(state)
