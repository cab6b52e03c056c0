"""Step 4 of the panel: how good the model is, where it fails, whether it beats another one, and how it gets used."""

import os
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from medai.errors import MedAIError
from MedAICoreLib.environment_setup import environmentProblem
from MedAICoreLib.settings import Settings
from MedAITrainLib.chart_frame import ChartFrame
from MedAITrainLib.evaluation import METRICS, comparisonHtml, metricTitle, readReport, writeCsv
from MedAITrainLib.parameters import Task
from MedAITrainLib.tables import cell, fit

# As many lines as the list of worst cases shows.
MOST_WORST = 50
# Rows that are seen without scrolling.
MOST_ROWS = 5


class EvaluateStep:
    """Shows one evaluation; `medai evaluate` and `medai compare` run in processes of their own and are polled."""

    def __init__(self, panel) -> None:
        self.panel, self.ui, self.logic = panel, panel.ui, panel.logic
        self.process = None
        self.report = None
        self.reports = {}
        self._whenDone = None
        self._chart = None
        self._comparison = None
        self._worst = []
        self._used = ""
        ui = self.ui
        self.chartFrame = ChartFrame(ui.boxPlotFrame, "MedAITrainBoxPlot")
        for metric in METRICS:
            ui.metricComboBox.addItem(metricTitle(metric), metric)
        ui.evaluatedCasesComboBox.addItem(_("the run's held-back cases"), "validation")
        ui.evaluatedCasesComboBox.addItem(_("all cases of the data set"), "all")
        ui.evaluateButton.connect("clicked(bool)", self.onEvaluate)
        ui.openReportButton.connect("clicked(bool)", self.onOpenReport)
        ui.evaluatedModelComboBox.connect("activated(int)", self.onModelChosen)
        ui.metricComboBox.connect("activated(int)", self.onMetric)
        ui.boxPlotInLayoutButton.connect("clicked(bool)", self.onBoxPlotInLayout)
        ui.worstTable.connect("cellClicked(int,int)", self.onWorstClicked)
        ui.showReportTableButton.connect("clicked(bool)", self.onShowTable)
        ui.saveCsvButton.connect("clicked(bool)", self.onSaveCsv)
        ui.comparedReportComboBox.connect("activated(int)", self.onCompare)
        ui.useModelButton.connect("clicked(bool)", self.onUseModel)
        ui.saveModelButton.connect("clicked(bool)", self.onSaveModel)
        ui.comparisonLabel.text = ""

    # Showing

    def enter(self) -> None:
        """Models and evaluations may be others."""
        self._fillModels()

    def opened(self) -> None:
        """The step is seen: show the evaluation that the run made, where there is one."""
        self._fillModels()
        self._fillReports()
        if self.report is None:
            self._showOwnReport()

    def showParameters(self) -> None:
        """Nothing of this step is in the parameter node."""

    def updateState(self, busy) -> None:
        """Enable and name the buttons for what can be done now."""
        ui, report = self.ui, self.report
        model = self.model()
        running = self.process is not None
        ui.evaluateButton.text = _("Cancel") if running else _("Evaluate")
        ui.evaluateButton.enabled = running or (model is not None and not environmentProblem())
        ui.evaluateProgressBar.visible = running
        for widget in (
            ui.meansTable, ui.metricComboBox, ui.boxPlotInLayoutButton, ui.worstTitleLabel, ui.worstTable,
            ui.showReportTableButton, ui.saveCsvButton, ui.comparedReportComboBox, ui.comparedReportLabel,
        ):  # fmt: skip
            widget.visible = report is not None
        segments = self.panel.parameters.task is Task.SEGMENTATION
        ui.evaluatedCasesComboBox.visible = ui.evaluatedCasesLabel.visible = segments
        ui.comparisonLabel.visible = report is not None and bool(ui.comparisonLabel.text)
        for button in (ui.useModelButton, ui.saveModelButton):
            button.enabled = model is not None

    def invitation(self) -> str:
        """What the panel says before this step."""
        return _("The model is there. Next: see how good it is.")

    def nextStep(self):
        """(text, button text, action) of what this step misses, or None."""
        return None

    def lastStep(self):
        """What the panel says when nothing is left to do before the model is used."""
        if self.process is not None:
            return _("Evaluating..."), "", None
        if self.model() is None:
            return _("There is no model yet: train one in step 3."), "", None
        segments = self.panel.parameters.task is Task.SEGMENTATION
        if segments and self.report is None and self.logic.runOf(self.panel.parameters, self.model()) is not None:
            return _("See how good the model is on the cases that it has not seen."), _("Evaluate"), self.onEvaluate
        if self._used == str(self.model()):
            return _("The model is installed."), _("Open it"), self.onOpenModule
        return _("Look at the worst cases. If they are good enough, use the model."), _("Use it"), self.onUseModel

    # Models

    def _fillModels(self) -> None:
        combo, parameters = self.ui.evaluatedModelComboBox, self.panel.parameters
        if parameters is None:
            return
        chosen = combo.currentData
        combo.clear()
        for title, path in self.logic.models(parameters):
            combo.addItem(title, str(path))
        row = combo.findData(chosen) if chosen else -1
        combo.currentIndex = max(row, 0) if combo.count else -1

    def model(self):
        """The chosen model's file or folder, or None."""
        path = self.ui.evaluatedModelComboBox.currentData
        return Path(path) if path else None

    def runFinished(self, run) -> None:
        """A run has written its model."""
        self._fillModels()
        result = run.result() or {}
        row = self.ui.evaluatedModelComboBox.findData(str(result.get("output", "")))
        if row >= 0:
            self.ui.evaluatedModelComboBox.currentIndex = row
        self.report = None

    def onModelChosen(self, index) -> None:
        """The person chose a model: show the evaluation that its run made."""
        self._showOwnReport()
        self.panel.updateState()

    def onUseModel(self, checked=False) -> None:
        """Install the model, so that MedAI Segmentation or Classification lists it."""
        model = self.model()
        try:
            modelId = self.logic.install(model)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self._used = str(model)
        self.panel.showText(
            _("Installed as '{name}': MedAI Segmentation and MedAI Classification list it now.").format(name=modelId)
        )
        self.panel.updateState()

    def onOpenModule(self) -> None:
        """Go to the module that uses the model."""
        slicer.util.selectModule(self.logic.userModule(self.model()))

    def onSaveModel(self, checked=False) -> None:
        """Let the person choose where the model is written as one file."""
        settings = Settings()
        start = os.path.join(settings.lastFolder(), f"{self.model().stem}.medai")
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the model"), start, _("MedAI model (*.medai)")
        )
        if path:
            settings.setLastFolder(os.path.dirname(path))
            self.saveModel(Path(path))

    def saveModel(self, path) -> None:
        """Write the model as one file."""
        try:
            self.logic.export(self.model(), path)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self.panel.showText(_("Saved: {path}").format(path=path))

    # Evaluation

    def onEvaluate(self, checked=False) -> None:
        """Measure the model, or cancel that."""
        if self.process is not None:
            self._cancel()
            return
        onAll = self.ui.evaluatedCasesComboBox.currentData == "all"
        try:
            process, path = self.logic.startEvaluation(self.panel.parameters, self.model(), onAll)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self._run(process, lambda value: self._evaluated(value, path))

    def _run(self, process, whenDone) -> None:
        self.process, self._whenDone = process, whenDone
        self.ui.evaluateProgressBar.maximum = 0  # the command tells no fraction
        self.panel.updateState()

    def _cancel(self) -> None:
        self.process.cancel()
        self.process = None
        self.panel.showText(_("Cancelled."))
        self.panel.updateState()

    def watch(self) -> None:
        """Look whether the process has ended."""
        if self.process is None or self.process.poll():
            return
        process, self.process = self.process, None
        try:
            self._whenDone(process.value())
        except MedAIError as error:
            self.panel.showError(error)
        self.panel.updateState()

    def _evaluated(self, value, path) -> None:
        if self.panel.parameters.task is Task.CLASSIFICATION:
            self._classesEvaluated(value, path)
            return
        self.showReport(self.logic.keepReport(path))
        for warning in value.get("warnings") or ():
            self.panel.showText(warning)

    def _classesEvaluated(self, value, model) -> None:
        charts = self.logic.showClassEvaluation(value, model.stem)
        self._chart = charts[0]
        self.chartFrame.show(charts[0])
        figures = [
            _("{name} {value} ({low} to {high})").format(
                name=title, value=_figure(value[key]["value"]), low=_figure(low), high=_figure(high)
            )
            for key, title in (("auc", "AUC"), ("accuracy", _("accuracy")))
            for low, high in [value[key]["ci95"]]
        ]
        self.panel.showText("\n".join([", ".join(figures), *(value.get("warnings") or ())]))

    def _showOwnReport(self) -> None:
        model, report = self.model(), None
        try:
            report = self.logic.ownReport(self.panel.parameters, model) if model is not None else None
        except MedAIError as error:
            self.panel.showError(error)
        if report is not None:
            self.showReport(report)
        else:
            self.report = None
            self.chartFrame.show(None)

    def onOpenReport(self, checked=False) -> None:
        """Let the person choose an evaluation."""
        settings = Settings()
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Open an evaluation"), settings.lastFolder(), _("Evaluation (*.json *.csv)")
        )
        if path:
            settings.setLastFolder(os.path.dirname(path))
            self.openReport(Path(path))

    def openReport(self, path) -> None:
        """Show the evaluation in a file."""
        try:
            self.showReport(readReport(path))
        except MedAIError as error:
            self.panel.showError(error)

    def showReport(self, report) -> None:
        """Show this evaluation, and offer it for comparison."""
        self.report = report
        self.reports[str(report.path or report.name)] = report
        self._comparison = None
        self._showComparison()
        self._fillMeans()
        self._fillReports()
        self.onMetric()
        self.panel.updateState()

    def _fillMeans(self) -> None:
        table, report = self.ui.meansTable, self.report
        table.setColumnCount(1 + len(METRICS))
        table.setHorizontalHeaderLabels([_("Structure"), *(metricTitle(metric) for metric in METRICS)])
        table.setRowCount(len(report.labels))
        for row, label in enumerate(report.labels):
            table.setItem(row, 0, cell(label))
            for column, metric in enumerate(METRICS, 1):
                table.setItem(row, column, cell(_figure(report.mean(label, metric))))
        fit(table, MOST_ROWS)

    def onMetric(self, index=None) -> None:
        """Show another figure in the box plot and in the list of cases."""
        if self.report is None:
            return
        metric = self.ui.metricComboBox.currentData
        self._chart = self.logic.boxPlot(self.report, metric)
        self.chartFrame.show(self._chart)
        self.chartFrame.redraw()
        self._fillWorst(metric)
        self._showComparison()

    def _fillWorst(self, metric) -> None:
        table = self.ui.worstTable
        self._worst = self.report.worst(metric)[:MOST_WORST]
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Case"), _("Structure"), metricTitle(metric)])
        table.setRowCount(len(self._worst))
        for row, found in enumerate(self._worst):
            for column, text in enumerate((found.case, found.label, _figure(found.value))):
                table.setItem(row, column, cell(text))
        fit(table, MOST_ROWS)

    def onWorstClicked(self, row, column=0) -> None:
        """Load a case with its reference and the model's result."""
        if not 0 <= row < len(self._worst):
            return
        case = self._worst[row].case
        try:
            self.logic.showEvaluatedCase(self.panel.parameters, self.report, case, self._worst[row].label)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self.panel.showText(_("{case}: the reference is the line, the model's result the area.").format(case=case))

    def onBoxPlotInLayout(self, checked=False) -> None:
        """Show the box plot in a layout with a plot view."""
        if self._chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    def onShowTable(self, checked=False) -> None:
        """Show all figures in a table view."""
        self.logic.showReportTable(self.report)

    def onSaveCsv(self, checked=False) -> None:
        """Let the person choose where the figures are written."""
        settings = Settings()
        start = os.path.join(settings.lastFolder(), f"{self.report.name}.csv")
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the figures"), start, _("Table (*.csv)")
        )
        if path:
            settings.setLastFolder(os.path.dirname(path))
            self.saveCsv(Path(path))

    def saveCsv(self, path) -> None:
        """Write the figures."""
        try:
            writeCsv(self.report, path)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self.panel.showText(_("Saved: {path}").format(path=path))

    # Comparison

    def _fillReports(self) -> None:
        combo = self.ui.comparedReportComboBox
        if self.panel.parameters is not None:
            for report in self.logic.knownReports(self.panel.parameters):
                self.reports.setdefault(str(report.path), report)
        combo.clear()
        combo.addItem(_("choose an evaluation..."), "")
        for key, report in self.reports.items():
            if report is not self.report:
                combo.addItem(report.name, key)

    def onCompare(self, index) -> None:
        """Compare with another evaluation of the same cases."""
        other = self.reports.get(self.ui.comparedReportComboBox.itemData(index))
        if other is None or self.report is None or self.process is not None:
            return
        try:
            process = self.logic.startComparison(other, self.report)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self._run(process, lambda value: self._compared(value, other))

    def _compared(self, value, other) -> None:
        self._comparison = (value, other.name)
        self._showComparison()
        self.panel.showText("")

    def _showComparison(self) -> None:
        text = ""
        if self._comparison is not None:
            value, other = self._comparison
            metric = self.ui.metricComboBox.currentData
            text = comparisonHtml(value, metric, other, self.report.name)
        self.ui.comparisonLabel.text = text

    # Life

    def sceneClosed(self) -> None:
        """The nodes go with the scene; the figures stay."""
        self._chart = None
        self.chartFrame.forget()

    def close(self) -> None:
        """End what runs."""
        if self.process is not None:
            self.process.cancel()
            self.process = None
        self.chartFrame.close()


def _figure(value) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
