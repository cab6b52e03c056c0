"""The MedAI Train panel: four steps from labelled cases to a model; it shows and asks, the logic does the work."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from medai.errors import Cancelled, MedAIError
from MedAICoreLib.environment_banner import environmentStep
from MedAICoreLib.environment_setup import sharedSetup
from MedAICoreLib.reload import forget_packages
from MedAITrainLib.data_step import DataStep
from MedAITrainLib.evaluate_step import EvaluateStep
from MedAITrainLib.logic import MedAITrainLogic
from MedAITrainLib.plan_step import PlanStep
from MedAITrainLib.train_step import TrainStep

# A job is advanced so often, processes and run folders are looked at so often.
TICK_MS, WATCH_MS = 10, 400


class MedAITrainWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Data, Plan, Train, Evaluate: one open at a time; the line at the top always says what comes next."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.job = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._nextStepAction = None
        self._opening = False

    def setup(self) -> None:
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedAITrain.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MedAITrainLogic()
        self._timer = self._newTimer(TICK_MS, self.onTick)
        self._watchTimer = self._newTimer(WATCH_MS, self.onWatch)
        self.steps = {
            "data": DataStep(self),
            "plan": PlanStep(self),
            "train": TrainStep(self),
            "evaluate": EvaluateStep(self),
        }
        self.sections = {name: getattr(self.ui, f"{name}CollapsibleButton") for name in self.steps}
        for name, button in self.sections.items():
            button.connect("contentsCollapsed(bool)", lambda collapsed, name=name: self.onSection(name, collapsed))
        self.ui.nextStepButton.connect("clicked(bool)", self.onNextStepButton)
        self.ui.statusLabel.text = ""
        sharedSetup().subscribe(self.updateState)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()
        self._watchTimer.start()

    def _newTimer(self, milliseconds, slot):
        timer = qt.QTimer()
        timer.setInterval(milliseconds)
        timer.connect("timeout()", slot)
        return timer

    # Life of the panel

    @property
    def parameters(self):
        """The parameter node, or None while the panel is not shown."""
        return self._parameterNode

    def cleanup(self) -> None:
        """The panel goes away: what was begun here ends, a training goes on."""
        sharedSetup().unsubscribe(self.updateState)
        if self.logic is not None:
            self._timer.stop()
            self._watchTimer.stop()
            self._dropJob()
            for step in self.steps.values():
                step.close()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """The person opened the module: models and runs may be others."""
        self.initializeParameterNode()
        for step in self.steps.values():
            step.enter()
        self.updateState()

    def exit(self) -> None:
        """The person left the module; a training goes on."""
        self.setParameterNode(None)

    def onReload(self) -> None:
        """Reload with all of MedAI's packages, not only this module's file."""
        self.cleanup()
        forget_packages()
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """The scene goes away, and its cases with it; a training goes on."""
        self._dropJob()
        self.logic.forgetScene()
        for step in self.steps.values():
            step.sceneClosed()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None) -> None:
        """Start afresh in the empty scene."""
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.updateState()

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode) -> None:
        """Show this parameter node, or none."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self.onParametersModified()

    def onParametersModified(self, caller=None, event=None) -> None:
        """A value changed, in the panel or elsewhere."""
        for step in self.steps.values():
            step.showParameters()
        self.updateState()

    # Steps

    def goTo(self, name) -> None:
        """Open a step and close the others."""
        self._opening = True
        for other, button in self.sections.items():
            button.collapsed = other != name
        self._opening = False
        self.steps[name].opened()
        self.updateState()

    def onSection(self, name, collapsed) -> None:
        """The person opened or closed a step."""
        if not collapsed and not self._opening:
            self.goTo(name)

    def openStep(self) -> str:
        """Name of the step that is open; the first one where all are closed."""
        return next((name for name, button in self.sections.items() if not button.collapsed), "data")

    # Work

    def run(self, job) -> None:
        """Do a job in slices; only one at a time."""
        if self.job is not None:
            self.showText(_("Wait until this is done: {title}.").format(title=self.job.title))
            return
        self.job = job
        self.showText(f"{job.title}...")
        self._timer.start()
        self.updateState()

    def cancelJob(self) -> None:
        """Stop the job."""
        if self.job is not None:
            title = self.job.title
            self._dropJob()
            self.showText(_("Cancelled: {title}.").format(title=title))
            self.updateState()

    def _dropJob(self) -> None:
        if self.job is not None:
            self.job.cancel()
            self.job = None
            self._timer.stop()

    def onTick(self) -> None:
        """Do a slice of the job."""
        job = self.job
        if job is None:
            self._timer.stop()
            return
        try:
            if job.advance():
                self.ui.exportProgressBar.value = round(1000 * job.fraction)
                return
        except MedAIError as error:
            self.showError(error)
        self.job = None
        self._timer.stop()
        self.updateState()

    def onWatch(self) -> None:
        """Look at the processes and at the run that is shown."""
        for step in self.steps.values():
            step.watch()

    # Texts

    def showText(self, text) -> None:
        """Say something in the panel."""
        self.ui.statusLabel.text = text

    def showError(self, error) -> None:
        """Say in the panel what went wrong and what to do."""
        if isinstance(error, Cancelled):
            self.showText(_("Cancelled."))
            return
        self.showText(_("Failed: {message}").format(message=f"{error.message}\n{error.remedy}".strip()))

    def onNextStepButton(self, checked=False) -> None:
        """Do what the panel suggests."""
        if self._nextStepAction is not None:
            self._nextStepAction()

    def nextStep(self):
        """(text, button text, action) of what comes next."""
        if not self._parameterNode:
            return _("Open the module."), "", None
        order = list(self.steps)
        current = self.openStep()
        for name in order[: order.index(current) + 1]:
            step = self.steps[name].nextStep()
            missing = environmentStep() if name == "plan" else None  # data sets are made without it
            if missing is not None:
                return missing
            if step is None:
                continue
            if name != current and not step[1]:
                return step[0], _("Go there"), lambda name=name: self.goTo(name)
            return step
        following = order[order.index(current) + 1 :]
        if not following:
            return self.steps["evaluate"].lastStep()
        return self.steps[following[0]].invitation(), _("Go on"), lambda: self.goTo(following[0])

    def updateState(self) -> None:
        """Say what comes next; enable, disable and name the buttons for what can be done now."""
        text, buttonText, self._nextStepAction = self.nextStep()
        self.ui.nextStepLabel.text = text
        self.ui.nextStepButton.text = buttonText
        self.ui.nextStepButton.visible = bool(buttonText)
        self.ui.nextStepButton.enabled = self.job is None
        if self._parameterNode:
            for step in self.steps.values():
                step.updateState(self.job)
