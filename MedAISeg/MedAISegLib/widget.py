"""The MedAI Segmentation panel: shows and changes the parameters, never computes."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from medai.errors import MedAIError
from MedAICoreLib.environment_banner import environmentStep
from MedAICoreLib.environment_setup import environmentProblem, sharedSetup
from MedAICoreLib.model_selector import ModelSelector
from MedAICoreLib.progress_text import durationText, progressText
from MedAICoreLib.reload import forget_packages
from MedAICoreLib.runs import RunState
from MedAICoreLib.settings import Settings
from MedAICoreLib.suggestion_line import SuggestionLine
from MedAICoreLib.worker import sharedWorker
from MedAISegLib.click_panel import ClickPanel
from MedAISegLib.logic import MedAISegLogic
from MedAISegLib.sequence_run import browserOf
from MedAISegLib.several_volumes import SeveralVolumes

TICK_MS = 10


def inputText(spec) -> str:
    """How an input of a model is named beside its selector."""
    name = spec.name if not spec.modality or spec.modality == spec.name else f"{spec.name} ({spec.modality})"
    return f"{name}:".replace("&", "&&")


class MedAISegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Inputs, outputs, Apply/Cancel, progress, results; work is done in slices, so the window never freezes."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.settings = Settings()
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._nextStepAction = None
        self._fillingLabels = False
        self._devicesAsked = False
        self._devices = []
        self._shownRun = None
        self._listing = False

    def setup(self) -> None:
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedAISeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MedAISegLogic(worker=sharedWorker())
        self.logic.onRunChanged = self.onRunChanged
        self.logic.onSurfaces = self.onSurfaces
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self.onTick)
        self.models = ModelSelector(
            self.ui.modelSearchLineEdit,
            self.ui.modelList,
            self.ui.modelCardBrowser,
            self.ui.installModelButton,
            task="segment",
            onSelected=self.onModelChosen,
            onMessage=self.showText,
        )
        self.suggestion = SuggestionLine(self.ui.suggestionLabel, self.ui.fitLabel, self.onModelChosen)
        self.several = SeveralVolumes(self.ui, self.onSegmentSeveral)
        self.click = ClickPanel(self.ui.clickTab, self.resourcePath("UI/MedAISegClick.ui"), sharedWorker())
        self.ui.tabWidget.connect("currentChanged(int)", self.onTabChanged)
        self._connectWidgets()
        sharedSetup().subscribe(self.updateState)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self.onNodesChanged)
        self.ui.interpreterLineEdit.text = self.settings.interpreter()
        self.ui.resultsCollapsibleButton.visible = False
        self.setClickTabVisible(True)
        self._fillDevices()
        self.models.refresh()
        self.initializeParameterNode()

    def _connectWidgets(self) -> None:
        ui = self.ui
        ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        ui.queueButton.connect("clicked(bool)", self.onQueueButton)
        ui.nextStepButton.connect("clicked(bool)", self.onNextStepButton)
        ui.labelsList.connect("itemChanged(QListWidgetItem*)", self.onLabelTicked)
        ui.deviceComboBox.connect("activated(int)", self.onDeviceChosen)
        ui.interpreterButton.connect("clicked(bool)", self.onChooseInterpreter)
        ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self.onAdvancedCollapsed)
        ui.show3DButton.connect("toggled(bool)", self.onShow3D)
        ui.openEditorButton.connect("clicked(bool)", self.onOpenEditor)

    def setClickTabVisible(self, visible) -> None:
        """Show the tab "Click" beside "Segment"; with one tab alone, no tab bar is shown."""
        # PythonQt does not have QTabWidget.setTabVisible.
        tabs, row = self.ui.tabWidget, self.ui.tabWidget.indexOf(self.ui.clickTab)
        if visible and row < 0:
            tabs.addTab(self.ui.clickTab, _("Click"))
        elif not visible and row >= 0:
            tabs.removeTab(row)
        tabs.tabBar().visible = tabs.count > 1

    # Life of the panel

    def cleanup(self) -> None:
        """The panel goes away: stop what runs, let go of the scene."""
        sharedSetup().unsubscribe(self.updateState)
        self.click.cleanup()
        if self.logic is not None:
            self.logic.cancelAll()
            self.logic.onRunChanged = self.logic.onSurfaces = None
            self._timer.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """The person opened the module: models may have been installed meanwhile."""
        self.models.refresh()
        self.initializeParameterNode()
        self.onTabChanged()

    def exit(self) -> None:
        """The person left the module; a run goes on."""
        self.click.setActive(False)
        self.setParameterNode(None)

    def onTabChanged(self, index=None) -> None:
        """Only the tab that is seen takes clicks and keys."""
        entered = bool(self.parent.isEntered)
        self.click.setActive(entered and self.ui.tabWidget.currentWidget() is self.ui.clickTab)

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

    def onNodesChanged(self, caller=None, event=None) -> None:
        """A node came or went: list the volumes anew, once for a burst of them."""
        if not self._listing and not self.ui.severalCollapsibleButton.collapsed:
            self._listing = True
            qt.QTimer.singleShot(0, self.onListVolumes)

    def onListVolumes(self) -> None:
        """List the volumes of the scene anew."""
        self._listing = False
        self.several.refresh()

    def onSceneEndClose(self, caller=None, event=None) -> None:
        """Start afresh in the empty scene."""
        self.several.clear()
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
        self.models.showCard(self.logic.memoryEstimateMb(card, self._parameterNode.inputVolume) if card else None)
        self._showInputs(card)
        self._showLabels()
        self._showDevice()
        self.updateState()

    def _showInputs(self, card) -> None:
        """As many volume selectors as the model has inputs, named as the model names them; frames of a sequence."""
        ui, specs = self.ui, card.inputs if card else ()
        labels = (ui.inputVolumeLabel, ui.input2Label, ui.input3Label, ui.input4Label)
        selectors = (ui.inputVolumeSelector, ui.input2Selector, ui.input3Selector, ui.input4Selector)
        for row, (label, selector) in enumerate(zip(labels, selectors, strict=True)):
            label.text = inputText(specs[row]) if row < len(specs) and len(specs) > 1 else _("&Volume:")
            label.visible = selector.visible = row == 0 or row < len(specs)
        inputs = self.logic.inputVolumes(self._parameterNode, card) if card else [self._parameterNode.inputVolume]
        self.suggestion.show([entry.card for entry in self.models.catalog.entries], card, inputs)
        browser = browserOf(inputs[0])
        ui.allFramesCheckBox.visible = browser is not None
        if browser is not None:
            ui.allFramesCheckBox.text = _("All {count} frames of the sequence").format(count=browser.GetNumberOfItems())
        # Maps of every frame would fill the memory; they are made for one frame at a time.
        single = browser is None or not self._parameterNode.allFrames
        ui.probabilitiesCheckBox.enabled = ui.entropyCheckBox.enabled = single

    def onModelChosen(self, modelId) -> None:
        """The person chose a model in the list, or installed one."""
        if self._parameterNode and modelId != self._parameterNode.modelId:
            self._parameterNode.labels = ""
            self._parameterNode.modelId = modelId

    # Structures to write

    def _showLabels(self) -> None:
        wanted = self._parameterNode.labels.splitlines() if self._parameterNode else []
        self._fillingLabels = True
        self.ui.labelsList.clear()
        for name in self.models.labels():
            item = qt.QListWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if not wanted or name in wanted else qt.Qt.Unchecked)
            self.ui.labelsList.addItem(item)
        self._fillingLabels = False

    def onLabelTicked(self, item) -> None:
        """The person ticked or unticked a structure."""
        if self._fillingLabels or not self._parameterNode:
            return
        items = [self.ui.labelsList.item(row) for row in range(self.ui.labelsList.count)]
        ticked = [entry.text() for entry in items if entry.checkState() == qt.Qt.Checked]
        # No structure at all is no run; ticking none means all, as an empty list does.
        self._parameterNode.labels = "" if len(ticked) in (0, len(items)) else "\n".join(ticked)

    # Device and interpreter

    def _fillDevices(self) -> None:
        combo = self.ui.deviceComboBox
        combo.clear()
        combo.addItem(_("Automatic"), "auto")
        for device in self._devices or [{"id": "cpu", "kind": "cpu", "name": _("Processor")}]:
            name = device["name"]
            if device.get("free_mb") and device["kind"] != "cpu":
                name = _("{name} ({free} GB free)").format(name=name, free=round(device["free_mb"] / 1024, 1))
            combo.addItem(name, device["id"])
        self._showDevice()

    def _showDevice(self) -> None:
        if self._parameterNode:
            row = self.ui.deviceComboBox.findData(self._parameterNode.device)
            self.ui.deviceComboBox.currentIndex = max(row, 0)

    def onDeviceChosen(self, index) -> None:
        """The person chose where the network runs."""
        if self._parameterNode:
            self._parameterNode.device = self.ui.deviceComboBox.itemData(index)

    def onAdvancedCollapsed(self, collapsed) -> None:
        """Ask the worker for its devices when they are to be seen for the first time."""
        if collapsed or self._devicesAsked or environmentProblem():
            return
        self._devicesAsked = True
        self.logic.requestDevices(self.onDevices)
        self._timer.start()

    def onDevices(self, devices) -> None:
        """The worker told what can compute."""
        self._devices = list(devices)
        self._fillDevices()

    def onChooseInterpreter(self, checked=False) -> None:
        """Choose the Python in which the networks run."""
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Python with torch and MONAI"), self.settings.interpreter()
        )
        if path:
            self.setInterpreter(path)

    def setInterpreter(self, path) -> None:
        """Use another interpreter from now on; the old worker is ended."""
        self.settings.setInterpreter(path)
        self.ui.interpreterLineEdit.text = path
        self.logic.cancelAll()
        sharedWorker().close()
        self._devicesAsked = False
        self.updateState()

    # Runs

    def onApplyButton(self, checked=False) -> None:
        """Start the run, or cancel the one that runs."""
        if self.logic.busy:
            self.logic.cancelActive()
            self._timer.start()
        else:
            self.onQueueButton()

    def onQueueButton(self, checked=False) -> None:
        """Put a run with the panel's values at the end of the queue."""
        try:
            model = self.models.current()
            self.logic.enqueue(self.logic.requestFromParameters(self._parameterNode, model.card, model.location))
        except MedAIError as error:
            self.showError(error)
            return
        self._timer.start()
        self.updateState()

    def onSegmentSeveral(self, volumes) -> list:
        """Put a run for each of the volumes at the end of the queue; gives the runs."""
        try:
            model = self.models.current()
            runs = self.logic.enqueueSeveral(self._parameterNode, model.card, model.location, volumes)
        except MedAIError as error:
            self.showError(error)
            return []
        self._timer.start()
        self.updateState()
        return runs

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
        if run.state in (RunState.SENDING, RunState.COMPUTING, RunState.RECEIVING, RunState.WRITING):
            self.ui.progressBar.value = round(1000 * run.fraction)
            self.ui.statusLabel.text = self._runningText(run)
            return
        ofSeveral = self.several.onRunChanged(run)
        if run.state is RunState.DONE:
            self._showResult(run, keepChoice=ofSeveral)
        elif run.state is RunState.FAILED:
            self.showError(run.error)
        elif run.state is RunState.CANCELLED:
            self.ui.statusLabel.text = _("Cancelled. The scene was not changed.")
        self.updateState()

    def _runningText(self, run) -> str:
        text = f"{run.request.volumeName}: {progressText(run.stage, run.etaSeconds)}"
        waiting = [waitingRun.request.volumeName for waitingRun in self.logic.waitingRuns]
        if waiting:
            text += "\n" + _("Waiting: {names}").format(names=", ".join(waiting))
        return text

    def showText(self, text) -> None:
        """Say something in the panel."""
        self.ui.statusLabel.text = text

    def showError(self, error) -> None:
        """Say in the panel what went wrong and what to do."""
        self.showText(_("Failed: {message}").format(message=f"{error.message}\n{error.remedy}".strip()))

    def _showResult(self, run, keepChoice=False) -> None:
        self._shownRun = run
        result = run.result
        text = _("{volume}: done in {time} ({engine}, {precision}).").format(
            volume=run.request.volumeName,
            time=durationText(result.totalSeconds),
            engine=result.engine,
            precision=result.precision,
        )
        if result.peakMemoryMb is not None:
            text += " " + _("Memory: {mb} MB.").format(mb=round(result.peakMemoryMb))
        if result.frames > 1:
            text += " " + _("{frames} frames; the table shows the current one.").format(frames=result.frames)
        self.ui.statusLabel.text = "\n".join([text, *result.warnings])
        if self._parameterNode and not (run.request.segmentationId or keepChoice or result.frames > 1):
            self._parameterNode.segmentation = slicer.mrmlScene.GetNodeByID(result.segmentationId)
        table = self.ui.resultsTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Structure"), _("Volume (mL)"), _("Mean")])
        table.setRowCount(len(result.statistics))
        for row, entry in enumerate(result.statistics):
            mean = "" if entry.mean is None else f"{entry.mean:.4g}"
            for column, cell in enumerate((entry.name, f"{entry.volume_ml:.2f}", mean)):
                table.setItem(row, column, qt.QTableWidgetItem(cell))
        table.resizeColumnsToContents()
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        if self.ui.show3DButton.checked:
            self.onShow3D(True)

    def onShow3D(self, shown) -> None:
        """Make the surfaces, or hide them."""
        segmentation = self._resultSegmentation()
        if segmentation is not None:
            self.logic.showSurfaces(segmentation, bool(shown))
            self._timer.start()

    def onSurfaces(self, fraction) -> None:
        """Surfaces are being made: the button says how far it is."""
        done = fraction >= 1.0
        self.ui.show3DButton.text = (
            _("Show 3D") if done else _("Show 3D ({percent} %)").format(percent=int(100 * fraction))
        )

    def onOpenEditor(self, checked=False) -> None:
        """Go on by hand in the Segment Editor, on the same segmentation and volume."""
        segmentation = self._resultSegmentation()
        if segmentation is None:
            return
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation)
        volume = slicer.mrmlScene.GetNodeByID(self._shownRun.request.volumeId)
        if volume is not None:
            editor.setSourceVolumeNode(volume)

    def _resultSegmentation(self):
        return slicer.mrmlScene.GetNodeByID(self._shownRun.result.segmentationId) if self._shownRun else None

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
            return _("No segmentation model is installed."), _("Install model..."), self.models.chooseFileAndInstall
        if not self._parameterNode or not self._parameterNode.inputVolume:
            return _("Load an image to segment."), _("Load image..."), slicer.util.openAddVolumeDialog
        if self.models.card() is None:
            return _("Choose a model in the list."), "", None
        problem = self.logic.problem(self._parameterNode, self.models.card())
        return (problem, "", None) if problem else None

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
        self.ui.applyButton.toolTip = self._applyToolTip(busy, step)
        self.ui.queueButton.visible = busy
        self.ui.queueButton.enabled = step is None
        self.ui.progressBar.visible = busy
        if not busy:
            self.ui.progressBar.value = 0
        self.ui.resultsCollapsibleButton.visible = self._resultSegmentation() is not None
        card = self.models.card()
        self.several.setModel(card, card is not None and not environmentProblem())

    def _applyToolTip(self, busy, step) -> str:
        if busy:
            return _("Stop this run; the scene stays as it is.")
        return step[0] if step is not None else _("Segment the volume. Slicer stays usable meanwhile.")
