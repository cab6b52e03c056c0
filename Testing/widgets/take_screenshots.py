"""Make the pictures of Screenshots/: the real panel with the shipped model on the MNI152 head.

    python Testing/widgets/take_screenshots.py [FOLDER] [--all]

The head is an average of 152 people, so that no person is shown. `demo/slices.png` of `make demo` is the picture of the
result; this script makes those of the panel, in the five states at 350 and 600 pixels and in both themes (`--all`), or
just those that the documentation shows.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "MedAICore")]

from host import start  # noqa: E402
from host.event_loop import pump, wait_until  # noqa: E402
from host.pictures import grab  # noqa: E402
from host.themes import use_theme  # noqa: E402

SHOWN = {
    ("done", 600, False): "MedAISeg.png",
    ("empty", 350, False): "MedAISeg-empty.png",
    ("error", 350, False): "MedAISeg-error.png",
    ("running", 350, True): "MedAISeg-dark.png",
}


def main(folder: Path, everything: bool) -> None:
    """Open the panel, segment the left hippocampus, and take a picture of each state."""
    host = start()
    widget = host.module_widget(ROOT / "MedAISeg" / "MedAISeg.py")
    ui = widget.ui

    def take(state: str) -> None:
        for width, dark in ((350, False), (600, False), (350, True), (600, True)):
            if not everything and (state, width, dark) not in SHOWN:
                continue
            use_theme(dark)
            pump(50)
            name = SHOWN.get((state, width, dark), f"MedAISeg-{state}-{width}{'-dark' if dark else ''}.png")
            grab(widget.parent, folder / name, width)
        use_theme(False)

    take("empty")
    widget.setInterpreter(sys.executable)
    import slicer

    from medai.demo.template import load_template
    from medai.mrml import volume_from_image

    volume = volume_from_image(slicer.mrmlScene, load_template(), "MNI152 T1")
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Left hippocampus")
    region.SetCenter(-28, -22, -14)
    region.SetSize(44, 64, 52)
    ui.keepLargestCheckBox.checked = True
    ui.probabilitiesCheckBox.checked = True
    ui.inputVolumeSelector.setCurrentNode(volume)
    ui.roiSelector.setCurrentNode(region)
    take("ready")
    ui.applyButton.click()
    wait_until(lambda: widget.logic.activeRun is not None and bool(ui.progressBar.value > 100), 300)
    take("running")
    wait_until(lambda: not widget.logic.busy, 300)
    take("done")
    widget._parameterNode.roi.SetCenter(900, 0, 0)
    ui.applyButton.click()
    wait_until(lambda: not widget.logic.busy, 300)
    take("error")
    from MedAICoreLib.worker import sharedWorker

    sharedWorker().close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Screenshots", everything="--all" in sys.argv)
