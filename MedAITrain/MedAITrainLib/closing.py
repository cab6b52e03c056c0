"""What is asked when Slicer is closed while a training runs: whether it goes on or pauses."""

import logging

import qt
import slicer
from slicer.i18n import tr as _

from medai.errors import MedAIError

_log = logging.getLogger(__name__)


class _CloseFilter(qt.QObject):
    """Tells when the main window is about to close."""

    def __init__(self, parent, onClose) -> None:
        qt.QObject.__init__(self, parent)
        self.onClose = onClose

    def eventFilter(self, watched, event):
        """Let the close go on unless the person changed their mind."""
        if event.type() == qt.QEvent.Close and not self.onClose():
            event.ignore()
            return True
        return False


class CloseGuard:
    """Asks once at closing, and does what was answered when Slicer really quits.

    `activeRuns()` gives the `TrainingRun`s that are going on.
    """

    def __init__(self, activeRuns) -> None:
        self._activeRuns = activeRuns
        self._pauses = []
        self._window = slicer.util.mainWindow()
        self._filter = None
        if self._window is not None:
            self._filter = _CloseFilter(self._window, self.onClose)
            self._window.installEventFilter(self._filter)
        slicer.app.connect("aboutToQuit()", self.onQuit)

    def remove(self) -> None:
        """Ask no more."""
        if self._filter is not None:
            self._window.removeEventFilter(self._filter)
            self._filter.deleteLater()
            self._filter = None
        slicer.app.disconnect("aboutToQuit()", self.onQuit)

    def onClose(self) -> bool:
        """Ask what becomes of the runs; False keeps Slicer open."""
        self._pauses = []
        runs = self._activeRuns()
        if not runs:
            return True
        answer = self.ask([run.name for run in runs])
        if answer == "pause":
            self._pauses = runs
        return answer != "stay"

    def ask(self, names) -> str:
        """``go on``, ``pause`` or ``stay``."""
        box = qt.QMessageBox(self._window)
        box.setIcon(qt.QMessageBox.Question)
        box.setWindowTitle(_("MedAI Train"))
        box.setText(_("The training '{names}' is going on.").format(names=", ".join(names)))
        box.setInformativeText(_("It can go on without Slicer; MedAI Train finds it again."))
        goOn = box.addButton(_("Let it go on"), qt.QMessageBox.AcceptRole)
        pause = box.addButton(_("Pause it"), qt.QMessageBox.DestructiveRole)
        box.addButton(_("Stay in Slicer"), qt.QMessageBox.RejectRole)
        box.setDefaultButton(goOn)
        box.exec_()
        clicked = box.clickedButton()
        if clicked == goOn:
            return "go on"
        return "pause" if clicked == pause else "stay"

    def onQuit(self) -> None:
        """Slicer quits: pause what was to be paused."""
        for run in self._pauses:
            try:
                run.pause()
            except MedAIError as error:  # it has ended meanwhile
                _log.info("The run '%s' is not paused: %s", run.name, error)
        self._pauses = []
