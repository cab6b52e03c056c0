"""A sequence of volumes, segmented frame by frame into a sequence of segmentations beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from medai.config.requests import SegmentValue
from medai.errors import InputError, MedAIError
from medai.labels import LabelScheme
from medai.mrml import OverwritePolicy, write_segmentation
from MedAICoreLib.runs import RunState
from MedAISegLib.run import RunResult, SegmentationRequest, SegmentRun, foundExtents, noteRun


def browserOf(volume: Any) -> Any:
    """The sequence browser that replays several frames into this volume node, or None."""
    if volume is None:
        return None
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volume)
    return browser if browser is not None and browser.GetNumberOfItems() > 1 else None


class SequenceRun(SegmentRun):
    """Segments each frame of the sequence that the volume is the proxy of; the worker keeps the model loaded.

    The segmentations are made in a scene of their own and reach the person's scene all at once: what is cancelled, or
    fails at one frame, leaves nothing behind. (A sequence that ends early would show the segmentation of an earlier
    frame over the later ones.) The parent transform of the volume does not matter to one input, so it may be a sequence
    itself.
    """

    def __init__(self, runId: str, request: SegmentationRequest, scene: Any, client: Any, onChanged: Callable) -> None:
        super().__init__(runId, request, scene, client, onChanged)
        self._frame = 0
        self._frames = 0
        self._workshop: Any = None
        self._frameVolume: Any = None
        self._source: Any = None
        self._made: Any = None
        self._values: list[SegmentValue] = []
        self._warnings: list[str] = []

    def _start(self) -> None:
        volume = self._volume(self.request.volumeId, self.request.volumeName)
        self._source = self._browser().GetSequenceNode(volume)
        if self._source is None or self._source.GetNumberOfDataNodes() == 0:
            raise InputError(
                _("'{name}' has no frames.").format(name=volume.GetName()), _("Choose a volume of a sequence.")
            )
        self._frames = self._source.GetNumberOfDataNodes()
        self._workshop = slicer.vtkMRMLScene()
        self._made = slicer.vtkMRMLSequenceNode()
        self._made.SetIndexName(self._source.GetIndexName())
        self._made.SetIndexUnit(self._source.GetIndexUnit())
        self._made.SetIndexType(self._source.GetIndexType())
        self._sendFrame()

    def _sendFrame(self) -> None:
        frame = self._source.GetNthDataNode(self._frame)
        # Shares the frame's voxels; without the proxy's transform, which the segmentation will be under as well.
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetName(f"{self.request.volumeName} {self._frame + 1}")
        matrix = vtk.vtkMatrix4x4()
        frame.GetIJKToRASMatrix(matrix)
        volume.SetIJKToRASMatrix(matrix)
        volume.SetAndObserveImageData(frame.GetImageData())
        self._frameVolume = self._workshop.AddNode(volume)
        self._send([self._frameVolume])

    def _changed(self, state: RunState, fraction: float, stage: str) -> None:
        if stage:
            number = _("frame {frame} of {frames}").format(
                frame=min(self._frame + 1, self._frames), frames=self._frames
            )
            stage = f"{number}: {stage}"
        # The worker knows of one frame only; from the second one on, what the frames before took tells.
        passed = time.monotonic() - self._startedSeconds
        self.etaSeconds = passed * (1.0 - fraction) / fraction if self._frame and fraction else None
        super()._changed(state, fraction, stage)

    def _overall(self, fraction: float) -> float:
        return super()._overall((self._frame + fraction) / max(self._frames, 1))

    def _fail(self, error: MedAIError) -> None:
        if not self.ended and self._frames and error.code != "cancelled":
            number = _("Frame {frame} of {frames}").format(frame=self._frame + 1, frames=self._frames)
            error = type(error)(f"{number}: {error.message}", error.remedy)
        super()._fail(error)

    def _write(self) -> None:
        value = self._exchange.value
        segmentation = self._segmentFrame(value)
        self._made.SetDataNodeAtValue(segmentation, self._source.GetNthIndexValue(self._frame))
        self._workshop.Clear(True)
        self._exchange.release()
        self._exchange = None
        self._values.append(value)
        self._warnings += [note for note in value.warnings if note not in self._warnings]
        self._frame += 1
        if self._frame < self._frames:
            self._sendFrame()
        else:
            self._finish()

    def _segmentFrame(self, value: SegmentValue) -> Any:
        written = write_segmentation(
            self._workshop,
            self._exchange.labels,
            LabelScheme(value.labels),
            self._frameVolume,
            policy=OverwritePolicy.OVERWRITE_ALL,
            run_id=self.runId,
            model_id=self.request.modelId,
            name=f"{self.request.volumeName} segmentation",
            update_surfaces=False,
            extents=foundExtents(value.statistics),
        )
        node = self._workshop.GetNodeByID(written.segmentation_node_id)
        noteRun(node, self, value)
        return node

    def _finish(self) -> None:
        """Everything into the person's scene: the sequence, its proxy in the same browser, a table over the frames."""
        volume = self._volume(self.request.volumeId, self.request.volumeName)
        browser = self._browser()
        name = self._scene.GenerateUniqueName(f"{volume.GetName()} segmentation")
        self._made.SetName(f"{name} sequence")
        sequence = self._scene.AddNode(self._made)
        browser.AddSynchronizedSequenceNode(sequence)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        proxy = browser.GetProxyNode(sequence)
        proxy.SetName(name)
        proxy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        proxy.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        if proxy.GetDisplayNode() is None:
            proxy.CreateDefaultDisplayNodes()
        # What a person corrects by hand in a frame is kept when they go to another one.
        browser.SetSaveChanges(sequence, True)
        hierarchy = self._scene.GetSubjectHierarchyNode()
        item, beside = hierarchy.GetItemByDataNode(proxy), hierarchy.GetItemByDataNode(volume)
        if item and beside:
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(beside))
        first = self._values[0]
        seconds: dict[str, float] = {}
        for value in self._values:
            for stage, spent in value.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        self.result = RunResult(
            proxy.GetID(),
            self._writeTable(name),
            self._values[min(max(browser.GetSelectedItemNumber(), 0), self._frames - 1)].statistics,
            seconds,
            time.monotonic() - self._startedSeconds,
            first.engine,
            first.precision,
            tuple(self._warnings),
            frames=self._frames,
            peakMemoryMb=max((v.peak_memory_mb for v in self._values if v.peak_memory_mb is not None), default=None),
            modelLoads=sum(value.seconds.get("load_model", 0.0) > 0 for value in self._values),
        )
        self._end(RunState.DONE)

    def _writeTable(self, name: str) -> str:
        """Volume of each structure in each frame; gives the node's ID."""
        table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} volumes")
        index = vtk.vtkStringArray()
        index.SetName(self._source.GetIndexName() or _("Frame"))
        for frame in range(self._frames):
            index.InsertNextValue(self._source.GetNthIndexValue(frame))
        table.AddColumn(index)
        for label in self._values[0].labels:
            column = vtk.vtkDoubleArray()
            column.SetName(_("{name} (mL)").format(name=label.name))
            for value in self._values:
                found = next((entry.volume_ml for entry in value.statistics if entry.value == label.value), 0.0)
                column.InsertNextValue(found)
            table.AddColumn(column)
        return str(table.GetID())

    def _browser(self) -> Any:
        browser = self._scene.GetNodeByID(self.request.browserId)
        if browser is None:
            raise InputError(
                _("The sequence of '{name}' is no longer in the scene.").format(name=self.request.volumeName),
                _("Load it again and press Apply."),
            )
        return browser

    def _end(self, state: RunState) -> None:
        super()._end(state)
        if self._workshop is not None:
            self._workshop.Clear(True)
        self._workshop = self._frameVolume = self._source = self._made = None
