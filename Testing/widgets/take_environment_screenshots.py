"""Make the pictures of the environment's panel in each state, light and dark: a real build of the real lock.

    python Testing/widgets/take_environment_screenshots.py [FOLDER] [--torch WHEELS] [--python PYTHON]

WHEELS is a folder with torch's wheel for the processor, where download.pytorch.org is out of reach. Loads 400 MB into a
temporary folder, which it deletes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "MedAICore")]

from host import start  # noqa: E402
from host.event_loop import pump, wait_until  # noqa: E402
from host.pictures import grab  # noqa: E402
from PySide6 import QtGui, QtWidgets  # noqa: E402

LIMIT_S = 900.0
WIDTH = 350


def dark_palette() -> QtGui.QPalette:
    """Colours as in Slicer's dark style."""
    palette = QtGui.QPalette(QtGui.QColor(53, 53, 53))
    role = QtGui.QPalette.ColorRole
    palette.setColor(role.Base, QtGui.QColor(35, 35, 35))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(name, QtGui.QColor(230, 230, 230))
    return palette


class Photographer:
    """Takes the panel in both themes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._light = QtWidgets.QApplication.palette()

    def take(self, widget: Any, state: str) -> None:
        for theme, palette in (("", self._light), ("-dark", dark_palette())):
            QtWidgets.QApplication.setPalette(palette)
            pump(30)
            grab(widget, self._folder / f"environment-{state}{theme}.png", WIDTH)
        QtWidgets.QApplication.setPalette(self._light)


def main() -> None:
    """Install, look, break, look, remove."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "Screenshots")
    parser.add_argument("--torch", default="")
    parser.add_argument("--python", default=sys.executable, help="interpreter that the environment is built on")
    options = parser.parse_args()
    start()
    from MedAICoreLib.environment import Environment, Sources
    from MedAICoreLib.environment.machine import Machine
    from MedAICoreLib.environment_panel import EnvironmentPanel
    from MedAICoreLib.environment_setup import EnvironmentSetup
    from MedAICoreLib.settings import Settings

    photographer = Photographer(options.folder)
    sources = Sources(find_links=(options.torch,), torch_backend="") if options.torch else Sources(torch_backend="cpu")
    with tempfile.TemporaryDirectory(prefix="pictures-") as temporary:
        root = Path(temporary) / "MedAI" / "env"

        def panel_of(**changes: Any) -> Any:
            environment = Environment(**{"root": root, "slicer_python": sys.executable, "sources": sources, **changes})
            return EnvironmentPanel(EnvironmentSetup(environment))

        shown = panel_of(sources=Sources())
        photographer.take(shown.widget, "absent")
        refused = panel_of(sources=Sources(index_url="http://127.0.0.1:9/simple"))
        refused.setup.run(refused.setup.environment.build("chosen", sys.executable))
        wait_until(lambda: not refused.setup.busy, LIMIT_S)
        photographer.take(refused.widget, "failed")
        refused.setup.dismiss()
        photographer.take(refused.widget, "interrupted")
        photographer.take(panel_of(machine=Machine("macos", "x86_64")).widget, "unsupported")
        shown = panel_of()
        shown.setup.run(shown.setup.environment.build("chosen", options.python))
        wait_until(lambda: shown.setup.operation.fraction > 0.3, LIMIT_S)
        photographer.take(shown.widget, "installing")
        wait_until(lambda: not shown.setup.busy, LIMIT_S)
        photographer.take(shown.widget, "ready")
        shown.onRemove()
        photographer.take(shown.widget, "removing")
        shown.onKeep()
        Settings().setInterpreter(options.python)
        shown.refresh()
        photographer.take(shown.widget, "own-python")
        shown.setup.run(shown.setup.environment.remove())
        wait_until(lambda: not shown.setup.busy, LIMIT_S)


if __name__ == "__main__":
    main()
