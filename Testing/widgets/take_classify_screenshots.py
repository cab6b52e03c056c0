"""Make the pictures of docs/classify-in-slicer.md: the real panel and slices, with a small model fitted on phantoms.

    python Testing/widgets/take_classify_screenshots.py [FOLDER] [--all]

A phantom shows what the panel does without showing a person. `--all` makes the panel's states at 350 and 600 pixels, in
the light and the dark theme, instead of just those that the documentation shows.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "MedAICore")]

from classification_phantoms import ball_image, write_ball_model  # noqa: E402
from host import start  # noqa: E402
from host.event_loop import pump, wait_until  # noqa: E402
from host.pictures import grab  # noqa: E402
from host.themes import use_theme  # noqa: E402

SHOWN = {("result", 350, False): "classify-panel.png", ("anomaly", 350, False): "classify-anomaly.png"}
LIMIT_S = 300.0


def main(folder: Path, everything: bool) -> None:
    """Open the panel, classify a phantom and noise, take a picture of each state, and draw the heat map."""
    with tempfile.TemporaryDirectory() as models:
        host = start()
        _install(Path(models))
        widget = host.module_widget(ROOT / "MedAIClassify" / "MedAIClassify.py")
        _take_panel(widget, folder, everything)
        from MedAICoreLib.worker import sharedWorker

        sharedWorker().close()
        _draw_slices(Path(models), folder)


def _install(models: Path) -> None:
    from medai.models import install
    from MedAICoreLib.settings import Settings

    package = write_ball_model(models / "balls.medai")
    install(package, root=models)
    package.unlink()
    Settings().setModelFolder(str(models))
    Settings().setInterpreter(sys.executable)


def _take_panel(widget: object, folder: Path, everything: bool) -> None:
    import slicer

    from medai.mrml import volume_from_image

    ui = widget.ui

    def take(state: str) -> None:
        for width, dark in ((350, False), (600, False), (350, True), (600, True)):
            if not everything and (state, width, dark) not in SHOWN:
                continue
            use_theme(dark)
            pump(50)
            name = SHOWN.get((state, width, dark), f"MedAIClassify-{state}-{width}{'-dark' if dark else ''}.png")
            grab(widget.parent, folder / name, width)
        use_theme(False)

    def classify(image: object, name: str) -> None:
        ui.inputVolumeSelector.setCurrentNode(volume_from_image(slicer.mrmlScene, image, name))
        ui.applyButton.click()

    widget.onModelChosen("balls")
    take("empty")
    image, _mask = ball_image(101)
    classify(image, "T1 phantom")
    wait_until(lambda: widget.logic.activeRun is not None and bool(ui.progressBar.value > 0), LIMIT_S)
    take("running")
    wait_until(lambda: not widget.logic.busy, LIMIT_S)
    ui.applyButton.click()  # once more: the first run includes the start of the worker
    wait_until(lambda: not widget.logic.busy, LIMIT_S)
    take("result")
    classify(image.with_array(np.random.default_rng(0).uniform(0, 200, image.array.shape).astype(np.float32)), "noise")
    wait_until(lambda: not widget.logic.busy, LIMIT_S)
    take("anomaly")


def _draw_slices(models: Path, folder: Path) -> None:
    from medai import classify
    from medai.config.classify import ClassifyConfig
    from medai.models import open_model
    from medai.render import heat_map_picture

    image, _mask = ball_image(101, shape=(30, 46, 42))
    model = classify.load_model(open_model("balls", root=models), "cpu")
    found = classify.run(ClassifyConfig("cpu", explain="occlusion"), [image], model)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    heat_map_picture(image, found.heat_map, folder / "classify-heat-map.png", parent=turned, tile=260)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--all"]
    main(Path(arguments[0]) if arguments else ROOT / "docs" / "pictures", everything="--all" in sys.argv)
