"""The MedAI Train panel with a stand-in for the process that trains: what a person sees and does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from host.binding import convert
from host.event_loop import click as click_now
from host.event_loop import pump, wait_until
from host.pictures import grab

# Generous: the machines that run these tests may be busy.
LIMIT_S = 120.0
SHAPE_KJI = (12, 24, 20)


def click(widget: Any) -> None:
    """Click a widget once it has its place: a step that was just opened is laid out by the event loop."""
    pump(10)
    click_now(widget)


class TrainPanel:
    """A person at the panel."""

    def __init__(self, host: Any, widget: Any, project: Path) -> None:
        self.host, self.widget, self.ui, self.project = host, widget, widget.ui, project

    @property
    def parameters(self) -> Any:
        """The parameter node."""
        return self.widget.parameters

    @property
    def next_step(self) -> str:
        """What the line at the top says."""
        return str(self.ui.nextStepLabel.text)

    def add_cases(self, count: int = 3, names: tuple[str, ...] = ("liver", "vessel")) -> list[Any]:
        """Volumes of one scene with a segmentation each: boxes on an oblique, anisotropic grid."""
        import slicer

        from medai.image import Image
        from medai.labels import Label, LabelScheme, distinct_color
        from medai.mrml import volume_from_image, write_segmentation
        from MedAICoreLib.selftest_case import obliqueMatrix

        volumes = []
        for number in range(count):
            labels = np.zeros(SHAPE_KJI, np.uint8)
            for value in range(1, len(names) + 1):
                at = 2 + 8 * (value - 1)
                labels[2:9, 4 + number % 4 : 16 + number % 4, at : at + 6] = value
            voxels = np.random.default_rng(number).normal(50, 5, SHAPE_KJI) + 60.0 * labels
            image = Image(voxels[None].astype(np.float32), obliqueMatrix())
            volume = volume_from_image(slicer.mrmlScene, image, f"patient {number + 1}")
            scheme = LabelScheme(tuple(Label(n, name, distinct_color(n)) for n, name in enumerate(names, 1)))
            write_segmentation(slicer.mrmlScene, labels, scheme, volume, run_id="r", name=f"drawn {number + 1}")
            volumes.append(volume)
        return volumes

    def add_phantoms(self, count: int, shape: tuple[int, int, int] = (18, 40, 36)) -> None:
        """Volumes that a small network can learn: an organ, brighter than what surrounds it, with a lesion in it."""
        import slicer

        from medai.image import Image
        from medai.labels import Label, LabelScheme
        from medai.mrml import volume_from_image, write_segmentation
        from MedAICoreLib.selftest_case import obliqueMatrix

        scheme = LabelScheme((Label(1, "organ", (0.87, 0.55, 0.35)), Label(2, "lesion", (0.35, 0.65, 0.85))))
        place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
        for number in range(count):
            random = np.random.default_rng(number)
            center = random.uniform(-0.15, 0.15, 3)[:, None, None, None]
            organ = (((place - center) / np.array([0.7, 0.6, 0.65])[:, None, None, None]) ** 2).sum(axis=0) < 1
            offset = center + random.uniform(-0.2, 0.2, 3)[:, None, None, None]
            lesion = ((place - offset) ** 2).sum(axis=0) < 0.28**2
            labels = np.where(lesion & organ, 2, organ.astype(np.uint8)).astype(np.uint8)
            voxels = 40 + 50 * organ + 60 * (labels == 2) + random.normal(0, 8, shape)
            image = Image(voxels[None].astype(np.float32), obliqueMatrix())
            volume = volume_from_image(slicer.mrmlScene, image, f"phantom {number + 1:02d}")
            write_segmentation(slicer.mrmlScene, labels, scheme, volume, run_id="r", name=f"drawn {number + 1:02d}")

    def press_next(self) -> None:
        """Click what the panel suggests."""
        assert not self.ui.nextStepButton.isHidden(), self.next_step
        assert self.ui.nextStepButton.enabled, self.next_step
        click(self.ui.nextStepButton)

    def wait(self, until: Any = None) -> None:
        """Let the event loop run until the job has ended, or `until()` holds."""
        done = until or (lambda: self.widget.job is None)
        assert wait_until(done, LIMIT_S), f"{self.next_step} / {self.ui.statusLabel.text}"

    def make_dataset(self) -> None:
        """From the scene to a data set, by the suggestions alone."""
        self.press_next()  # from this scene
        self.press_next()  # check
        self.wait()
        self.press_next()  # write
        self.wait()
        assert self.parameters.dataset, self.ui.statusLabel.text

    def run_state(self) -> str:
        """Where the shown run is."""
        view = self.widget.steps["train"].view
        return view.state if view is not None else ""

    def picture(self, folder: str | Path, name: str, width: int = 350) -> Path:
        """Save how the panel looks."""
        pump(40)
        return grab(self.widget.parent, Path(folder) / f"MedAITrain-{name}-{width}.png", width)


def open_train_panel(host: Any, module_widget: Any, folder: Path, standin: bool = True) -> TrainPanel:
    """The panel with a project in `folder` and a model library of its own."""
    from MedAICoreLib.settings import Settings

    settings = Settings()
    settings.setInterpreter(sys.executable)
    settings.setModelFolder(str(folder / "library"))
    widget = module_widget("MedAITrain")
    if standin:
        from MedAITrainLib import standin_training

        widget.logic.makeCommand = lambda: standin_training.command(sys.executable)
        widget.logic.requestDevices = lambda onDevices: onDevices([{"id": "cpu", "kind": "cpu", "name": "Processor"}])
    window = convert.unwrap(widget.parent)
    window.resize(420, 1000)
    window.show()
    panel = TrainPanel(host, widget, folder / "project")
    widget.parameters.projectFolder = str(panel.project)
    widget.parameters.modelName = "Liver"
    return panel
