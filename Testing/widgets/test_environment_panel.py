"""The panel of the environment, the banner's step and the settings page, with a tiny environment and the real uv."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from host.event_loop import GilHeldLoop, StallMonitor, click, pump, wait_until
from unit.environment.tiny import Tiny, make_tiny

from MedAICoreLib.environment import Kind
from MedAICoreLib.environment.environment import Environment
from MedAICoreLib.environment.machine import Machine

# Generous: the machines that run these tests may be busy.
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    """Wheels that were made here, and uv."""
    if not sys.platform.startswith("linux"):
        pytest.skip("uv is packed into a wheel for Linux")
    return make_tiny(tmp_path_factory.mktemp("tiny"))


class Desk:
    """A person at the panel."""

    def __init__(self, environment: Environment) -> None:
        from MedAICoreLib.environment_panel import EnvironmentPanel
        from MedAICoreLib.environment_setup import EnvironmentSetup

        self.replaced = 0
        self.setup = EnvironmentSetup(environment, self._onReplaced)
        self.panel = EnvironmentPanel(self.setup)
        self.panel.widget.resize(350, 500)
        self.panel.widget.show()
        pump(20)

    def _onReplaced(self) -> None:
        self.replaced += 1

    def buttons(self) -> list[str]:
        """What can be clicked."""
        return [button.text for button in self.panel.buttons if button.isVisible()]

    def click(self, button: Any) -> None:
        """Click a button that is shown."""
        assert button.isVisible(), f"'{button.text}' is not shown"
        click(button)

    def wait(self) -> None:
        """Let the loop run until the work is done."""
        assert wait_until(lambda: not self.setup.busy, LIMIT_S), self.panel.progressLabel.text
        pump(20)


@pytest.fixture
def desk(host, tiny, tmp_path):
    made = []

    def make(**changes: Any) -> Desk:
        made.append(Desk(tiny.environment(tmp_path / "MedAI" / "env", **changes)))
        return made[-1]

    yield make
    for each in made:
        each.panel.close()
        each.setup.close()
        each.panel.widget.close()


@pytest.fixture
def files(monkeypatch):
    """What the file dialogs answer."""
    import qt

    answers: list[str] = []
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: answers.pop(0))
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: answers.pop(0))
    return answers


def test_one_question_then_ready_then_gone(desk, files, tmp_path):
    at = desk()
    panel = at.panel
    assert "needs to load" in panel.headlineLabel.text
    for word in ("Load about 20 MB", "uv", "Python 3.12", "packages", "80 MB", "can be removed", "env</i>"):
        assert word in panel.questionLabel.text
    assert at.buttons() == ["Install", "Install from pack...", "Choose Python..."]
    files.append(sys.executable)
    at.click(panel.pythonButton)
    assert at.buttons() == ["Cancel"]
    at.wait()  # tried, then built on
    at.wait()
    assert panel.headlineLabel.text == "MedAI is ready."
    assert "3." in panel.installedLabel.text
    assert at.buttons() == ["Check", "Repair", "Make pack...", "Remove..."]
    assert at.replaced == 1
    at.click(panel.checkButton)
    at.wait()
    assert panel.failureLabel.text == "Everything works."

    (at.setup.environment.folder / "e1" / "bin" / "python").rename(tmp_path / "python")
    panel.refresh()
    assert "damaged" in panel.headlineLabel.text
    (tmp_path / "python").rename(at.setup.environment.folder / "e1" / "bin" / "python")
    next(at.setup.environment.folder.glob("e1/lib/*/site-packages/beta/part9.py")).unlink()
    panel.refresh()
    at.click(panel.repairButton)
    at.wait()
    assert panel.failureLabel.text == "1 damaged packages were put right."

    at.click(panel.removeButton)
    assert at.buttons() == ["Remove", "Keep"]
    at.click(panel.keepButton)
    assert at.setup.status().kind is Kind.READY
    at.click(panel.removeButton)
    at.click(panel.removeButton)
    at.wait()
    assert at.setup.status().kind is Kind.ABSENT
    assert not at.setup.environment.folder.exists()


def test_cancelled_installation_can_be_continued(desk, files):
    at = desk()
    files.append(sys.executable)
    at.click(at.panel.pythonButton)
    assert wait_until(lambda: at.setup.operation.name == "build", LIMIT_S)
    pump(50)
    at.click(at.panel.cancelButton)
    at.wait()
    assert "interrupted" in at.panel.headlineLabel.text
    assert at.buttons() == ["Continue", "Install from pack...", "Choose Python...", "Remove..."]


def test_failure_says_what_to_do_and_keeps_the_details(desk, tiny):
    at = desk(lock=tiny.changed(imports=("alpha", "delta")).lock)
    at.click(at.panel.installButton)  # no site of interpreters here
    at.wait()
    assert "<b>" in at.panel.failureLabel.text
    assert at.panel.detailsButton.isVisible()
    assert at.panel.logText.toPlainText()
    assert "Use Slicer's Python" in at.buttons()
    at.click(at.panel.slicerButton)
    at.wait()
    assert "delta cannot be imported" in at.panel.failureLabel.text


def test_unsupported_machine_is_told_before_any_question(host, tmp_path):
    at = Desk(Environment(tmp_path / "env", sys.executable, machine=Machine("macos", "x86_64")))
    assert "not available" in at.panel.headlineLabel.text
    assert "Intel" in at.panel.failureLabel.text
    assert not at.panel.questionLabel.isVisible()
    assert at.buttons() == ["Choose Python..."]
    at.panel.close()


def test_own_interpreter_and_back(desk, files):
    from MedAICoreLib.settings import Settings

    at = desk()
    Settings().setInterpreter(sys.executable)
    at.setup.changed()
    assert "Python of your own" in at.panel.headlineLabel.text
    assert at.buttons() == ["Choose Python...", "Use MedAI's own"]
    at.click(at.panel.ownButton)
    assert Settings().interpreter() == ""
    assert "Install" in at.buttons()


def test_window_stays_alive_while_the_loop_holds_the_gil(desk):
    at = desk()
    at.panel.choosePython(sys.executable)
    with StallMonitor() as monitor:
        assert GilHeldLoop().wait_until(lambda: not at.setup.busy and at.setup.operation.name == "build", LIMIT_S)
    assert at.setup.status().kind is Kind.READY
    assert len(monitor.gaps_ms) > 50


def test_panel_sees_when_another_slicer_is_done(desk, tiny, tmp_path, monkeypatch):
    from MedAICoreLib import environment_setup

    monkeypatch.setattr(environment_setup, "_LOOK_AGAIN_MS", 20)
    other = tiny.environment(tmp_path / "MedAI" / "env").build("chosen", sys.executable)
    other.advance()
    at = desk()
    assert "Another Slicer is installing" in at.panel.headlineLabel.text
    assert at.buttons() == []
    other.finish()
    assert wait_until(lambda: at.panel.headlineLabel.text == "MedAI is ready.", LIMIT_S)


def test_step_of_the_banner(host, tiny, tmp_path, monkeypatch):
    from MedAICoreLib import environment_banner, environment_setup
    from MedAICoreLib.settings import Settings

    setup = environment_setup.EnvironmentSetup(tiny.environment(tmp_path / "MedAI" / "env"))
    monkeypatch.setattr(environment_setup, "_shared", setup)
    text, button, action = environment_banner.environmentStep()
    assert "it is not installed" in text
    assert button == "Set up MedAI..."
    action()
    assert environment_banner._window.dialog.isVisible()
    setup.run(setup.environment.build("chosen", sys.executable))
    pump(20)
    assert environment_banner.environmentStep()[1] == "Show..."
    assert wait_until(lambda: not setup.busy, LIMIT_S)
    assert environment_banner.environmentStep() is None
    python, packages = environment_setup.workerInterpreter()
    assert Path(python) == tmp_path / "MedAI" / "env" / "e1" / "bin" / "python"
    assert packages is None
    Settings().setInterpreter("/nowhere/python")
    assert "does not exist" in environment_banner.environmentStep()[0]
    environment_banner.closeEnvironmentWindow()
    setup.close()


def test_settings_page_keeps_what_is_entered(host, monkeypatch):
    import slicer

    from MedAICoreLib import settings_page
    from MedAICoreLib.settings import Settings

    settings_page.registerSettingsPage()
    assert settings_page._page is None  # without a main window
    options = type(slicer.app.commandOptions())
    monkeypatch.setattr(options, "noMainWindow", False)
    settings_page.registerSettingsPage()
    page = settings_page._page
    monkeypatch.setattr(settings_page, "_page", None)
    assert Settings().device() == "auto"
    assert Settings().modelBudgetMb() is None
    page.device.setCurrentIndex(1)
    page.budget.value = 3072
    page.modelFolder.text = "/models"
    page.index.text = "https://mirror.example/simple"
    assert Settings().device() == "cpu"
    assert Settings().modelBudgetMb() == 3072
    assert Settings().modelFolder() == "/models"
    assert Settings().packageIndex() == "https://mirror.example/simple"
    page.environment.close()
