"""Nodes to requests and back, without Qt and without dialogs: usable from scripts, tests and the panel alike."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from medai.config.classify import ClassifyConfig
from medai.config.model_card import ModelCard
from medai.errors import FileFormatError
from medai.mrml import has_curves, is_class_table, roi_in_volume, show_over, write_curves
from medai.mrml.layers import segment_ids
from medai.mrml.probability_maps import MAP_ATTRIBUTE
from MedAIClassifyLib.parameters import MedAIClassifyParameterNode, Scope
from MedAIClassifyLib.run import ClassificationRequest, ClassificationRun
from MedAICoreLib.run_logic import RunLogic
from MedAICoreLib.table_layout import showTable

MASK_MODALITY = "SEG"


@dataclass(frozen=True)
class Requests:
    """The runs that the panel's values ask for, and what was left out of them, for a person."""

    requests: tuple[ClassificationRequest, ...]
    leftOut: tuple[str, ...] = ()


class MedAIClassifyLogic(RunLogic):
    """A queue of runs that `advance` moves on, a slice of work per call.

    `worker`: `MedAICoreLib.worker.WorkerHandle` (default: the one that all modules share). A script may use it so::

        logic = MedAIClassifyLogic()
        run = logic.enqueue(
            ClassificationRequest(volume.GetID(), volume.GetName(), model="chest-xray", modelId="chest-xray")
        )
        while logic.advance():
            slicer.app.processEvents()
        print(run.state, run.result or run.error)
    """

    parameterNodeClass = MedAIClassifyParameterNode

    def enqueue(self, request: ClassificationRequest) -> ClassificationRun:
        """Put a run at the end of the queue."""
        runId = uuid.uuid4().hex[:12]
        return self._add(ClassificationRun(runId, request, slicer.mrmlScene, self._worker.client, self._runChanged))

    # Requests

    def problem(self, parameters: MedAIClassifyParameterNode, card: ModelCard | None) -> str:
        """Why a run cannot start with these values, for a person; empty where it can."""
        if card is None:
            return _("Choose a model.")
        scope = parameters.scope
        images = [spec for spec in card.inputs if spec.modality != MASK_MODALITY]
        if len(images) > 1:
            return _("This model needs {count} images ({names}), this panel gives one: use the command line.").format(
                count=len(images), names=", ".join(spec.name for spec in images)
            )
        if len(images) < len(card.inputs) and scope is not Scope.SEGMENTS:
            return _("This model looks at segments: choose 'Each segment'.")
        if parameters.table is not None and not is_class_table(parameters.table):
            return _("The table '{name}' has other columns than a classification: choose another one.").format(
                name=parameters.table.GetName()
            )
        if scope is Scope.ALL_VOLUMES:
            volumes, leftOut = self.volumesOfScene(card)
            return "" if volumes else "\n".join([_("No volume of the scene can be classified."), *leftOut])
        if scope is Scope.SEGMENTS:
            problem = self._segmentsProblem(parameters)
            if problem:
                return problem
        if scope is Scope.REGION and (parameters.roi is None or min(parameters.roi.GetSize()) <= 0):
            return _("Choose or draw a region (ROI).")
        if not images:
            return ""
        return self.volumeProblem(parameters.inputVolume, card)

    def volumeProblem(self, volume: Any, card: ModelCard) -> str:
        """Why this volume cannot be classified, for a person; empty where it can."""
        if volume is None:
            return _("Choose a volume.")
        data = volume.GetImageData()
        if data is None or data.GetNumberOfPoints() == 0:
            return _("The volume '{name}' has no voxels.").format(name=volume.GetName())
        if data.GetNumberOfScalarComponents() > 1:
            return _("'{name}' has colours: make it a scalar volume first (Vector to Scalar Volume).").format(
                name=volume.GetName()
            )
        if min(data.GetDimensions()) < 2 and card.patch[0] > 1:
            return _("'{name}' is a single slice, this model needs a 3D image.").format(name=volume.GetName())
        return ""

    def volumesOfScene(self, card: ModelCard) -> tuple[list[Any], list[str]]:
        """Images in the scene that the model can classify, and why others cannot; maps and label maps are no images."""
        volumes, leftOut = [], []
        for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if (
                volume.IsA("vtkMRMLLabelMapVolumeNode")
                or volume.GetAttribute(MAP_ATTRIBUTE)
                or volume.GetHideFromEditors()
            ):
                continue
            problem = self.volumeProblem(volume, card)
            if problem:
                leftOut.append(problem)
            else:
                volumes.append(volume)
        return volumes, leftOut

    def requestsFromParameters(
        self, parameters: MedAIClassifyParameterNode, card: ModelCard, location: str
    ) -> Requests:
        """What the panel's values ask for: one run, or one for each volume of the scene."""
        config = ClassifyConfig(
            device=self._worker.device(parameters.device),
            tta=parameters.average,
            explain=parameters.explanation.value,
            explain_class=parameters.explainedClass if parameters.explanation.value else "",
        )
        common = {
            "model": location,
            "modelId": card.id,
            "modelTitle": card.title,
            "config": config,
            "tableId": parameters.table.GetID() if parameters.table else "",
        }
        if parameters.scope is Scope.ALL_VOLUMES:
            volumes, leftOut = self.volumesOfScene(card)
            common["batch"] = uuid.uuid4().hex
            return Requests(
                tuple(ClassificationRequest(v.GetID(), v.GetName(), **common) for v in volumes), tuple(leftOut)
            )
        volume = parameters.inputVolume
        if parameters.scope is Scope.SEGMENTS:
            return self._segmentsRequest(parameters, card, volume, common)
        if parameters.scope is Scope.REGION:
            common |= {"roi": roi_in_volume(parameters.roi, volume), "roiId": parameters.roi.GetID()}
        return Requests((ClassificationRequest(volume.GetID(), volume.GetName(), **common),))

    def segmentIds(self, segmentation: Any, visibleOnly: bool) -> list[str]:
        """The segments of a segmentation, all or those that are shown, in their order."""
        ids = segment_ids(segmentation.GetSegmentation())
        display = segmentation.GetDisplayNode()
        if not visibleOnly or display is None:
            return ids
        return [segmentId for segmentId in ids if display.GetSegmentVisibility(segmentId)]

    def referenceVolume(self, segmentation: Any) -> Any:
        """The volume that the segmentation was drawn on, where it is in the scene; else None."""
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        node = segmentation.GetNodeReference(role) if segmentation is not None else None
        return node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None

    def _segmentsProblem(self, parameters: MedAIClassifyParameterNode) -> str:
        segmentation = parameters.segmentation
        if segmentation is None:
            return _("Choose a segmentation.")
        if not self.segmentIds(segmentation, parameters.visibleOnly):
            if parameters.visibleOnly and segmentation.GetSegmentation().GetNumberOfSegments():
                return _("No segment of '{name}' is shown.").format(name=segmentation.GetName())
            return _("'{name}' has no segments.").format(name=segmentation.GetName())
        return ""

    def _segmentsRequest(
        self, parameters: MedAIClassifyParameterNode, card: ModelCard, volume: Any, common: dict[str, Any]
    ) -> Requests:
        segmentation = parameters.segmentation
        sendsImage = any(spec.modality != MASK_MODALITY for spec in card.inputs)
        leftOut = []
        if not sendsImage and not common["config"].explain:
            volume = None  # the segments' own grids hold their shapes best
        elif not sendsImage and volume is None:
            common["config"] = ClassifyConfig(common["config"].device, tta=common["config"].tta)
            leftOut.append(_("A heat map needs a volume to lie on: choose the one that the segments were drawn on."))
        return Requests(
            (
                ClassificationRequest(
                    volume.GetID() if volume is not None else "",
                    volume.GetName() if volume is not None else segmentation.GetName(),
                    segmentationId=segmentation.GetID(),
                    segmentIds=tuple(self.segmentIds(segmentation, parameters.visibleOnly)),
                    sendsImage=sendsImage,
                    **common,
                ),
            ),
            tuple(leftOut),
        )

    # Results

    def showHeatMap(self, volumeId: str, heatMapId: str, shown: bool) -> None:
        """Show the volume in the slice views, with its heat map over it or without."""
        volume, heatMap = (slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None for nodeId in (volumeId, heatMapId))
        if volume is not None:
            show_over(slicer.mrmlScene, volume, heatMap if shown else None)

    def showTable(self, tableId: str) -> None:
        """Show a table in a layout that has a table view."""
        showTable(tableId)

    def evaluationOf(self, card: ModelCard | None) -> dict[str, Any] | None:
        """The evaluation in a model's card, where it has curves."""
        metrics = card.training.metrics if card is not None else {}
        for report in (metrics, metrics.get("validation")):
            if isinstance(report, dict) and has_curves(report):
                return report
        return None

    def readEvaluation(self, path: str) -> dict[str, Any]:
        """The evaluation in a JSON file. Raises FileFormatError."""
        try:
            report = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileFormatError(
                _("'{path}' cannot be read: {error}").format(path=path, error=error),
                _("Choose the output of 'medai evaluate --task classification --json'."),
            ) from error
        if not isinstance(report, dict):
            raise FileFormatError(
                _("'{path}' is no evaluation.").format(path=path),
                _("Choose the output of 'medai evaluate --task classification --json'."),
            )
        return report

    def showEvaluation(self, report: dict[str, Any], name: str) -> list[Any]:
        """Put the ROC and reliability curves into the scene and show the first; gives the chart nodes."""
        charts = write_curves(slicer.mrmlScene, report, name)
        slicer.modules.plots.logic().ShowChartInLayout(charts[0])
        return charts
