"""Make the pictures of docs/train-in-slicer.md: the real panel with a real, short training on phantoms.

    python Testing/widgets/take_train_screenshots.py [FOLDER] [--all]

A phantom shows what the panel does without showing a person. The training takes a few minutes on a laptop. `--all`
makes every step at 350 and 600 pixels, in the light and the dark theme, instead of just those that the documentation
shows.
"""

from __future__ import annotations

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
from host.themes import use_theme  # noqa: E402
from widgets.train_panel import open_train_panel  # noqa: E402

SHOWN = {
    ("data", 600, False): "train-data.png",
    ("plan", 350, False): "train-plan.png",
    ("running", 350, False): "train-curves.png",
    ("evaluate", 350, False): "train-evaluate.png",
}
LIMIT_S = 900.0
CASES, STEPS = 8, 80


def main(folder: Path, everything: bool) -> None:
    """Open the panel, go through its steps with phantoms, and take a picture of each state."""
    with tempfile.TemporaryDirectory() as place:
        host = start()

        def open_module(name: str) -> Any:
            return host.module_widget(ROOT / name / f"{name}.py")

        panel = open_train_panel(host, open_module, Path(place), standin=False)
        _take(panel, folder, everything)
        panel.widget.cleanup()
        from MedAICoreLib.worker import sharedWorker

        sharedWorker().close()


def _take(panel: Any, folder: Path, everything: bool) -> None:
    ui = panel.ui

    def take(state: str) -> None:
        for width, dark in ((350, False), (600, False), (350, True), (600, True)):
            if not everything and (state, width, dark) not in SHOWN:
                continue
            use_theme(dark)
            pump(50)
            name = SHOWN.get((state, width, dark), f"MedAITrain-{state}-{width}{'-dark' if dark else ''}.png")
            grab(panel.widget.parent, folder / name, width)
        use_theme(False)

    take("empty")
    panel.add_phantoms(CASES)
    parameters = panel.parameters
    parameters.modelName = "Phantom organ"
    parameters.patch, parameters.width, parameters.depth = "16 32 32", 8, 3
    parameters.batchSize, parameters.steps, parameters.device = 2, STEPS, "cpu"
    panel.press_next()
    panel.press_next()
    panel.wait()
    take("data")
    panel.press_next()
    panel.wait()
    wait_until(lambda: panel.widget.steps["plan"].process is None, LIMIT_S)
    take("plan")
    panel.widget.goTo("train")
    ui.startButton.click()
    train = panel.widget.steps["train"]
    wait_until(lambda: train.view is not None and (train.view.fraction > 0.7 or not train.view.active), LIMIT_S)
    ui.chartComboBox.currentIndex = 1
    ui.chartComboBox.activated.emit(1)
    take("running-dice")
    ui.chartComboBox.currentIndex = 0
    ui.chartComboBox.activated.emit(0)
    pump(500)
    take("running")
    wait_until(lambda: not train.view.active, LIMIT_S)
    pump(500)
    take("finished")
    panel.widget.goTo("evaluate")
    evaluate = panel.widget.steps["evaluate"]
    if evaluate.report is None:
        ui.evaluateButton.click()
        wait_until(lambda: evaluate.process is None, LIMIT_S)
    take("evaluate")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--all"]
    main(Path(arguments[0]) if arguments else ROOT / "docs" / "pictures", everything="--all" in sys.argv)
