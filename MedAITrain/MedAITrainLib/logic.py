"""From labelled cases to an installed model, without Qt and without dialogs: for scripts, tests and the panel alike."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from medai.case_report import CheckReport
from medai.client.commands import CommandProcess, command_line
from medai.client.training import TrainingLauncher, TrainingRun, known_runs
from medai.config import read_json
from medai.config.training import TrainConfig
from medai.errors import ConfigError, DatasetError, EnvironmentFailure, MedAIError
from medai.mrml import show_over
from medai.mrml.labelled_cases import (
    ExportResult,
    LabelledCase,
    case_of,
    check_steps,
    export_cases,
    find_cases,
    find_scene_cases,
)
from MedAICoreLib.environment_setup import environmentProblem, workerInterpreter
from MedAICoreLib.model_catalog import CatalogEntry, ModelCatalog, listInstalledModels
from MedAICoreLib.runs import RunQueue
from MedAICoreLib.settings import Settings
from MedAICoreLib.worker import sharedWorker
from MedAITrainLib.case_list import CaseList
from MedAITrainLib.compared_case import ATTRIBUTE
from MedAITrainLib.evaluation_logic import EvaluationLogic
from MedAITrainLib.options import modelId, planArguments, trainConfig
from MedAITrainLib.parameters import MedAITrainParameterNode, Task
from MedAITrainLib.project import ProjectFolder, makeFolder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScenesAdded:
    """How many cases were found in saved scenes, and what stood against others, for a person."""

    count: int
    problems: tuple[str, ...]


class MedAITrainLogic(ScriptedLoadableModuleLogic, EvaluationLogic):
    """Cases, data set, plan, runs, evaluation.

    `makeCommand` gives how `medai` is run (default: in MedAI's environment, `medai.client.commands.command_line`). A
    script may use it so::

        logic = MedAITrainLogic()
        parameters = logic.getParameterNode()
        parameters.projectFolder, parameters.modelName = "/data/liver", "Liver"
        logic.findSceneCases()
        parameters.dataset = str(resultOf(logic.exportDataset(parameters)).folder)  # MedAITrainLib.jobs
        run = logic.startRun(parameters)
        print(run.state(), run.new_events())
    """

    def __init__(self, makeCommand: Callable[[], list[str]] | None = None, worker: Any = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        EvaluationLogic.__init__(self)
        self.makeCommand = makeCommand or environmentCommand
        self._queue = RunQueue(worker or sharedWorker())
        self._asking = False
        self.cases = CaseList()
        self._logs: Any = None

    def getParameterNode(self) -> MedAITrainParameterNode:
        """The scene's parameter node of this module."""
        return MedAITrainParameterNode(super().getParameterNode())

    # Cases and data set

    def findSceneCases(self) -> int:
        """Look for the labelled cases of the open scene; gives their number."""
        own = [case for case in find_cases(slicer.mrmlScene) if not _isCompared(case.segmentation_id)]
        return self.cases.take(own, "")

    def addScenes(self, paths: Sequence[Path]) -> Generator[float, None, ScenesAdded]:
        """Read saved scenes, each in a scene of its own; one that cannot be read is told, the others are added."""
        count, problems = 0, []
        for number, path in enumerate(paths):
            yield number / len(paths)
            try:
                found = find_scene_cases(path, like=slicer.mrmlScene)
            except MedAIError as error:
                problems.append(str(error))
                continue
            if not found:
                problems.append(_("'{path}' has no image with a segmentation.").format(path=path))
            count += self.cases.take(found, str(path))
        return ScenesAdded(count, tuple(problems))

    def addEmptyCase(self) -> None:
        """A case whose nodes a person will choose."""
        self.cases.add(LabelledCase(_("case {number}").format(number=len(self.cases.entries) + 1), "", (), ""))

    def changeCase(self, row: int, volumeIds: tuple[str, ...], segmentationId: str) -> None:
        """Other nodes for a case of the open scene; its name stays, its patient where it has one."""
        case = self.cases.entries[row].case
        if not volumeIds and not segmentationId:
            self.cases.change(row, replace(case, volume_ids=(), segmentation_id="", segments=()))
            return
        changed = case_of(slicer.mrmlScene, volumeIds, segmentationId, None, case.name, case.patient)
        self.cases.change(row, changed)

    def checkCases(self) -> Generator[float, None, CheckReport]:
        """Look for what would spoil a training; the report is kept with the cases."""
        report = yield from check_steps(slicer.mrmlScene, self.cases.used, self.cases.labels)
        self.cases.report = report
        return report

    def exportDataset(self, parameters: MedAITrainParameterNode) -> Generator[float, None, ExportResult]:
        """Write the used cases as a new data set of the project, whole or not at all."""
        project = self.project(parameters)
        if not self.cases.used:
            raise DatasetError(_("No case is used."), _("Tick the cases that are to be learnt from."))
        if self.cases.report is not None and self.cases.report.errors:
            first = self.cases.report.errors[0]
            raise DatasetError(first.message, first.remedy)
        makeFolder(project.root)
        folder = project.new(project.root, "dataset")
        return export_cases(slicer.mrmlScene, self.cases.used, self.cases.labels, folder, project.root.name)

    def labelColors(self, parameters: MedAITrainParameterNode) -> dict[str, tuple[float, float, float]]:
        """The colours of the data set's labels by name; empty where the data set does not say."""
        path = Path(parameters.dataset) / "dataset.json"
        if not parameters.dataset or not path.is_file():
            return {}
        try:
            labels = read_json(path).get("label_details", [])
        except MedAIError as error:
            _log.warning("The colours of the labels are not known: %s", error)
            return {}
        return {spec["name"]: tuple(spec["color"]) for spec in labels if spec.get("name") and spec.get("color")}

    def forgetScene(self) -> None:
        """The scene goes away: cases of files stay, those of the scene go."""
        self.forgetEvaluatedCase()
        rows = [row for row, entry in enumerate(self.cases.entries) if not entry.case.source]
        self.cases.remove(rows)

    def showSceneCase(self, case: LabelledCase) -> None:
        """Show the first image of a case of the open scene in the slice views."""
        node = slicer.mrmlScene.GetNodeByID(case.volume_ids[0]) if case.volume_ids and not case.source else None
        if node is not None and node.IsA("vtkMRMLVolumeNode"):
            show_over(slicer.mrmlScene, node, None)

    # Plan

    def config(self, parameters: MedAITrainParameterNode, output: Path | None = None) -> TrainConfig:
        """What would be trained; ConfigError names the value that cannot be used."""
        output = output or self.project(parameters).models / f"{modelId(parameters.modelName) or 'model'}.medai"
        return trainConfig(parameters, output, self._startModel(parameters))

    def _startModel(self, parameters: MedAITrainParameterNode) -> str:
        """Where the model lies whose weights the training starts from; empty for none."""
        if not parameters.finetuneFrom:
            return ""
        for entry in self.installedModels(parameters):
            if entry.card.id == parameters.finetuneFrom:
                return entry.location
        raise ConfigError(
            _("The model '{name}' is not installed.").format(name=parameters.finetuneFrom),
            _("Choose another one to start from, or none."),
        )

    def problem(self, parameters: MedAITrainParameterNode) -> str:
        """Why no training can start with these values, for a person; empty where it can."""
        if not parameters.dataset:
            return _("There is no data set yet: make it in step 1.")
        if not Path(parameters.dataset).exists():
            return _("The data set '{path}' is gone: make it anew in step 1.").format(path=parameters.dataset)
        if not modelId(parameters.modelName):
            return _("Give the model a name.")
        try:
            self.config(parameters)
        except ConfigError as error:
            return f"{error.message} {error.remedy}".strip()
        return ""

    def project(self, parameters: MedAITrainParameterNode) -> ProjectFolder:
        """The project's folder; ConfigError where none was chosen."""
        if not parameters.projectFolder:
            raise ConfigError(_("No project folder was chosen."), _("Choose one in step 1."))
        return ProjectFolder(Path(parameters.projectFolder))

    def planArguments(self, parameters: MedAITrainParameterNode) -> list[str]:
        """The command that plans with these values."""
        return planArguments(self.config(parameters))

    def startPlan(self, parameters: MedAITrainParameterNode) -> CommandProcess:
        """``medai plan`` in a process of its own; its value is a `PlanSummary` as plain data."""
        return self.startCommand(self.planArguments(parameters))

    def installedModels(self, parameters: MedAITrainParameterNode | None) -> list[CatalogEntry]:
        """The installed models of the task, in order of their titles."""
        task = "classify" if parameters is not None and parameters.task is Task.CLASSIFICATION else "segment"
        catalog = ModelCatalog(lambda: listInstalledModels(Settings().modelFolder()), task)
        catalog.refresh()
        return catalog.entries

    def requestDevices(self, onDevices: Callable[[list[dict[str, Any]]], None]) -> None:
        """Ask the worker what can compute; `pollWorker` brings the answer."""
        self._queue.requestDevices(onDevices)
        self._asking = True

    def pollWorker(self) -> None:
        """Take what the worker answered."""
        if self._asking:
            self._asking = self._queue.advance()

    def startCommand(self, arguments: list[str]) -> CommandProcess:
        """A command of `medai` in a process that ends with Slicer."""
        return CommandProcess(self.makeCommand(), arguments, self.folderOfLogs() / f"{arguments[0]}.log")

    def folderOfLogs(self) -> Path:
        """Where commands write what goes wrong; removed with Slicer."""
        if self._logs is None:
            self._logs = tempfile.TemporaryDirectory(prefix="medai-train-")
        return Path(self._logs.name)

    # Runs

    def startRun(self, parameters: MedAITrainParameterNode) -> TrainingRun:
        """Start a run in a new folder of the project; only one at a time works in a project."""
        problem = self.problem(parameters)
        if problem:
            raise ConfigError(problem)
        project = self.project(parameters)
        self._refuseSecond(project)
        name = modelId(parameters.modelName)
        folder = project.new(project.runs, name)
        output = project.new(project.models, folder.name, ".medai")
        config = self.config(parameters, output)
        # Models of several runs are installed side by side: each has an id of its own.
        number = folder.name.removeprefix(name).removeprefix("-")
        title = f"{config.title} ({number})" if number else config.title
        config = replace(config, model_id=folder.name, title=title)
        makeFolder(project.models)
        run = TrainingLauncher(self.makeCommand()).start(folder, config)
        parameters.runFolder = str(folder)
        return run

    def resumeRun(self, run: TrainingRun) -> TrainingRun:
        """Go on with a run that was paused, failed or was killed."""
        self._refuseSecond(ProjectFolder(run.folder.parent.parent))
        return TrainingLauncher(self.makeCommand()).resume(run.folder)

    def runs(self, parameters: MedAITrainParameterNode) -> list[TrainingRun]:
        """The runs of the project, the one that was touched last first."""
        return known_runs(Path(parameters.projectFolder) / "runs") if parameters.projectFolder else []

    def activeRuns(self, projectFolder: str) -> list[TrainingRun]:
        """Those of which a process works now."""
        runs = known_runs(ProjectFolder(Path(projectFolder)).runs) if projectFolder else []
        return [run for run in runs if run.state() in ACTIVE]

    def _refuseSecond(self, project: ProjectFolder) -> None:
        for run in self.activeRuns(str(project.root)):
            raise ConfigError(
                _("The run '{name}' of this project is going on.").format(name=run.name),
                _("Wait for it, pause it or stop it; or choose another project folder."),
            )


def _isCompared(segmentationId: str) -> bool:
    node = slicer.mrmlScene.GetNodeByID(segmentationId) if segmentationId else None
    return node is not None and bool(node.GetAttribute(ATTRIBUTE))


ACTIVE = ("starting", "running", "pausing")


def environmentCommand() -> list[str]:
    """How `medai` is run in MedAI's environment, or in the interpreter that the person chose."""
    problem = environmentProblem()
    if problem:
        raise EnvironmentFailure(
            _("MedAI's networks cannot be started: {problem}.").format(problem=problem), _("Set up MedAI first.")
        )
    python, packages = workerInterpreter()
    return command_line(python, packages)
