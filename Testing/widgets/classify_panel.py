"""The MedAI Classification panel with a real worker process and a small model that was really fitted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from classification_phantoms import ball_image
from widgets.seg_panel import SegPanel

from medai.mrml import volume_from_image


class ClassifyPanel(SegPanel):
    """A person at the panel: what they see and what they do."""

    def add_ball(self, seed: int = 100, name: str = "", image: Any = None, **kinds: Any) -> Any:
        """A volume node with a ball, bright where the seed is even."""
        import slicer

        return volume_from_image(slicer.mrmlScene, image or ball_image(seed, **kinds)[0], name or f"ball {seed}")

    def choose_scope(self, value: str) -> None:
        """Choose in the first box as a person does."""
        from MedAIClassifyLib.parameters import Scope

        self.ui.scopeComboBox.currentIndex = list(Scope).index(Scope(value))
        assert self.widget._parameterNode.scope is Scope(value)

    def run(self, volume: Any = None) -> Any:
        """Classify to the end; the result, or None."""
        if volume is not None:
            self.choose(volume)
        self.apply()
        self.wait()
        run = self.widget._shownRun
        return run.result if run else None


def open_classify_panel(
    host: Any, module_widget: Any, folder: Path, interpreter: str = sys.executable
) -> ClassifyPanel:
    """The panel with this model folder and interpreter in the settings."""
    from MedAICoreLib.settings import Settings

    settings = Settings()
    settings.setInterpreter(interpreter)
    settings.setModelFolder(str(folder))
    return ClassifyPanel(host, module_widget("MedAIClassify"))
