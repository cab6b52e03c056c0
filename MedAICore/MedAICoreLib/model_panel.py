"""What the panels of MedAI's modules have in common: their life, the model, the device, Apply and Cancel, progress."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from medai.errors import MedAIError
from MedAICoreLib.device_choice import DeviceChoice
from MedAICoreLib.environment_banner import environmentStep
from MedAICoreLib.environment_setup import environmentProblem, sharedSetup
from MedAICoreLib.model_selector import ModelSelector
from MedAICoreLib.progress_text import progressText
from MedAICoreLib.reload import forget_packages
from MedAICoreLib.runs import RunState
from MedAICoreLib.suggestion_line import SuggestionLine
from MedAICoreLib.worker import sharedWorker

TICK_MS = 10
RUNNING = (RunState.SENDING, RunState.COMPUTING, RunState.RECEIVING, RunState.WRITING)


class ModelPanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Shows and changes parameters, never computes; work is done in slices from a timer, so no window ever freezes.

    A module's widget says what it is about (`uiName`, `task`, `makeLogic`) and overrides the methods of the last
    section. The .ui file brings nextStepFrame/Label/Button, modelSearchLineEdit, modelList, modelCardBrowser,
    installModelButton, suggestionLabel, fitLabel, deviceComboBox, advancedCollapsibleButton, applyButton, queueButton,
    progressBar, statusLabel and resultsCollapsibleButton. The parameter node has inputVolume, modelId and device; the
    logic is a `RunQueue` with `getParameterNode`.
    """

    uiName = ""
    task = ""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._nextStepAction = None
        self._devicesAsked = False
        self._shownRun = None

    def setup(self) -> None:
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.uiName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic(sharedWorker())
        self.logic.onRunChanged = self.onRunChanged
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self.onTick)
        ui = self.ui
        self.models = ModelSelector(
            ui.modelSearchLineEdit,
            ui.modelList,
            ui.modelCardBrowser,
            ui.installModelButton,
            task=self.task,
            onSelected=self.onModelChosen,
            onMessage=self.showText,
        )
        self.devices = DeviceChoice(ui.deviceComboBox, self.onDeviceChosen)
        self.suggestion = SuggestionLine(ui.suggestionLabel, ui.fitLabel, self.onModelChosen)
        ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        ui.queueButton.connect("clicked(bool)", self.onQueueButton)
        ui.nextStepButton.connect("clicked(bool)", self.onNextStepButton)
        ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self.onAdvancedCollapsed)
        self.connectWidgets()
        sharedSetup().subscribe(self.updateState)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        ui.resultsCollapsibleButton.visible = False
        self.models.refresh()
        self.initializeParameterNode()

    # Life of the panel

    def cleanup(self) -> None:
        """The panel goes away: stop what runs, let go of the scene."""
        sharedSetup().unsubscribe(self.updateState)
        if self.logic is not None:
            self.logic.cancelAll()
            self.logic.onRunChanged = None
            self._timer.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """The person opened the module: models may have been installed meanwhile."""
        self.models.refresh()
        self.initializeParameterNode()

    def exit(self) -> None:
        """The person left the module; a run goes on."""
        self.setParameterNode(None)

    def onReload(self) -> None:
        """Reload with all of MedAI's packages, not only this module's file."""
        self.cleanup()
        sharedWorker().close()
        forget_packages()
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """The scene goes away: no result can be written any more."""
        self.logic.cancelAll()
        self._shownRun = None
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None) -> None:
        """Start afresh in the empty scene."""
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.updateState()

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node; a first volume and model are chosen for the person."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first:
                self._parameterNode.inputVolume = first
        if not self._parameterNode.modelId and len(self.models.catalog.entries) > 0:
            self._parameterNode.modelId = self.models.catalog.entries[0].card.id

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
        self.models.select(self._parameterNode.modelId)
        card = self.models.card()
        self.models.showCard(self.memoryEstimateMb(card) if card else None)
        self.devices.select(self._parameterNode.device)
        self.showParameters()
        self.updateState()

    def onModelChosen(self, modelId) -> None:
        """The person chose a model in the list, or installed one."""
        if self._parameterNode and modelId != self._parameterNode.modelId:
            self._parameterNode.modelId = modelId

    def showSuggestion(self, volumes) -> None:
        """Say which model fits `volumes`, and why the chosen one does not.

        They are the model's inputs in order, None where none is chosen; an empty list says nothing.
        """
        self.suggestion.show([entry.card for entry in self.models.catalog.entries], self.models.card(), volumes)

    # Device

    def onDeviceChosen(self, deviceId) -> None:
        """The person chose where the network runs."""
        if self._parameterNode:
            self._parameterNode.device = deviceId

    def onAdvancedCollapsed(self, collapsed) -> None:
        """Ask the worker for its devices when they are to be seen for the first time."""
        if collapsed or self._devicesAsked or environmentProblem():
            return
        self._devicesAsked = True
        self.logic.requestDevices(self.devices.setDevices)
        self._timer.start()

    # Runs

    def onApplyButton(self, checked=False) -> None:
        """Start the run, or cancel the one that runs."""
        if self.logic.busy:
            self.logic.cancelActive()
            self._timer.start()
        else:
            self.onQueueButton()

    def onQueueButton(self, checked=False) -> None:
        """Put what the panel's values ask for at the end of the queue."""
        self.queueRuns(self.enqueue)

    def queueRuns(self, enqueue):
        """Let `enqueue(model)`, with the chosen model's `CatalogEntry`, fill the queue; gives its result.

        Where it raises MedAIError, the panel says why, and None is given.
        """
        try:
            queued = enqueue(self.models.current())
        except MedAIError as error:
            self.showError(error)
            return None
        self._timer.start()
        self.updateState()
        return queued

    def onTick(self) -> None:
        """Do a slice of the work that is waiting; the timer stops when there is none."""
        try:
            more = self.logic.advance()
        except MedAIError as error:
            self.showError(error)
            return
        if not more:
            self._timer.stop()
            self.updateState()

    def onRunChanged(self, run) -> None:
        """A run got further, or ended."""
        if run.state in RUNNING:
            self.ui.progressBar.value = round(1000 * run.fraction)
            self.ui.statusLabel.text = self._runningText(run)
            return
        if run.state is RunState.DONE:
            self._shownRun = run
            self.showResult(run)
        elif run.state is RunState.FAILED:
            self.showError(run.error)
        elif run.state is RunState.CANCELLED:
            self.ui.statusLabel.text = _("Cancelled. The scene was not changed.")
        self.updateState()

    def _runningText(self, run) -> str:
        text = f"{run.request.volumeName}: {progressText(run.stage, run.etaSeconds)}"
        waiting = [waitingRun.request.volumeName for waitingRun in self.logic.waitingRuns]
        if len(waiting) > 3:
            waiting = [*waiting[:3], _("{count} more").format(count=len(waiting) - 3)]
        if waiting:
            text += "\n" + _("Waiting: {names}").format(names=", ".join(waiting))
        return text

    def showText(self, text) -> None:
        """Say something in the panel."""
        self.ui.statusLabel.text = text

    def showError(self, error) -> None:
        """Say in the panel what went wrong and what to do."""
        self.showText(_("Failed: {message}").format(message=f"{error.message}\n{error.remedy}".strip()))

    # What can be done now

    def onNextStepButton(self, checked=False) -> None:
        """Do what the panel suggests."""
        if self._nextStepAction is not None:
            self._nextStepAction()

    def nextStep(self):
        """(text, button text, action) of what is missing before a run, or None. Without an action, the text is all."""
        missing = environmentStep()
        if missing is not None:
            return missing
        if len(self.models.catalog.entries) == 0:
            return self.noModelText(), _("Install model..."), self.models.chooseFileAndInstall
        if not self._parameterNode:
            return _("Open the module."), "", None
        if self.models.card() is None:
            return _("Choose a model in the list."), "", None
        return self.missing()

    def updateState(self) -> None:
        """Enable, disable and name the buttons for what can be done now."""
        step = self.nextStep()
        self.ui.nextStepFrame.visible = step is not None
        if step is not None:
            text, buttonText, self._nextStepAction = step
            self.ui.nextStepLabel.text = text
            self.ui.nextStepButton.text = buttonText
            self.ui.nextStepButton.visible = bool(buttonText)
        busy = self.logic.busy
        self.ui.applyButton.text = _("Cancel") if busy else _("Apply")
        self.ui.applyButton.enabled = busy or step is None
        if busy:
            self.ui.applyButton.toolTip = _("Stop this run; the scene stays as it is.")
        else:
            self.ui.applyButton.toolTip = step[0] if step is not None else self.applyText()
        self.ui.queueButton.visible = busy
        self.ui.queueButton.enabled = step is None
        self.ui.progressBar.visible = busy
        if not busy:
            self.ui.progressBar.value = 0
        self.ui.resultsCollapsibleButton.visible = self.hasResult()

    # What a module says and does

    def makeLogic(self, worker):
        """The module's logic: a `RunQueue`."""
        raise NotImplementedError

    def connectWidgets(self) -> None:
        """Connect the module's own widgets."""

    def showParameters(self) -> None:
        """Show what the parameter node does not show by itself."""

    def memoryEstimateMb(self, card):
        """Memory that a run of this model would need beyond the model itself, in MiB; None where it is not known."""
        return None

    def enqueue(self, model) -> None:
        """Put what the panel's values ask for at the end of the queue; `model` is a `CatalogEntry`."""
        raise NotImplementedError

    def showResult(self, run) -> None:
        """Show what a run has made."""
        raise NotImplementedError

    def hasResult(self) -> bool:
        """Whether there is a result to be shown."""
        raise NotImplementedError

    def missing(self):
        """(text, button text, action) of what the module misses before a run, or None."""
        raise NotImplementedError

    def noModelText(self) -> str:
        """What to say where no model is installed."""
        return _("No model is installed.")

    def applyText(self) -> str:
        """What Apply does."""
        return _("Slicer stays usable meanwhile.")
