"""Nodes to requests and back, without Qt and without dialogs: usable from scripts, tests and the panel alike."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from medai.config.model_card import ModelCard
from medai.config.requests import SegmentValue
from medai.config.segment import SegmentConfig
from medai.errors import MedAIError
from medai.memory import estimate_mb
from medai.mrml import OverwritePolicy, roi_in_volume, surface_steps, table_of_structures
from MedAICoreLib.run_logic import RunLogic
from MedAICoreLib.runs import Run
from MedAICoreLib.volume_hints import volumeHints
from MedAISegLib.parameters import MedAISegParameterNode
from MedAISegLib.run import SegmentationRequest, SegmentationRun
from MedAISegLib.sequence_run import SequenceRun, browserOf

# As many volume selectors as the panel has.
MOST_INPUTS = 4


class MedAISegLogic(RunLogic):
    """A queue of runs that `advance` moves on, a slice of work per call.

    `worker`: `MedAICoreLib.worker.WorkerHandle` (default: the one that all modules share). A script may use it so::

        logic = MedAISegLogic()
        run = logic.enqueue(
            SegmentationRequest(volume.GetID(), volume.GetName(), model="hippocampus-mr", modelId="hippocampus-mr")
        )
        while logic.advance():
            slicer.app.processEvents()
        print(run.state, run.result or run.error)
    """

    parameterNodeClass = MedAISegParameterNode

    def __init__(self, worker: Any = None) -> None:
        super().__init__(worker)
        self._surfaces: tuple[Any, Iterator[float]] | None = None
        self.onSurfaces: Callable[[float], None] | None = None

    # Runs

    def enqueue(self, request: SegmentationRequest) -> Run:
        """Put a run at the end of the queue."""
        runId, scene, client = uuid.uuid4().hex[:12], slicer.mrmlScene, self._worker.client
        if request.browserId:
            return self._add(SequenceRun(runId, request, scene, client, self._runChanged))
        return self._add(SegmentationRun(runId, request, scene, client, self._writeTable, self._runChanged))

    def advance(self) -> bool:
        """Do a slice of work; whether there is more. The panel calls it from a timer."""
        if self._surfaces is not None:
            self._advanceSurfaces()
        return super().advance() or self.makesSurfaces

    def enqueueSeveral(
        self, parameters: MedAISegParameterNode, card: ModelCard, location: str, volumes: list[Any]
    ) -> list[Run]:
        """Put a run for each of these volumes at the end of the queue, each with a segmentation of its own."""
        batch = uuid.uuid4().hex
        requests = [self.requestFromParameters(parameters, card, location, volume) for volume in volumes]
        return [self.enqueue(replace(request, batch=batch)) for request in requests]

    def cancelAll(self) -> None:
        """Stop everything at once; nothing of it reaches the scene any more."""
        self._surfaces = None
        super().cancelAll()

    # Requests

    def problem(self, parameters: MedAISegParameterNode, card: ModelCard | None) -> str:
        """Why a run cannot start with these values, for a person; empty where it can."""
        if card is None:
            return _("Choose a model.")
        volume = parameters.inputVolume
        if volume is None:
            return _("Choose a volume.")
        inputs = self.inputVolumes(parameters, card)
        if len(card.inputs) > MOST_INPUTS:
            return _("This model needs {count} images, this panel gives {most}: use the command line.").format(
                count=len(card.inputs), most=MOST_INPUTS
            )
        for spec, node in zip(card.inputs, inputs, strict=True):
            if node is None:
                return _("Choose a volume for '{name}'.").format(name=spec.name)
            data = node.GetImageData()
            if data is None or data.GetNumberOfPoints() == 0:
                return _("The volume '{name}' has no voxels.").format(name=node.GetName())
            if min(data.GetDimensions()) < 2 and card.patch[0] > 1:
                return _("'{name}' is a single slice, this model needs a 3D image.").format(name=node.GetName())
        twice = next((node for row, node in enumerate(inputs) if node in inputs[:row]), None)
        if twice is not None:
            return _("'{name}' is chosen for two inputs.").format(name=twice.GetName())
        if len(inputs) > 1 and parameters.allFrames and browserOf(volume) is not None:
            return _("A model with several inputs segments one frame at a time: untick 'All frames'.")
        return ""

    def inputVolumes(self, parameters: MedAISegParameterNode, card: ModelCard) -> list[Any]:
        """The chosen volumes, one (or None) for each of the model's inputs."""
        chosen = (parameters.inputVolume, parameters.input2, parameters.input3, parameters.input4)
        return list(chosen[: len(card.inputs)])

    def requestFromParameters(
        self, parameters: MedAISegParameterNode, card: ModelCard, location: str, volume: Any = None
    ) -> SegmentationRequest:
        """What the panel's values ask for; the ROI is mapped into the volume's own coordinates.

        With `volume`, for that one instead of the chosen one, into a new segmentation.
        """
        inputs = [volume] if volume is not None else self.inputVolumes(parameters, card)
        segmentation = parameters.segmentation if volume is None else None
        volume = inputs[0]
        browser = browserOf(volume) if parameters.allFrames else None
        config = SegmentConfig(
            device=self._worker.device(parameters.device),
            precision=parameters.precision.value,
            tta=parameters.mirror,
            roi=roi_in_volume(parameters.roi, volume) if parameters.roi else None,
            labels=tuple(parameters.labels.splitlines()),
            keep_largest=parameters.keepLargest,
            outputs=() if browser is not None else _outputs(parameters),
        )
        return SegmentationRequest(
            volume.GetID(),
            volume.GetName(),
            model=location,
            modelId=card.id,
            segmentationId=segmentation.GetID() if segmentation else "",
            overwrite=OverwritePolicy(parameters.overwrite.value),
            config=config,
            otherVolumeIds=tuple(node.GetID() for node in inputs[1:]),
            modalities=tuple(_knownModality(node) for node in inputs),
            browserId=browser.GetID() if browser is not None else "",
        )

    def memoryEstimateMb(self, card: ModelCard, volume: Any) -> float | None:
        """Memory that a run on this volume needs beyond the model and its libraries; None without a volume."""
        data = volume.GetImageData() if volume else None
        if data is None or data.GetNumberOfPoints() == 0:
            return None
        spacing = volume.GetSpacing()[::-1]
        return float(estimate_mb(card, data.GetDimensions()[::-1], spacing))

    # Results

    def showSurfaces(self, segmentation: Any, shown: bool) -> None:
        """Show the surfaces of all segments in 3D, or hide them; `advance` makes what is missing, one per call."""
        self._surfaces = (segmentation, surface_steps(segmentation)) if shown else None
        if segmentation.GetDisplayNode() is None:
            segmentation.CreateDefaultDisplayNodes()
        segmentation.GetDisplayNode().SetVisibility3D(shown)

    @property
    def makesSurfaces(self) -> bool:
        """Whether surfaces are being made."""
        return self._surfaces is not None

    def _advanceSurfaces(self) -> None:
        assert self._surfaces is not None
        segmentation, steps = self._surfaces
        self._surfaces = None  # also where a step fails
        fraction = next(steps, None) if segmentation.GetScene() is not None else None
        if fraction is not None:
            self._surfaces = segmentation, steps
        if self.onSurfaces is not None:
            self.onSurfaces(1.0 if fraction is None else fraction)

    def _writeTable(self, scene: Any, volume: Any, segmentation: Any, value: SegmentValue) -> str:
        """Sizes, intensities and quality of the structures in a table node, one per segmentation; gives its ID."""
        table = segmentation.GetNodeReference("MedAI.table")
        name = f"{segmentation.GetName()} volumes"
        node = table_of_structures(scene, value.statistics, value.totals, name, table)
        if table is None:
            segmentation.SetNodeReferenceID("MedAI.table", node.GetID())
        node.SetAttribute("MedAI.volume", volume.GetName())
        return str(node.GetID())


def _knownModality(volume: Any) -> str:
    """What the volume's tags or units say that it is; empty where they do not, or where it has no voxels."""
    try:
        hints = volumeHints(volume)
    except MedAIError:  # the run tells it
        return ""
    return hints.modality if hints.certain else ""


def _outputs(parameters: MedAISegParameterNode) -> tuple[str, ...]:
    wanted = (("probabilities", parameters.probabilities), ("entropy", parameters.entropy))
    return tuple(name for name, ticked in wanted if ticked)
