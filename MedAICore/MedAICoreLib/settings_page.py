"""The page "MedAI" in the application's settings: models, device, memory, the environment."""

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from MedAICoreLib.environment_panel import EnvironmentPanel
from MedAICoreLib.settings import (
    DEVICE_KEY,
    ENVIRONMENT_FOLDER_KEY,
    MODEL_BUDGET_KEY,
    MODEL_FOLDER_KEY,
    PACKAGE_INDEX_KEY,
    PYTHON_MIRROR_KEY,
)

_LARGEST_BUDGET_MB = 1 << 20


class SettingsPage:
    """Builds `widget`, a ctkSettingsPanel: the dialog reads, writes and restores what is registered with it."""

    def __init__(self) -> None:
        self.widget = ctk.ctkSettingsPanel()
        layout = qt.QVBoxLayout(self.widget)
        layout.addWidget(self._general())
        layout.addWidget(self._sources())
        self.environment = EnvironmentPanel()
        box = ctk.ctkCollapsibleGroupBox()
        box.title = _("Environment")
        qt.QVBoxLayout(box).addWidget(self.environment.widget)
        layout.addWidget(box)
        layout.addStretch(1)

    def _general(self):
        box = ctk.ctkCollapsibleGroupBox()
        box.title = _("Models and computing")
        form = qt.QFormLayout(box)
        self.modelFolder = self._text(MODEL_FOLDER_KEY, _("the usual place"))
        self.modelFolder.toolTip = _("Folder in which models are installed.")
        form.addRow(_("Folder of models:"), self.modelFolder)
        self.device = ctk.ctkComboBox()
        for text, value in ((_("Automatic"), "auto"), (_("Processor"), "cpu"), (_("Graphics card"), "cuda")):
            self.device.addItem(text, value)
        self.device.toolTip = _('What computes where a panel says "Automatic".')
        self._register(DEVICE_KEY, self.device, "currentUserDataAsString", "currentIndexChanged(int)")
        form.addRow(_("Device:"), self.device)
        self.budget = qt.QSpinBox()
        self.budget.setRange(0, _LARGEST_BUDGET_MB)
        self.budget.singleStep = 256
        self.budget.suffix = " MB"
        self.budget.specialValueText = _("Automatic")
        self.budget.toolTip = _("Memory for models that stay loaded between runs.")
        self._register(MODEL_BUDGET_KEY, self.budget, "value", "valueChanged(int)")
        form.addRow(_("Memory for models:"), self.budget)
        return box

    def _sources(self):
        box = ctk.ctkCollapsibleGroupBox()
        box.title = _("Where software is loaded from")
        box.collapsed = True
        form = qt.QFormLayout(box)
        self.folder = self._text(ENVIRONMENT_FOLDER_KEY, _("the usual place"))
        form.addRow(_("Folder of the environment:"), self.folder)
        self.index = self._text(PACKAGE_INDEX_KEY, "https://pypi.org/simple")
        self.index.toolTip = _("A mirror of PyPI of your institution.")
        form.addRow(_("Package index:"), self.index)
        self.mirror = self._text(PYTHON_MIRROR_KEY, "https://github.com/astral-sh/python-build-standalone")
        self.mirror.toolTip = _("A mirror of the download site of Python interpreters.")
        form.addRow(_("Interpreter site:"), self.mirror)
        return box

    def _text(self, key, placeholder):
        line = qt.QLineEdit()
        line.placeholderText = placeholder
        self._register(key, line, "text", "textChanged(QString)")
        return line

    def _register(self, key, widget, name, signal) -> None:
        self.widget.registerProperty(key, widget, name, str(qt.SIGNAL(signal)))


_page: "SettingsPage | None" = None


def registerSettingsPage() -> None:
    """Add the page to the application's settings, once; without a main window there is no settings dialog."""
    global _page
    if _page is None and not slicer.app.commandOptions().noMainWindow:
        _page = SettingsPage()
        slicer.app.settingsDialog().addPanel("MedAI", _page.widget)
