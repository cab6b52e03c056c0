"""The MedAI Segmentation panel: shows and changes the parameters, never computes."""

import qt
import slicer
from slicer.i18n import tr as _

from MedAICoreLib.environment_setup import environmentProblem
from MedAICoreLib.model_panel import ModelPanel
from MedAICoreLib.progress_text import durationText
from MedAICoreLib.settings import Settings
from MedAICoreLib.worker import sharedWorker
from MedAISegLib.click_panel import ClickPanel
from MedAISegLib.logic import MedAISegLogic
from MedAISegLib.result_table import showStructures
from MedAISegLib.sequence_run import browserOf
from MedAISegLib.several_volumes import SeveralVolumes


def inputText(spec) -> str:
    """How an input of a model is named beside its selector."""
    name = spec.name if not spec.modality or spec.modality == spec.name else f"{spec.name} ({spec.modality})"
    return f"{name}:".replace("&", "&&")


class MedAISegWidget(ModelPanel):
    """Inputs, outputs, Apply/Cancel, several volumes, results; a second tab segments by clicks."""

    uiName = "MedAISeg"
    task = "segment"

    def __init__(self, parent=None) -> None:
        ModelPanel.__init__(self, parent)
        self.settings = Settings()
        self._fillingLabels = False
        self._listing = False

    def makeLogic(self, worker):
        """The module's logic."""
        return MedAISegLogic(worker=worker)

    def connectWidgets(self) -> None:
        """Connect what only this module has."""
        ui = self.ui
        self.logic.onSurfaces = self.onSurfaces
        self.several = SeveralVolumes(ui, self.onSegmentSeveral)
        self.click = ClickPanel(ui.clickTab, self.resourcePath("UI/MedAISegClick.ui"), sharedWorker())
        ui.tabWidget.connect("currentChanged(int)", self.onTabChanged)
        ui.labelsList.connect("itemChanged(QListWidgetItem*)", self.onLabelTicked)
        ui.interpreterButton.connect("clicked(bool)", self.onChooseInterpreter)
        ui.show3DButton.connect("toggled(bool)", self.onShow3D)
        ui.openEditorButton.connect("clicked(bool)", self.onOpenEditor)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self.onNodesChanged)
        ui.interpreterLineEdit.text = self.settings.interpreter()
        self.setClickTabVisible(True)

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
        self.click.cleanup()
        self.logic.onSurfaces = None
        ModelPanel.cleanup(self)

    def enter(self) -> None:
        """The person opened the module: models may have been installed meanwhile."""
        ModelPanel.enter(self)
        self.onTabChanged()

    def exit(self) -> None:
        """The person left the module; a run goes on."""
        self.click.setActive(False)
        ModelPanel.exit(self)

    def onTabChanged(self, index=None) -> None:
        """Only the tab that is seen takes clicks and keys."""
        entered = bool(self.parent.isEntered)
        self.click.setActive(entered and self.ui.tabWidget.currentWidget() is self.ui.clickTab)

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
        ModelPanel.onSceneEndClose(self, caller, event)

    # Inputs

    def showParameters(self) -> None:
        """Show what the model takes and finds."""
        self._showInputs(self.models.card())
        self._showLabels()

    def memoryEstimateMb(self, card):
        """Memory that a run on the chosen volume needs beyond the model, in MiB; None without a volume."""
        return self.logic.memoryEstimateMb(card, self._parameterNode.inputVolume)

    def _showInputs(self, card) -> None:
        """As many volume selectors as the model has inputs, named as the model names them; frames of a sequence."""
        ui, specs = self.ui, card.inputs if card else ()
        labels = (ui.inputVolumeLabel, ui.input2Label, ui.input3Label, ui.input4Label)
        selectors = (ui.inputVolumeSelector, ui.input2Selector, ui.input3Selector, ui.input4Selector)
        for row, (label, selector) in enumerate(zip(labels, selectors, strict=True)):
            label.text = inputText(specs[row]) if row < len(specs) and len(specs) > 1 else _("&Volume:")
            label.visible = selector.visible = row == 0 or row < len(specs)
        inputs = self.logic.inputVolumes(self._parameterNode, card) if card else [self._parameterNode.inputVolume]
        self.showSuggestion(inputs)
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
        ModelPanel.onModelChosen(self, modelId)

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

    # Interpreter

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

    def enqueue(self, model) -> None:
        """Put a run with the panel's values at the end of the queue."""
        self.logic.enqueue(self.logic.requestFromParameters(self._parameterNode, model.card, model.location))

    def onSegmentSeveral(self, volumes) -> list:
        """Put a run for each of the volumes at the end of the queue; gives the runs."""
        parameters = self._parameterNode
        runs = self.queueRuns(lambda model: self.logic.enqueueSeveral(parameters, model.card, model.location, volumes))
        return runs or []

    def onRunChanged(self, run) -> None:
        """A run got further, or ended."""
        self.several.onRunChanged(run)
        ModelPanel.onRunChanged(self, run)

    def showResult(self, run) -> None:
        """Show the structures that were found, the warnings, and the surfaces where they are wanted."""
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
        if self._parameterNode and not (run.request.segmentationId or run in self.several.runs or result.frames > 1):
            self._parameterNode.segmentation = slicer.mrmlScene.GetNodeByID(result.segmentationId)
        showStructures(self.ui.resultsTable, result.statistics, result.totals)
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

    def hasResult(self) -> bool:
        """Whether a run has ended with a segmentation that is still there."""
        return self._resultSegmentation() is not None

    def updateState(self) -> None:
        """Enable, disable and name the buttons for what can be done now."""
        ModelPanel.updateState(self)
        card = self.models.card()
        self.several.setModel(card, card is not None and not environmentProblem())

    # What is missing

    def missing(self):
        """(text, button text, action) of what is missing before a run, or None."""
        if not self._parameterNode.inputVolume:
            return _("Load an image to segment."), _("Load image..."), slicer.util.openAddVolumeDialog
        problem = self.logic.problem(self._parameterNode, self.models.card())
        return (problem, "", None) if problem else None

    def noModelText(self) -> str:
        """What to say where no model is installed."""
        return _("No segmentation model is installed.")

    def applyText(self) -> str:
        """What Apply does."""
        return _("Segment the volume. Slicer stays usable meanwhile.")
