"""The MedAI Classification panel: shows and changes the parameters, never computes."""

import qt
import slicer
from slicer.i18n import tr as _

from medai.errors import MedAIError
from MedAIClassifyLib.logic import MASK_MODALITY, MedAIClassifyLogic
from MedAIClassifyLib.parameters import Explanation, Scope
from MedAICoreLib.model_panel import ModelPanel
from MedAICoreLib.progress_text import durationText

ITEM_COLUMNS = 3
# As many warnings as the status line shows.
MOST_NOTES = 6
NODE_SELECTORS = ("inputVolume", "roi", "segmentation")


class MedAIClassifyWidget(ModelPanel):
    """What is classified, the model, Apply/Cancel, the classes with their probabilities, the heat map."""

    uiName = "MedAIClassify"
    task = "classify"

    def __init__(self, parent=None) -> None:
        ModelPanel.__init__(self, parent)
        self._fillingClasses = False
        self._segmentationId = ""
        self._leftOut = ()

    def makeLogic(self, worker):
        """The module's logic."""
        return MedAIClassifyLogic(worker=worker)

    def connectWidgets(self) -> None:
        """Connect what only this module has."""
        ui = self.ui
        ui.explainedClassComboBox.connect("activated(int)", self.onExplainedClassChosen)
        ui.itemsTable.connect("itemSelectionChanged()", self.onItemSelected)
        ui.showHeatMapCheckBox.connect("toggled(bool)", self.onShowHeatMap)
        ui.showTableButton.connect("clicked(bool)", self.onShowTable)
        ui.evaluationButton.connect("clicked(bool)", self.onShowEvaluation)
        ui.openEvaluationButton.connect("clicked(bool)", self.onOpenEvaluation)
        ui.anomalyLabel.visible = False

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """The scene goes away, and with it the result."""
        ModelPanel.onSceneStartClose(self, caller, event)
        self._segmentationId = ""
        self.ui.anomalyLabel.visible = False

    # Inputs

    def showParameters(self) -> None:
        """Show the rows that the scope needs, and the classes of the model."""
        parameters, ui = self._parameterNode, self.ui
        scope = parameters.scope
        shown = {
            "inputVolume": scope is not Scope.ALL_VOLUMES,
            "roi": scope is Scope.REGION,
            "segmentation": scope is Scope.SEGMENTS,
        }
        for name in NODE_SELECTORS:
            getattr(ui, f"{name}Label").visible = shown[name]
            getattr(ui, f"{name}Selector").visible = shown[name]
        ui.visibleOnlyCheckBox.visible = shown["segmentation"]
        ui.explainedClassComboBox.enabled = parameters.explanation is not Explanation.NONE
        self._showClasses()
        self._followSegmentation()
        self.showSuggestion([parameters.inputVolume] if self._judgesVolume() else [])
        ui.evaluationButton.enabled = self.logic.evaluationOf(self.models.card()) is not None

    def _judgesVolume(self) -> bool:
        """Whether the chosen volume tells which model fits: not where segments alone count, or all volumes."""
        card = self.models.card()
        wantsImage = card is None or any(spec.modality != MASK_MODALITY for spec in card.inputs)
        return wantsImage and self._parameterNode.scope is not Scope.ALL_VOLUMES

    def _showClasses(self) -> None:
        card, combo = self.models.card(), self.ui.explainedClassComboBox
        names = [spec.name for spec in card.classes] if card else []
        self._fillingClasses = True
        combo.clear()
        combo.addItem(_("the predicted class"), "")
        for name in names:
            combo.addItem(name, name)
        combo.currentIndex = max(combo.findData(self._parameterNode.explainedClass), 0)
        self._fillingClasses = False

    def _followSegmentation(self) -> None:
        """Choose the volume that a newly chosen segmentation was drawn on."""
        segmentation = self._parameterNode.segmentation
        segmentationId = segmentation.GetID() if segmentation else ""
        if segmentationId == self._segmentationId:
            return
        self._segmentationId = segmentationId
        volume = self.logic.referenceVolume(segmentation) if segmentation else None
        if volume is not None:
            self._parameterNode.inputVolume = volume

    def onModelChosen(self, modelId) -> None:
        """The person chose a model in the list, or installed one: it has other classes."""
        if self._parameterNode and modelId != self._parameterNode.modelId:
            self._parameterNode.explainedClass = ""
        ModelPanel.onModelChosen(self, modelId)

    def onExplainedClassChosen(self, index) -> None:
        """The person chose the class whose heat map is made."""
        if self._parameterNode and not self._fillingClasses:
            self._parameterNode.explainedClass = self.ui.explainedClassComboBox.itemData(index)

    # Runs

    def enqueue(self, model) -> None:
        """Put a run, or one for each volume of the scene, at the end of the queue."""
        asked = self.logic.requestsFromParameters(self._parameterNode, model.card, model.location)
        self._leftOut = asked.leftOut
        for request in asked.requests:
            self.logic.enqueue(request)

    def showResult(self, run) -> None:
        """Show the items with their classes, the warnings, and the heat map over the image."""
        result = run.result
        text = _("{volume}: done in {time} ({model}).").format(
            volume=run.request.volumeName, time=durationText(result.totalSeconds), model=result.model
        )
        # The banner says already what is unlike the training data: the last warning of such an item.
        said = {item.warnings[-1] for item in result.items if _flagged(item) and item.warnings}
        notes = [*self._leftOut, *(warning for warning in result.warnings if warning not in said)]
        if len(notes) > MOST_NOTES:
            notes = [*notes[:MOST_NOTES], _("{count} more warnings.").format(count=len(notes) - MOST_NOTES)]
        self.ui.statusLabel.text = "\n".join([text, *notes])
        self._showAnomaly(result)
        self._showItems(run)
        if result.heatMapId and self.ui.showHeatMapCheckBox.checked:
            self.logic.showHeatMap(run.request.volumeId, result.heatMapId, True)

    def _showAnomaly(self, result) -> None:
        flagged = [item.name for item in result.items if _flagged(item)]
        self.ui.anomalyLabel.visible = bool(flagged)
        if not flagged:
            return
        if len(result.items) == 1:
            anomaly = result.items[0].anomaly
            text = _(
                "Unlike the training data (distance {score}, usual below {threshold}): the class may mean nothing."
            )
            text = text.format(score=f"{anomaly.score:.3g}", threshold=f"{anomaly.threshold:.3g}")
            self.ui.anomalyLabel.text = "\N{WARNING SIGN} " + text
            return
        names = ", ".join(flagged[:4]) + (", ..." if len(flagged) > 4 else "")
        text = _("{count} of {all} are unlike the training data ({names}): their classes may mean nothing.")
        text = text.format(count=len(flagged), all=len(result.items), names=names)
        self.ui.anomalyLabel.text = "\N{WARNING SIGN} " + text

    def _showItems(self, run) -> None:
        table, items = self.ui.itemsTable, run.result.items
        table.setColumnCount(ITEM_COLUMNS)
        table.setHorizontalHeaderLabels([_("Item"), _("Class"), _("Probability")])
        table.setRowCount(len(items))
        for row, item in enumerate(items):
            predicted = f"\N{WARNING SIGN} {item.predicted}" if _flagged(item) else item.predicted
            texts = (item.name, predicted, f"{100 * item.probabilities[item.predicted]:.1f} %")
            for column, text in enumerate(texts):
                cell = qt.QTableWidgetItem(text)
                cell.setToolTip(text)
                table.setItem(row, column, cell)
        table.resizeColumnsToContents()
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.visible = len(items) > 1
        if items:
            table.selectRow(0)
        self._showProbabilities(items[0] if items else None)

    def onItemSelected(self) -> None:
        """The person chose an item: show its probabilities."""
        row = self.ui.itemsTable.currentRow()
        items = self._shownRun.result.items if self._shownRun else ()
        if 0 <= row < len(items):
            self._showProbabilities(items[row])

    def _showProbabilities(self, item) -> None:
        """A bar for each class, the most probable one first."""
        table, ui = self.ui.probabilityTable, self.ui
        shares = sorted(item.probabilities.items(), key=lambda pair: -pair[1]) if item else []
        ui.predictedLabel.text = f"<b>{_escaped(item.name)}: {_escaped(item.predicted)}</b>" if item else ""
        table.setColumnCount(2)
        table.setRowCount(len(shares))
        for row, (name, share) in enumerate(shares):
            label = qt.QTableWidgetItem(name)
            label.setToolTip(name)
            table.setItem(row, 0, label)
            bar = qt.QProgressBar()
            bar.setRange(0, 1000)
            bar.setValue(round(1000 * share))
            bar.setFormat(f"{100 * share:.1f} %")
            bar.setTextVisible(True)
            table.setCellWidget(row, 1, bar)
        table.resizeColumnToContents(0)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        height = 6 + sum(table.rowHeight(row) for row in range(min(len(shares), 6)))
        table.setFixedHeight(height)

    # Results

    def onShowHeatMap(self, shown) -> None:
        """Show the heat map over the image, or take it away."""
        if self._shownRun is not None:
            self.logic.showHeatMap(self._shownRun.request.volumeId, self._shownRun.result.heatMapId, bool(shown))

    def onShowTable(self, checked=False) -> None:
        """Show the table with the rows of all runs in the views."""
        if self._shownRun is not None:
            self.logic.showTable(self._shownRun.result.tableId)

    def onShowEvaluation(self, checked=False) -> None:
        """Show the curves that the model's card brings."""
        card = self.models.card()
        report = self.logic.evaluationOf(card)
        if report is not None:
            self._showCurves(report, card.title)

    def onOpenEvaluation(self, checked=False) -> None:
        """Show the curves of an evaluation that was saved as a file."""
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Open an evaluation"), "", _("Evaluation (*.json)")
        )
        if path:
            self.openEvaluation(path)

    def openEvaluation(self, path) -> None:
        """Show the curves of the evaluation in this file."""
        try:
            report = self.logic.readEvaluation(path)
        except MedAIError as error:
            self.showError(error)
            return
        self._showCurves(report, qt.QFileInfo(path).completeBaseName())

    def _showCurves(self, report, name) -> None:
        try:
            charts = self.logic.showEvaluation(report, name)
        except MedAIError as error:
            self.showError(error)
            return
        self.showText(_("In the plot view: {names}.").format(names=", ".join(chart.GetTitle() for chart in charts)))

    def hasResult(self) -> bool:
        """Whether a run has ended with a result whose table is still there."""
        return self._shownRun is not None and slicer.mrmlScene.GetNodeByID(self._shownRun.result.tableId) is not None

    def updateState(self) -> None:
        """Enable, disable and name the buttons for what can be done now."""
        ModelPanel.updateState(self)
        run = self._shownRun if self.hasResult() else None
        self.ui.showHeatMapCheckBox.enabled = run is not None and bool(run.result.heatMapId)

    # What is missing

    def missing(self):
        """(text, button text, action) of what is missing before a run, or None."""
        parameters = self._parameterNode
        if parameters.scope is not Scope.SEGMENTS and not slicer.mrmlScene.GetFirstNodeByClass(
            "vtkMRMLScalarVolumeNode"
        ):
            return _("Load an image to classify."), _("Load image..."), slicer.util.openAddVolumeDialog
        problem = self.logic.problem(parameters, self.models.card())
        return (problem, "", None) if problem else None

    def noModelText(self) -> str:
        """What to say where no model is installed."""
        return _("No classification model is installed.")

    def applyText(self) -> str:
        """What Apply does."""
        return _("Classify. Slicer stays usable meanwhile.")


def _flagged(item) -> bool:
    return item.anomaly is not None and item.anomaly.flag


def _escaped(text) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
