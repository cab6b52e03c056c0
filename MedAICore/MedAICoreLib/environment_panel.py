"""The panel of MedAI's environment: one question, progress, what is installed, repair and removal."""

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from MedAICoreLib.environment import Kind, OperationState, megabytes
from MedAICoreLib.environment.state import CHOSEN
from MedAICoreLib.environment_setup import EnvironmentSetup, sharedSetup
from MedAICoreLib.environment_texts import failedHeadline, failureText, headline, installedText, progressLine, question
from MedAICoreLib.settings import Settings

_PACK_FILTER = "MedAI pack (*.zip)"


class EnvironmentPanel:
    """Shows and changes the environment. `widget` goes into a layout or a dialog; `close` before it is thrown away.

        panel = EnvironmentPanel()
        layout.addWidget(panel.widget)

    `setup` replaces the one that all panels share (tests).
    """

    def __init__(self, setup: "EnvironmentSetup | None" = None) -> None:
        self.setup = setup or sharedSetup()
        self.settings = Settings()
        self.removing = False
        self._shownLog = 0
        self._build()
        self.setup.subscribe(self.refresh)
        self.refresh()

    def close(self) -> None:
        """Look no more at what happens."""
        self.setup.unsubscribe(self.refresh)

    # What it is made of

    def _build(self) -> None:
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self.headlineLabel = self._label(layout)
        font = self.headlineLabel.font
        font.setBold(True)
        self.headlineLabel.font = font
        self.failureLabel = self._label(layout)
        self.installedLabel = self._label(layout)
        self.questionLabel = self._label(layout)
        self.gpuCheckBox = qt.QCheckBox(_("Build for the graphics card (larger)"))
        self.gpuCheckBox.connect("toggled(bool)", self.onGpuToggled)
        layout.addWidget(self.gpuCheckBox)
        self.progressLabel = self._label(layout)
        self.progressBar = qt.QProgressBar()
        self.progressBar.setRange(0, 1000)
        layout.addWidget(self.progressBar)
        self.detailLabel = self._label(layout)
        self._buildButtons(layout)
        self.detailsButton = ctk.ctkCollapsibleButton()
        self.detailsButton.text = _("Details")
        self.detailsButton.collapsed = True
        detailsLayout = qt.QVBoxLayout(self.detailsButton)
        self.logText = qt.QPlainTextEdit()
        self.logText.readOnly = True
        self.logText.setMinimumHeight(120)
        detailsLayout.addWidget(self.logText)
        layout.addWidget(self.detailsButton)

    def _label(self, layout):
        label = qt.QLabel()
        label.wordWrap = True
        label.textInteractionFlags = qt.Qt.TextSelectableByMouse
        layout.addWidget(label)
        return label

    def _buildButtons(self, layout) -> None:
        # Two columns: a module's panel may be 350 pixels wide.
        grid = qt.QGridLayout()
        self._grid = grid
        self.installButton = self._button(_("Install"), self.onInstall)
        self.packButton = self._button(_("Install from pack..."), self.onInstallPack)
        self.pythonButton = self._button(_("Choose Python..."), self.onChoosePython)
        self.slicerButton = self._button(_("Use Slicer's Python"), self.onUseSlicerPython)
        self.cancelButton = self._button(_("Cancel"), self.onCancel)
        self.checkButton = self._button(_("Check"), self.onCheck)
        self.repairButton = self._button(_("Repair"), self.onRepair)
        self.makePackButton = self._button(_("Make pack..."), self.onMakePack)
        self.removeButton = self._button(_("Remove..."), self.onRemove)
        self.keepButton = self._button(_("Keep"), self.onKeep)
        self.ownButton = self._button(_("Use MedAI's own"), self.onUseOwn)
        self.buttons = (
            self.installButton, self.packButton, self.pythonButton, self.slicerButton, self.cancelButton,
            self.checkButton, self.repairButton, self.makePackButton, self.removeButton, self.keepButton,
            self.ownButton,
        )  # fmt: skip
        layout.addLayout(grid)
        self.installButton.toolTip = _("Load and install what is listed above.")
        self.packButton.toolTip = _("Install without a network, from a pack made on another computer.")
        self.pythonButton.toolTip = _("Use an installed Python 3.11 to 3.13, with its packages or as a base for ours.")
        self.slicerButton.toolTip = _("Put the packages into a folder of their own that only MedAI's worker sees.")
        self.checkButton.toolTip = _("Load every package and compute something small on each device.")
        self.repairButton.toolTip = _("Compare every file with its package and install again what is damaged.")
        self.makePackButton.toolTip = _("Write all that is needed into one file, for a computer without a network.")
        self.removeButton.toolTip = _("Delete everything that was loaded.")

    def _button(self, text, slot):
        button = qt.QPushButton(text)
        button.connect("clicked(bool)", slot)
        return button

    # What the person does

    def onInstall(self, checked=False) -> None:
        """Yes to the question, or go on with what was interrupted."""
        self._begin(self.setup.environment.build())

    def onUseSlicerPython(self, checked=False) -> None:
        """Where neither another interpreter nor uv may be started."""
        self._begin(self.setup.environment.build("slicer"))

    def onInstallPack(self, checked=False) -> None:
        """Choose a pack and install it."""
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Install from a pack"), self.settings.lastFolder(), _PACK_FILTER
        )
        if path:
            self.installPack(path)

    def installPack(self, path) -> None:
        """Install from the pack at `path`."""
        self.settings.setLastFolder(qt.QFileInfo(path).absolutePath())
        self._begin(self.setup.environment.install_pack(path))

    def onChoosePython(self, checked=False) -> None:
        """Choose an interpreter."""
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Python 3.11 to 3.13"), self.settings.interpreter()
        )
        if path:
            self.choosePython(path)

    def choosePython(self, path) -> None:
        """Use this interpreter as it is where it has everything, else build on it."""
        self._begin(self.setup.environment.probe(path), self._onProbed)

    def _onProbed(self, operation) -> None:
        probed = operation.result
        if probed.complete:
            self.settings.setInterpreter(probed.python)
            self.setup.changed()
        else:
            self._begin(self.setup.environment.build(CHOSEN, probed.python))

    def onUseOwn(self, checked=False) -> None:
        """Back from the person's interpreter to MedAI's environment."""
        self.settings.setInterpreter("")
        self.setup.changed()

    def onGpuToggled(self, checked) -> None:
        """Which build of torch is loaded."""
        if bool(checked) != self.settings.wantsGpu():
            self.settings.setWantsGpu(bool(checked))
            self.setup.changed()

    def onCancel(self, checked=False) -> None:
        """Stop what runs."""
        self.setup.cancel()

    def onCheck(self, checked=False) -> None:
        """Run the self-check."""
        self._begin(self.setup.environment.check())

    def onRepair(self, checked=False) -> None:
        """Put damaged files right."""
        self._begin(self.setup.environment.repair())

    def onMakePack(self, checked=False) -> None:
        """Choose where the pack goes, and write it."""
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Write a pack"), self.settings.lastFolder(), _PACK_FILTER
        )
        if path:
            self.settings.setLastFolder(qt.QFileInfo(path).absolutePath())
            self._begin(self.setup.environment.pack(path if path.endswith(".zip") else path + ".zip"))

    def onRemove(self, checked=False) -> None:
        """Ask once, in the panel; the second click removes."""
        if self.removing:
            self.removing = False
            self._begin(self.setup.environment.remove())
        else:
            self.removing = True
            self.refresh()

    def onKeep(self, checked=False) -> None:
        """No to the question, or the message was read."""
        self.removing = False
        self.setup.dismiss()
        self.refresh()

    def _begin(self, operation, whenDone=None) -> None:
        self.removing = False
        self._shownLog = 0
        self.logText.clear()
        self.setup.run(operation, whenDone)

    # What it shows

    def refresh(self) -> None:
        """Show what there is now."""
        operation = self.setup.operation
        if self.setup.busy:
            self._showProgress(operation)
        else:
            self._showStatus(operation)
        self._showLog(operation)

    def _showProgress(self, operation) -> None:
        self.progressLabel.text = progressLine(operation)
        self.progressBar.value = round(1000 * operation.fraction)
        self.detailLabel.text = _shortened(operation.detail)
        self._show(progress=True, buttons=(self.cancelButton,))

    def _showStatus(self, operation) -> None:
        status = self.setup.status()
        interpreter = self.settings.interpreter()
        failed = operation is not None and operation.state is OperationState.FAILED
        self.headlineLabel.text = failedHeadline(operation) if failed else headline(status, interpreter)
        self.installedLabel.text = installedText(status, interpreter)
        problem = operation.error if failed else status.problem
        asks = status.kind in (Kind.ABSENT, Kind.OUTDATED, Kind.INTERRUPTED) and not interpreter
        if asks:
            plan = self.setup.environment.plan()
            problem = problem or plan.problem
            self.questionLabel.text = question(plan)
        self.failureLabel.text = failureText(problem) if problem is not None else self._doneText(operation)
        if self.removing:
            size = megabytes(status.built.size_bytes) if status.built else ""
            text = _("Delete everything that was loaded ({size})? Installed models stay.")
            self.questionLabel.text = text.format(size=size or _("the rest of an installation"))
        self.gpuCheckBox.checked = self.settings.wantsGpu()
        self._show(
            failure=bool(self.failureLabel.text),
            installed=bool(self.installedLabel.text),
            asks=asks or self.removing,
            gpu=asks and not self.removing and self.setup.environment.machine.nvidia,
            buttons=self._buttonsFor(status, interpreter, failed),
        )

    def _doneText(self, operation) -> str:
        if operation is None or operation.state is not OperationState.DONE:
            return ""
        if operation.name == "check":
            return _("Everything works.")
        if operation.name == "repair":
            damaged = operation.result if isinstance(operation.result, list) else []
            return _("{count} damaged packages were put right.").format(count=len(damaged))
        return _("The pack was written to {path}.").format(path=operation.result) if operation.name == "pack" else ""

    def _buttonsFor(self, status, interpreter, failed):
        self.removeButton.text = _("Remove") if self.removing else _("Remove...")
        if self.removing:
            return (self.removeButton, self.keepButton)
        if interpreter:
            return (self.pythonButton, self.ownButton)
        names = {
            Kind.OUTDATED: lambda: _("Update"),
            Kind.INTERRUPTED: lambda: _("Continue"),
            Kind.BROKEN: lambda: _("Install again"),
        }
        self.installButton.text = names.get(status.kind, lambda: _("Try again") if failed else _("Install"))()
        install = (self.installButton, self.packButton, self.pythonButton)
        manage = (self.checkButton, self.repairButton, self.makePackButton, self.removeButton)
        slicerToo = (self.slicerButton,) if failed else ()
        return {
            Kind.ABSENT: (*install, *slicerToo),
            Kind.READY: manage,
            Kind.OUTDATED: (*install, self.removeButton),
            Kind.INTERRUPTED: (*install, *slicerToo, self.removeButton),
            Kind.BROKEN: (self.installButton, self.repairButton, self.pythonButton, self.removeButton),
            Kind.UNSUPPORTED: (self.pythonButton,),
        }.get(status.kind, ())

    def _show(self, progress=False, failure=False, installed=False, asks=False, gpu=False, buttons=()) -> None:
        for widget in (self.progressLabel, self.progressBar, self.detailLabel):
            widget.visible = progress
        self.headlineLabel.visible = not progress
        self.failureLabel.visible = failure
        self.installedLabel.visible = installed and not progress
        self.questionLabel.visible = asks
        self.gpuCheckBox.visible = gpu
        shown = [button for button in self.buttons if button in buttons]
        if shown != getattr(self, "_shownButtons", None):
            self._shownButtons = shown
            for button in self.buttons:
                button.visible = False
                self._grid.removeWidget(button)
            for place, button in enumerate(shown):
                self._grid.addWidget(button, place // 2, place % 2)
                button.visible = True

    def _showLog(self, operation) -> None:
        lines = list(operation.log) if operation is not None else []
        self.detailsButton.visible = bool(lines)
        if len(lines) != self._shownLog:
            for line in lines[self._shownLog :]:
                self.logText.appendPlainText(line)
            self._shownLog = len(lines)


def _shortened(text: str, limit: int = 70) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
