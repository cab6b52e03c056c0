"""What a module says while no worker can be started, and the window in which that is put right."""

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from MedAICoreLib.environment_panel import EnvironmentPanel
from MedAICoreLib.environment_setup import environmentProblem, sharedSetup
from MedAICoreLib.environment_texts import progressLine


def environmentStep() -> "tuple[str, str, Callable[[], None]] | None":
    """(text, text of a button, what it does) for a module's banner; None where the worker can be started.

    step = environmentStep()  # in the module's "what is missing before a run"
    sharedSetup().subscribe(self.updateState)  # in setup(); and unsubscribe in cleanup()
    """
    setup = sharedSetup()
    problem = environmentProblem()
    if not problem:
        return None
    if setup.busy:
        percent = round(100 * setup.operation.fraction)
        text = f"{progressLine(setup.operation)} ({percent} %)"
        return text, _("Show..."), openEnvironment
    text = _("MedAI's networks run in a Python of their own, outside of Slicer ({problem}).")
    return text.format(problem=problem), _("Set up MedAI..."), openEnvironment


class EnvironmentWindow:
    """The panel in a window of its own; closing it lets the installation go on."""

    def __init__(self) -> None:
        self.panel = EnvironmentPanel()
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("MedAI"))
        layout = qt.QVBoxLayout(self.dialog)
        layout.addWidget(self.panel.widget)
        layout.addStretch(1)
        self.dialog.resize(520, 420)

    def show(self) -> None:
        """Bring it to the front."""
        self.panel.refresh()
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()


_window: "EnvironmentWindow | None" = None


def openEnvironment() -> None:
    """Show the window; it does not hold up the rest of Slicer."""
    global _window
    if _window is None:
        _window = EnvironmentWindow()
    _window.show()


def closeEnvironmentWindow() -> None:
    """Throw the window away (before a reload)."""
    global _window
    if _window is not None:
        _window.panel.close()
        _window.dialog.close()
        _window.dialog.deleteLater()
        _window = None
