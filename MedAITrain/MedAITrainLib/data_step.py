"""Step 1 of the panel: which cases, which structures, what is wrong with them, and the data set made of them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from medai.errors import MedAIError
from medai.mrml.labelled_cases import scene_files
from MedAICoreLib.settings import Settings
from MedAITrainLib.case_list import coded_as
from MedAITrainLib.jobs import Job
from MedAITrainLib.parameters import Task
from MedAITrainLib.tables import cell, fit, fixed, selectedRows, tick

USED, NAME, PATIENT, FIRST_IMAGE = range(4)
# Rows that are seen without scrolling; a finding may take two lines of this height.
MOST_CASES, MOST_LABELS, MOST_FINDINGS, FINDING_HEIGHT = 5, 5, 3, 34
LABEL_USED, LABEL_NAME, LABEL_CASES, LABEL_CODE = range(4)
SEVERITY_SIGNS = {"error": "\N{MULTIPLICATION SIGN}", "warning": "\N{WARNING SIGN}", "note": "\N{INFORMATION SOURCE}"}
VOLUME_CLASS = "vtkMRMLScalarVolumeNode"


class DataStep:
    """Shows and changes the logic's list of cases; long work goes to the panel's timer as a job.

    `panel` gives `ui`, `logic`, `parameters` (the parameter node or None), `run(job)`, `showText`, `showError` and
    `updateState`.
    """

    def __init__(self, panel) -> None:
        self.panel, self.ui, self.logic = panel, panel.ui, panel.logic
        self._filling = False
        ui = self.ui
        ui.sceneCasesButton.connect("clicked(bool)", self.onSceneCases)
        ui.addFilesButton.connect("clicked(bool)", self.onAddFiles)
        ui.addFolderButton.connect("clicked(bool)", self.onAddFolder)
        ui.addCaseButton.connect("clicked(bool)", self.onAddCase)
        ui.removeCaseButton.connect("clicked(bool)", self.onRemoveCases)
        ui.casesTable.connect("itemChanged(QTableWidgetItem*)", self.onCaseItemChanged)
        ui.casesTable.connect("itemSelectionChanged()", self.onCaseSelected)
        ui.labelsTable.connect("itemChanged(QTableWidgetItem*)", self.onLabelItemChanged)
        ui.mergeLabelsButton.connect("clicked(bool)", self.onMergeLabels)
        ui.labelColorButton.connect("clicked(bool)", self.onLabelColor)
        ui.findingsList.connect("itemClicked(QListWidgetItem*)", self.onFindingClicked)
        ui.projectFolderPathLineEdit.connect("currentPathChanged(QString)", self.onProjectFolder)
        ui.checkButton.connect("clicked(bool)", self.onCheck)
        ui.exportButton.connect("clicked(bool)", self.onExport)
        ui.projectFolderPathLineEdit.filters = PATHS_OF_FOLDERS
        ui.exportProgressBar.visible = False

    # Showing

    def enter(self) -> None:
        """Nodes may have come or gone meanwhile."""
        self.refresh()

    def opened(self) -> None:
        """The step is seen."""
        self.refresh()

    def watch(self) -> None:
        """Nothing of this step runs in a process of its own."""

    def sceneClosed(self) -> None:
        """Cases of the scene are gone."""
        self._fillLabels()
        self._fillFindings()

    def close(self) -> None:
        """Nothing is to be ended."""

    def showParameters(self) -> None:
        """Show what the parameter node does not show by itself."""
        parameters = self.panel.parameters
        path = self.ui.projectFolderPathLineEdit
        if path.currentPath != parameters.projectFolder:
            path.currentPath = parameters.projectFolder
        self._fillCases()

    def refresh(self) -> None:
        """Show the list as it is now."""
        self._fillCases()
        self._fillLabels()
        self._fillFindings()
        self.panel.updateState()

    def updateState(self, busy) -> None:
        """Enable and name the buttons for what can be done now."""
        ui, cases = self.ui, self.logic.cases
        segments = self._segments()
        for widget in (
            ui.sceneCasesButton, ui.addCaseButton, ui.channelsLabel, ui.channelsSpinBox, ui.checkButton, ui.exportButton
        ):  # fmt: skip
            widget.visible = segments
        ui.addFilesButton.text = _("Scene files...") if segments else _("Table...")
        exporting = busy is not None and busy.name == "export"
        ui.exportButton.text = _("Cancel") if exporting else _("Make the data set")
        ui.exportButton.enabled = exporting or (busy is None and bool(cases.used))
        ui.checkButton.enabled = busy is None and bool(cases.entries)
        for button in (ui.sceneCasesButton, ui.addFilesButton, ui.addFolderButton, ui.addCaseButton):
            button.enabled = busy is None
        hasCases = segments and bool(cases.entries)
        ui.casesTable.visible = ui.removeCaseButton.visible = hasCases
        for widget in (ui.labelsTitleLabel, ui.labelsTable, ui.mergeLabelsButton, ui.labelColorButton):
            widget.visible = hasCases and bool(cases.labels.rows)
        ui.findingsList.visible = segments and cases.report is not None
        ui.exportProgressBar.visible = busy is not None and busy.name in ("export", "check", "scenes")
        if busy is not None:
            ui.exportProgressBar.value = round(1000 * busy.fraction)
        ui.casesSummaryLabel.text = cases.summary() if segments else ""
        self._showDataset()

    def _showDataset(self) -> None:
        parameters = self.panel.parameters
        dataset = parameters.dataset if parameters else ""
        self.ui.datasetLabel.visible = bool(dataset)
        if dataset:
            self.ui.datasetLabel.text = _("Data set: {path}").format(path=dataset)

    def nextStep(self):
        """(text, button text, action) of what this step misses, or None."""
        parameters, cases = self.panel.parameters, self.logic.cases
        if not self._segments():
            return self._nextForClasses()
        if parameters.dataset and not cases.entries:
            return None
        if not cases.entries:
            return (
                _("Take cases that are labelled: images with segmentations, of this scene or of saved ones."),
                _("From this scene"),
                self.onSceneCases,
            )
        if not cases.used:
            return _("Tick the cases that are to be learnt from."), "", None
        if not cases.checked:
            return _("Have the cases checked."), _("Check"), self.onCheck
        if not parameters.projectFolder:
            return (
                _("Choose a project folder: data set, runs and models are kept there."),
                _("Choose..."),
                self.onChooseProject,
            )
        if cases.report.errors:
            return _("Mend what the check found, or untick those cases."), "", None
        if not parameters.dataset:
            return _("The cases are ready: write them as a data set."), _("Make it"), self.onExport
        return None

    def _nextForClasses(self):
        parameters = self.panel.parameters
        if not parameters.dataset:
            return (
                _("Choose a folder that has a folder of images for each class, or a table (.csv) with the columns "
                  "image and class."),
                _("Folder..."),
                self.onAddFolder,
            )  # fmt: skip
        return None

    def _segments(self) -> bool:
        parameters = self.panel.parameters
        return parameters is None or parameters.task is Task.SEGMENTATION

    # Cases

    def _fillCases(self) -> None:
        table, cases = self.ui.casesTable, self.logic.cases
        channels = self._channels()
        titles = [_("Use"), _("Case"), _("Patient")]
        titles += [_("Image")] if channels == 1 else [_("Image {number}").format(number=n + 1) for n in range(channels)]
        titles += [_("Segmentation")]
        self._filling = True
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.setRowCount(len(cases.entries))
        for row, entry in enumerate(cases.entries):
            self._fillCase(row, entry, channels)
        fit(table, MOST_CASES)
        for column in (NAME, PATIENT):
            table.setColumnWidth(column, min(table.columnWidth(column), 130))
        self._filling = False

    def _fillCase(self, row, entry, channels) -> None:
        table, case = self.ui.casesTable, entry.case
        table.setItem(row, USED, tick(entry.used))
        table.setItem(row, NAME, cell(case.name))
        table.setItem(row, PATIENT, cell(case.patient, case.patient_name))
        for n in range(channels):
            column = FIRST_IMAGE + n
            if case.source or case.frame is not None:
                name = case.channel_names[n] if n < len(case.channel_names) else ""
                _clearCellWidget(table, row, column)
                table.setItem(row, column, fixed(name, _whereFrom(case)))
            else:
                chosen = case.volume_ids[n] if n < len(case.volume_ids) else ""
                self._putNodes(row, column, VOLUME_CLASS, chosen, lambda nodeId, r=row, c=n: self.onImage(r, c, nodeId))
        column = FIRST_IMAGE + channels
        if case.source or case.frame is not None:
            _clearCellWidget(table, row, column)
            table.setItem(row, column, fixed(_count(len(case.segments)), _whereFrom(case)))
        else:
            self._putNodes(
                row,
                column,
                "vtkMRMLSegmentationNode",
                case.segmentation_id,
                lambda nodeId, r=row: self.onSegmentation(r, nodeId),
            )

    def _putNodes(self, row, column, className, chosen, onChosen: Callable[[str], None]) -> None:
        """A box in the cell that lists the nodes of this class."""
        combo = qt.QComboBox()
        combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(10)
        combo.addItem(_("choose..."), "")
        for node in slicer.util.getNodesByClass(className):
            if node.GetHideFromEditors() or (className == VOLUME_CLASS and node.IsA("vtkMRMLLabelMapVolumeNode")):
                continue
            combo.addItem(node.GetName(), node.GetID())
        combo.currentIndex = max(combo.findData(chosen), 0)
        combo.setToolTip(combo.currentText)
        combo.connect("activated(int)", lambda index: onChosen(combo.itemData(index)))
        self.ui.casesTable.setCellWidget(row, column, combo)

    def _channels(self) -> int:
        parameters = self.panel.parameters
        return max(1, parameters.channels if parameters else 1)

    def onSceneCases(self, checked=False) -> None:
        """Find the labelled cases of the open scene."""
        try:
            count = self.logic.findSceneCases()
        except MedAIError as error:
            self.panel.showError(error)
            return
        self._followChannels()
        self._changed()
        if count:
            self.panel.showText(_("{count} labelled cases in this scene.").format(count=count))
        else:
            self.panel.showText(
                _("This scene has no image with a segmentation. Load one, segment it, or add saved scenes.")
            )

    def _followChannels(self) -> None:
        """As many image columns as the cases have."""
        found = max((len(entry.case.volume_ids) for entry in self.logic.cases.entries), default=1)
        if self.panel.parameters is not None and found > 1 and found != self.panel.parameters.channels:
            self.panel.parameters.channels = min(found, self.ui.channelsSpinBox.maximum)

    def onAddFiles(self, checked=False) -> None:
        """Let the person choose saved scenes; of a classifier, its table."""
        settings = Settings()
        if not self._segments():
            self._chooseTable(settings)
            return
        paths = qt.QFileDialog.getOpenFileNames(
            slicer.util.mainWindow(), _("Add scenes"), settings.lastFolder(), _("Scenes (*.mrb *.mrml)")
        )
        if paths:
            settings.setLastFolder(os.path.dirname(paths[0]))
            self.addScenes([Path(path) for path in paths])

    def _chooseTable(self, settings) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Images with classes"), settings.lastFolder(), _("Tables (*.csv *.tsv *.npz)")
        )
        if path:
            settings.setLastFolder(os.path.dirname(path))
            self.useDataset(Path(path))

    def onAddFolder(self, checked=False) -> None:
        """Let the person choose a folder of scenes, or a data set."""
        settings = Settings()
        path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Add a folder"), settings.lastFolder())
        if path:
            settings.setLastFolder(path)
            self.addFolder(Path(path))

    def addFolder(self, folder) -> None:
        """Add the scenes of a folder; a folder without scenes is taken as a data set of its own."""
        scenes = scene_files(folder) if self._segments() else []
        if scenes:
            self.addScenes(scenes)
        else:
            self.useDataset(folder)

    def useDataset(self, path) -> None:
        """Train on a data set that is on disk already."""
        self.panel.parameters.dataset = str(path)
        if not self.panel.parameters.projectFolder:
            self.panel.parameters.projectFolder = str(path.parent / f"{path.stem} MedAI")
        self.logic.cases.clear()
        self.panel.showText(_("The data set is used as it is; the plan tells whether it can be read."))
        self.refresh()

    def addScenes(self, paths) -> None:
        """Open scenes one after the other, each in a scene of its own, and list their cases."""
        self.panel.run(Job("scenes", _("Opening scenes"), self.logic.addScenes(paths), self._onScenesAdded))

    def _onScenesAdded(self, found) -> None:
        self._followChannels()
        self._changed()
        text = _("{count} cases were added.").format(count=found.count)
        self.panel.showText("\n".join([text, *found.problems]))

    def onAddCase(self, checked=False) -> None:
        """An empty line, to be filled in by hand."""
        self.logic.addEmptyCase()
        self._changed()
        table = self.ui.casesTable
        table.selectRow(table.rowCount - 1)

    def onRemoveCases(self, checked=False) -> None:
        """Take the selected cases out of the table."""
        self.logic.cases.remove(selectedRows(self.ui.casesTable))
        self._changed()

    def onImage(self, row, channel, nodeId) -> None:
        """The person chose an image of a case."""
        case = self.logic.cases.entries[row].case
        ids = [*case.volume_ids, *[""] * self._channels()][: max(self._channels(), len(case.volume_ids))]
        ids[channel] = nodeId
        self._recase(row, tuple(nodeId for nodeId in ids if nodeId), case.segmentation_id)

    def onSegmentation(self, row, nodeId) -> None:
        """The person chose the segmentation of a case."""
        self._recase(row, self.logic.cases.entries[row].case.volume_ids, nodeId)

    def _recase(self, row, volumeIds, segmentationId) -> None:
        try:
            self.logic.changeCase(row, volumeIds, segmentationId)
        except MedAIError as error:
            self.panel.showError(error)
        self._changed()

    def onCaseItemChanged(self, item) -> None:
        """The person ticked a case, or typed a name or a patient."""
        if self._filling:
            return
        row, column = item.row(), item.column()
        entry = self.logic.cases.entries[row]
        try:
            if column == USED:
                self.logic.cases.use(row, item.checkState() == qt.Qt.Checked)
            elif column == NAME:
                self.logic.cases.change(row, replace(entry.case, name=item.text()))
            elif column == PATIENT:
                patient = item.text().strip() or entry.case.name
                self.logic.cases.change(row, replace(entry.case, patient=patient, patient_name=patient))
        except MedAIError as error:
            self.panel.showError(error)
        self._changed()

    def onCaseSelected(self) -> None:
        """Show the selected case in the slice views."""
        row = self.ui.casesTable.currentRow()
        if not self._filling and 0 <= row < len(self.logic.cases.entries):
            self.logic.showSceneCase(self.logic.cases.entries[row].case)

    def _changed(self) -> None:
        """Cases or labels are others: a data set that was made of them is out of date."""
        if self.panel.parameters is not None and self.logic.cases.entries:
            self.panel.parameters.dataset = ""
        self.refresh()

    # Labels

    def _fillLabels(self) -> None:
        table, rows = self.ui.labelsTable, self.logic.cases.labels.rows
        self._filling = True
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Learn"), _("Structure"), _("Cases"), _("Coded as")])
        table.setRowCount(len(rows))
        used = len(self.logic.cases.used)
        for number, row in enumerate(rows):
            table.setItem(number, LABEL_USED, tick(not row.ignored))
            name = cell(row.name)
            pixmap = qt.QPixmap(12, 12)
            pixmap.fill(qt.QColor(*(round(255 * part) for part in row.color)))
            name.setIcon(qt.QIcon(pixmap))
            table.setItem(number, LABEL_NAME, name)
            table.setItem(number, LABEL_CASES, fixed(f"{row.cases} / {used}", _CASES_TIP()))
            table.setItem(number, LABEL_CODE, fixed(coded_as(row)))
        fit(table, MOST_LABELS)
        self._filling = False

    def onLabelItemChanged(self, item) -> None:
        """The person ticked a structure, or gave it another name."""
        if self._filling:
            return
        row = self.logic.cases.labels.rows[item.row()]
        try:
            if item.column() == LABEL_USED:
                self.logic.cases.ignore_label(row.name, item.checkState() != qt.Qt.Checked)
            elif item.column() == LABEL_NAME and item.text() != row.name:
                self.logic.cases.rename_label(row.name, item.text().strip())
        except MedAIError as error:
            self.panel.showError(error)
        self._changed()

    def onMergeLabels(self, checked=False) -> None:
        """One structure of the selected ones."""
        rows = self.logic.cases.labels.rows
        try:
            self.logic.cases.merge_labels([rows[n].name for n in selectedRows(self.ui.labelsTable)])
        except MedAIError as error:
            self.panel.showError(error)
        self._changed()

    def onLabelColor(self, checked=False) -> None:
        """Let the person choose the colour of the selected structures."""
        rows = self.logic.cases.labels.rows
        names = [rows[n].name for n in selectedRows(self.ui.labelsTable)]
        if not names:
            self.panel.showText(_("Select a structure in the table first."))
            return
        first = next(row.color for row in rows if row.name == names[0])
        color = qt.QColorDialog.getColor(qt.QColor(*(round(255 * part) for part in first)), slicer.util.mainWindow())
        if color.isValid():
            self.setLabelColor(names, (color.redF(), color.greenF(), color.blueF()))

    def setLabelColor(self, names, color) -> None:
        """Give structures another colour."""
        for name in names:
            self.logic.cases.color_label(name, color)
        self._changed()

    # Check and export

    def onCheck(self, checked=False) -> None:
        """Look for what would spoil a training."""
        self.panel.run(Job("check", _("Checking the cases"), self.logic.checkCases(), self._onChecked))

    def _onChecked(self, report) -> None:
        self.refresh()
        if not report.findings:
            self.panel.showText(_("Nothing is wrong with the cases."))
            return
        self.panel.showText(
            _("The check found {errors} errors and {warnings} warnings.").format(
                errors=len(report.errors), warnings=len(report.warnings)
            )
        )

    def _fillFindings(self) -> None:
        listing, report = self.ui.findingsList, self.logic.cases.report
        listing.clear()
        if report is None:
            return
        if not report.findings:
            listing.addItem(_("No findings: the cases are ready."))
        for finding in report.findings:
            where = f"{finding.case}: " if finding.case else ""
            item = qt.QListWidgetItem(f"{SEVERITY_SIGNS[finding.severity]} {where}{finding.message}")
            item.setToolTip(finding.remedy or finding.message)
            item.setData(CASE_ROLE, finding.case)
            listing.addItem(item)
        lines = min(max(listing.count, 1), MOST_FINDINGS)
        listing.setFixedHeight(FINDING_HEIGHT * lines + 8)

    def onFindingClicked(self, item) -> None:
        """Select the case of a finding, and say what can be done."""
        row = self.logic.cases.row_of(item.data(CASE_ROLE) or "")
        if row >= 0:
            self.ui.casesTable.selectRow(row)
        self.panel.showText(item.toolTip())

    def onProjectFolder(self, path) -> None:
        """The person chose where the project lies."""
        parameters = self.panel.parameters
        if parameters is not None and parameters.projectFolder != path:
            parameters.projectFolder = path

    def onChooseProject(self) -> None:
        """Let the person choose the project's folder."""
        settings = Settings()
        path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Project folder"), settings.lastFolder())
        if path:
            settings.setLastFolder(path)
            self.panel.parameters.projectFolder = path

    def onExport(self, checked=False) -> None:
        """Write the data set, or cancel that."""
        if self.panel.job is not None:
            self.panel.cancelJob()
            return
        try:
            steps = self.logic.exportDataset(self.panel.parameters)
        except MedAIError as error:
            self.panel.showError(error)
            return
        self.panel.run(Job("export", _("Writing the data set"), steps, self._onExported))

    def _onExported(self, result) -> None:
        self.panel.parameters.dataset = str(result.folder)
        text = _("The data set is ready: {count} cases in {path}.").format(count=len(result.files), path=result.folder)
        leftOut = [f"{finding.case}: {finding.message} {finding.remedy}".strip() for finding in result.findings]
        self.panel.goTo("plan")
        self.panel.showText("\n".join([text, *leftOut]))


CASE_ROLE = 256  # Qt::UserRole
PATHS_OF_FOLDERS = 0x001 | 0x2000 | 0x4000  # ctkPathLineEdit: Dirs, NoDot, NoDotDot


def _CASES_TIP() -> str:
    return _("In so many of the cases. Where a structure is missing it counts as unknown, not as absent.")


def _clearCellWidget(table, row, column) -> None:
    if table.cellWidget(row, column) is not None:
        table.removeCellWidget(row, column)


def _count(segments) -> str:
    return _("{count} segments").format(count=segments)


def _whereFrom(case) -> str:
    if case.source:
        return _("in {path}").format(path=case.source)
    return _("frame {number} of a sequence").format(number=case.frame + 1)
