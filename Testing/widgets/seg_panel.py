"""The MedAI Segmentation panel with a real worker process and a small model that was really fitted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from host.event_loop import click, wait_until
from integration.cli.phantoms import make_card, phantom

# Generous: the machines that run these tests may be busy.
LIMIT_S = 180.0


def install_model(folder: Path, weights: dict[str, Any], **changes: Any) -> Path:
    """Write the small model (or a variant of it) into a model folder."""
    from medai.models import install, write_package

    folder.mkdir(parents=True, exist_ok=True)
    package = folder.parent / "package.medai"
    write_package(package, make_card(**changes), [weights])
    install(package, root=folder)
    package.unlink()
    return folder


class SegPanel:
    """A person at the panel: what they see and what they do."""

    def __init__(self, host: Any, widget: Any) -> None:
        self.host, self.widget, self.ui = host, widget, widget.ui

    @property
    def state(self) -> str:
        """What the button and the status line say."""
        return f"{self.ui.applyButton.text}: {self.ui.statusLabel.text}"

    def add_phantom(self, name: str = "phantom", seed: int = 0, image: Any = None) -> Any:
        """A volume node with two balls."""
        import slicer

        from medai.mrml import volume_from_image

        return volume_from_image(slicer.mrmlScene, image or phantom(seed)[0], name)

    def choose(self, volume: Any) -> None:
        """Choose a volume as a person does."""
        self.ui.inputVolumeSelector.setCurrentNode(volume)

    def apply(self) -> None:
        """Click Apply (or Cancel)."""
        assert self.ui.applyButton.enabled, self.ui.nextStepLabel.text
        click(self.ui.applyButton)

    def wait(self, until: Any = None) -> None:
        """Let the event loop run until the run has ended, or `until()` holds."""
        done = until or (lambda: not self.widget.logic.busy)
        assert wait_until(done, LIMIT_S), f"still {self.state}"

    def run(self, volume: Any) -> Any:
        """Segment the volume to the end; the segmentation node, or None."""
        import slicer

        self.choose(volume)
        self.apply()
        self.wait()
        run = self.widget._shownRun
        return slicer.mrmlScene.GetNodeByID(run.result.segmentationId) if run else None

    def worker_pid(self) -> int | None:
        """The worker's process."""
        from MedAICoreLib.worker import sharedWorker

        return sharedWorker().client._transport.pid


def open_panel(host: Any, module_widget: Any, model_folder: Path, interpreter: str = sys.executable) -> SegPanel:
    """The panel with this model folder and interpreter in the settings."""
    from MedAICoreLib.settings import Settings

    settings = Settings()
    settings.setInterpreter(interpreter)
    settings.setModelFolder(str(model_folder))
    return SegPanel(host, module_widget("MedAISeg"))
