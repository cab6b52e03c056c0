"""Models and how good they are: the part of the logic behind the last step. No Qt, no dialogs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from medai.errors import ConfigError, FileFormatError, MedAIError
from medai.models import export_package, open_package
from medai.mrml import write_curves
from medai.mrml.comparison_plots import write_box_plot, write_figures
from MedAICoreLib.model_catalog import installModel
from MedAICoreLib.settings import Settings
from MedAICoreLib.table_layout import showTable
from MedAITrainLib.compared_case import EvaluatedCase
from MedAITrainLib.evaluation import GROWING, METRICS, Report, metricTitle, readReport, writeCsv
from MedAITrainLib.parameters import MedAITrainParameterNode, Task
from MedAITrainLib.project import ProjectFolder, makeFolder

if TYPE_CHECKING:
    from medai.client.commands import CommandProcess
    from medai.client.training import TrainingRun

_log = logging.getLogger(__name__)
REPORT_NAME = "evaluation.json"


class EvaluationLogic:
    """Needs of the class that it is a part of: `runs`, `project`, `installedModels`, `startCommand`, `folderOfLogs`."""

    def __init__(self) -> None:
        self._shownCase: EvaluatedCase | None = None

    def forgetEvaluatedCase(self) -> None:
        """The scene goes away, and the case that is shown with it."""
        self._shownCase = None

    def models(self, parameters: MedAITrainParameterNode) -> list[tuple[str, Path]]:
        """(title, file) of what can be evaluated: the project's models, the newest first, then the installed ones."""
        own = sorted(
            (Path(parameters.projectFolder) / "models").glob("*.medai") if parameters.projectFolder else (),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
        found = [(path.stem, path) for path in own]
        return found + [(entry.card.title, Path(entry.location)) for entry in self.installedModels(parameters)]

    def install(self, model: Path) -> str:
        """Put the model into the library, where the other modules find it; gives its id."""
        return installModel(str(model), Settings().modelFolder())

    def export(self, model: Path, path: Path) -> None:
        """Write the model as one .medai file, whole or not at all."""
        export_package(model, path)

    def userModule(self, model: Path) -> str:
        """The module that uses this model."""
        return "MedAIClassify" if open_package(model).card.task == "classify" else "MedAISeg"

    def runOf(self, parameters: MedAITrainParameterNode, model: Path) -> TrainingRun | None:
        """The run of the project that has written this model."""
        for run in self.runs(parameters):
            try:
                if Path(run.config().output) == model:
                    return run
            except MedAIError:  # a damaged run: it has no say
                continue
        return None

    def ownReport(self, parameters: MedAITrainParameterNode, model: Path) -> Report | None:
        """The evaluation of this model on the cases that its run held back, None where there is none."""
        run = self.runOf(parameters, model)
        path = run.files.evaluation / REPORT_NAME if run is not None else None
        return self.keepReport(path.parent) if path is not None and path.is_file() else None

    def knownReports(self, parameters: MedAITrainParameterNode) -> list[Report]:
        """The evaluations of the project, the newest first; damaged ones are left out."""
        if not parameters.projectFolder:
            return []
        project = ProjectFolder(Path(parameters.projectFolder))
        paths = [*project.reports.glob(f"*/{REPORT_NAME}"), *project.runs.glob(f"*/evaluation/{REPORT_NAME}")]
        found = []
        for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
            name = path.parent.parent.name if path.parent.name == "evaluation" else path.parent.name
            try:
                found.append(replace(readReport(path), name=name))
            except FileFormatError as error:
                _log.warning("An evaluation is left out: %s", error)
        return found

    def startEvaluation(
        self, parameters: MedAITrainParameterNode, model: Path, onAll: bool
    ) -> tuple[CommandProcess, Path]:
        """``medai evaluate`` of a model on the data set in a process of its own, and the folder that it writes."""
        if parameters.task is Task.CLASSIFICATION:
            return self._startClassEvaluation(parameters, model), model
        if not onAll:
            run = self.runOf(parameters, model)
            if run is None:
                raise ConfigError(
                    _("'{name}' comes from no run of this project, so no cases were held back.").format(
                        name=model.stem
                    ),
                    _("Choose to evaluate it on all cases of the data set."),
                )
            arguments = ["evaluate", "--run-folder", str(run.folder), "--device", parameters.device, "--json"]
            return self.startCommand(arguments), run.files.evaluation
        if not parameters.dataset:
            raise ConfigError(_("There is no data set."), _("Make one, or choose its folder, in step 1."))
        project = self.project(parameters)
        makeFolder(project.reports)
        folder = project.new(project.reports, model.stem)
        arguments = ["evaluate", parameters.dataset, "--model", str(model), "--output", str(folder)]
        return self.startCommand([*arguments, "--device", parameters.device, "--json"]), folder

    def _startClassEvaluation(self, parameters: MedAITrainParameterNode, model: Path) -> CommandProcess:
        if not parameters.dataset:
            raise ConfigError(_("There is no data set."), _("Choose its folder or table in step 1."))
        arguments = ["evaluate", parameters.dataset, "--task", "classification", "--model", str(model)]
        return self.startCommand([*arguments, "--device", parameters.device, "--json"])

    def showClassEvaluation(self, value: dict[str, Any], name: str) -> list[Any]:
        """The ROC and reliability curves of a classifier's evaluation as charts."""
        return write_curves(slicer.mrmlScene, value, name)

    def keepReport(self, folder: Path) -> Report:
        """The report of an evaluation that has ended."""
        name = folder.parent.name if folder.name == "evaluation" else folder.name
        return replace(readReport(folder / REPORT_NAME), name=name)

    def showEvaluatedCase(self, parameters: MedAITrainParameterNode, report: Report, case: str, label: str) -> None:
        """Load a case with reference and prediction, in the place of the one before, and look at this structure."""
        dataset = Path(parameters.dataset) if parameters.dataset else self._datasetOf(parameters, report)
        if self._shownCase is None:
            self._shownCase = EvaluatedCase(slicer.mrmlScene, _("Evaluated case"))
        self._shownCase.show(case, report.files(case, dataset))
        self._shownCase.lookAt(label)

    def _datasetOf(self, parameters: MedAITrainParameterNode, report: Report) -> Path | None:
        """The data set of the run that made the evaluation."""
        for run in self.runs(parameters):
            if report.path is not None and run.folder in report.path.parents:
                return Path(run.config().dataset)
        return None

    def startComparison(self, first: Report, second: Report) -> CommandProcess:
        """``medai compare`` of two evaluations of the same cases, in a process of its own."""
        if not set(first.cases) & set(second.cases):
            raise ConfigError(
                _("'{a}' and '{b}' have no case in common.").format(a=first.name, b=second.name),
                _("Evaluate both models on the same cases."),
            )
        paths = []
        for number, report in enumerate((first, second)):
            path = self.folderOfLogs() / f"compared-{number}.csv"
            writeCsv(report, path)
            paths.append(str(path))
        return self.startCommand(["compare", *paths, "--json"])

    def boxPlot(self, report: Report, metric: str) -> Any:
        """The chart node with a box for each structure."""
        values: dict[str, dict[str, float]] = {label: {} for label in report.labels}
        for found in report.worst(metric):
            if found.value is not None:
                values[found.label][found.case] = found.value
        title = f"{report.name}: {metricTitle(metric)}"
        return write_box_plot(
            slicer.mrmlScene, values, title, metricTitle(metric), report.name, unit_range=metric in GROWING
        )

    def showReportTable(self, report: Report) -> None:
        """Show the table node with all figures in a layout that has a table view."""
        showTable(self.reportTable(report).GetID())

    def reportTable(self, report: Report) -> Any:
        """The table node with all figures."""
        titles = {metric: metricTitle(metric) for metric in METRICS}
        return write_figures(slicer.mrmlScene, report.cases, titles, _("{name} figures").format(name=report.name))
