"""Step 3 of the panel: the run, its curves and its preview. The run is a process of its own and needs no Slicer."""

import slicer
from slicer.i18n import tr as _

from medai.client.training import TrainingRun
from medai.errors import MedAIError
from MedAICoreLib.environment_setup import environmentProblem
from MedAITrainLib.chart_frame import ChartFrame
from MedAITrainLib.closing import CloseGuard
from MedAITrainLib.run_view import RunView, runTitle

# The list of runs is looked through again every so many looks.
LIST_EVERY = 12


class TrainStep:
    """Starts, pauses, resumes and stops runs, and shows one of them."""

    def __init__(self, panel) -> None:
        self.panel, self.ui, self.logic = panel, panel.ui, panel.logic
        self.view = None
        self.charts = []
        self._looks = 0
        self._project = ""
        self._listed = []
        ui = self.ui
        self.chartFrame = ChartFrame(ui.chartFrame, "MedAITrainCurves")
        ui.runComboBox.connect("activated(int)", self.onRunChosen)
        ui.startButton.connect("clicked(bool)", self.onStart)
        ui.pauseButton.connect("clicked(bool)", self.onPause)
        ui.stopButton.connect("clicked(bool)", self.onStop)
        ui.chartComboBox.connect("activated(int)", self.onChartChosen)
        ui.chartInLayoutButton.connect("clicked(bool)", self.onChartInLayout)
        ui.showPreviewCheckBox.connect("toggled(bool)", self.onShowPreview)
        self.guard = CloseGuard(self.runsToAskFor)

    # Showing

    def enter(self) -> None:
        """Runs may have been started elsewhere."""
        self._fillRuns()

    def opened(self) -> None:
        """The step is seen."""
        self._fillRuns()
        self._showRun()

    def showParameters(self) -> None:
        """Follow the run that the parameter node names; nothing is read of a run that is not looked at."""
        self._project = self.panel.parameters.projectFolder or self._project
        folder = self.panel.parameters.runFolder
        shown = str(self.view.run.folder) if self.view is not None else ""
        if folder != shown:
            self._follow(folder)

    def _follow(self, folder) -> None:
        if self.view is not None:
            self.view.close()
        self.view = RunView(TrainingRun(folder), slicer.mrmlScene) if folder else None
        self.charts = []
        self.chartFrame.show(None)
        self.ui.chartComboBox.clear()
        if self.view is not None:
            self.view.update()
            self._drawCurves()
        self._fillRuns()

    def updateState(self, busy) -> None:
        """Enable and name the buttons for what can be done now."""
        ui, view = self.ui, self.view
        state = view.state if view is not None else ""
        active = view is not None and view.active
        resumable = state in ("paused", "failed", "killed")
        ui.startButton.text = _("Resume") if resumable else _("Start")
        problem = "" if resumable else self.logic.problem(self.panel.parameters)
        ui.startButton.enabled = not active and state != "finished" and not (problem or environmentProblem())
        ui.startButton.toolTip = problem or _("Start the training in a process of its own; Slicer stays usable.")
        ui.pauseButton.enabled = state in ("starting", "running")
        ui.stopButton.enabled = state == "running"
        ui.trainProgressBar.visible = view is not None and state != "finished"
        ui.runStatusLabel.visible = view is not None
        hasCharts = bool(self.charts)
        for widget in (ui.chartComboBox, ui.chartInLayoutButton):
            widget.visible = hasCharts

    def invitation(self) -> str:
        """What the panel says before this step."""
        return _("Next: train. It runs by itself; Slicer stays usable.")

    def nextStep(self):
        """(text, button text, action) of what this step misses, or None."""
        state = self.view.state if self.view is not None else ""
        if not state:
            return _("Everything is ready: start the training."), _("Start"), self.onStart
        if state == "finished":
            return None
        if state in ("paused", "failed", "killed"):
            return _("The run can go on where it stopped."), _("Resume"), self.onStart
        return _("The training runs. You may use Slicer meanwhile, or close it."), "", None

    # Runs

    def _fillRuns(self) -> None:
        combo, parameters = self.ui.runComboBox, self.panel.parameters
        if parameters is None:
            return
        runs = self.logic.runs(parameters)
        listed = [(str(run.folder), runTitle(run)) for run in runs]
        if listed != self._listed or combo.count == 0:
            self._listed = listed
            combo.clear()
            combo.addItem(_("a new run"), "")
            for folder, title in listed:
                combo.addItem(title, folder)
        combo.currentIndex = max(combo.findData(parameters.runFolder), 0)

    def onRunChosen(self, index) -> None:
        """The person chose a run of the project, or a new one."""
        self.panel.parameters.runFolder = self.ui.runComboBox.itemData(index) or ""
        self._showRun()

    def onStart(self, checked=False) -> None:
        """Start a run, or go on with the one that is shown."""
        try:
            if self.view is not None and self.view.state in ("paused", "failed", "killed"):
                self.logic.resumeRun(self.view.run)
            else:
                self.logic.startRun(self.panel.parameters)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self.panel.showText("")
        self._fillRuns()
        self._showRun()
        self.panel.updateState()

    def onPause(self, checked=False) -> None:
        """Save the state and end the process."""
        self._ask(lambda run: run.pause())

    def onStop(self, checked=False) -> None:
        """Make a model of what was learnt so far."""
        self._ask(lambda run: run.stop())

    def _ask(self, what) -> None:
        try:
            what(self.view.run)
        except MedAIError as error:
            self.panel.showError(error)
        self.watch()

    def runsToAskFor(self):
        """The runs of the project that go on if Slicer is closed, also from another module."""
        return self.logic.activeRuns(self._project)

    # Watching

    def watch(self) -> None:
        """Read what is new of the run that is shown."""
        self._looks += 1
        if self.panel.parameters is None:
            return
        if self._looks % LIST_EVERY == 0 and self.panel.openStep() == "train":
            self._fillRuns()
        if self.view is None or not self.view.update():
            return
        self._showRun()
        if not self.view.active:
            self._fillRuns()
            if self.view.state == "finished":
                self.panel.steps["evaluate"].runFinished(self.view.run)
        self.panel.updateState()

    def _showRun(self) -> None:
        view = self.view
        if view is None:
            return
        self.ui.trainProgressBar.value = round(1000 * view.fraction)
        self.ui.runStatusLabel.text = view.statusText()
        self._drawCurves()
        # Elsewhere in Slicer the slice views belong to what the person does there.
        if self.ui.showPreviewCheckBox.checked and view.active and self.panel.openStep() == "train":
            self._showPreview()

    def _showPreview(self) -> None:
        try:
            self.view.showPreview(self.logic.labelColors(self.panel.parameters))
        except MedAIError as error:
            self.panel.showError(error)

    def onShowPreview(self, shown) -> None:
        """Show the held-back case, or take it away."""
        if self.view is None:
            return
        if shown:
            self._showPreview()
        else:
            self.view.close()

    # Curves

    def _drawCurves(self) -> None:
        if not self.view.events:
            return
        charts = self.view.drawCurves()
        combo = self.ui.chartComboBox
        if [chart.GetID() for chart in charts] != [chart.GetID() for chart in self.charts]:
            chosen = combo.currentIndex
            self.charts = charts
            combo.clear()
            for chart in charts:
                combo.addItem(chart.GetYAxisTitle() or chart.GetName(), chart.GetID())
            combo.currentIndex = max(0, min(chosen, combo.count - 1))
        if self.charts:
            self.chartFrame.show(self.charts[max(0, combo.currentIndex)])
            self.chartFrame.redraw()

    def onChartChosen(self, index) -> None:
        """The person chose a curve."""
        if 0 <= index < len(self.charts):
            self.chartFrame.show(self.charts[index])

    def onChartInLayout(self, checked=False) -> None:
        """Show the chart in a layout with a plot view."""
        index = self.ui.chartComboBox.currentIndex
        if 0 <= index < len(self.charts):
            slicer.modules.plots.logic().ShowChartInLayout(self.charts[index])

    # Life

    def sceneClosed(self) -> None:
        """The nodes go with the scene; the run goes on."""
        self.view = None
        self.charts = []
        self.chartFrame.forget()

    def close(self) -> None:
        """The panel goes away; the run goes on."""
        self.guard.remove()
        if self.view is not None:
            self.view.close()
        self.chartFrame.close()
