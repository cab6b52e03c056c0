"""Make the pictures of the Click tab and of a click session for Screenshots/ and docs/.

    python Testing/widgets/take_click_pictures.py [FOLDER]

A synthetic abdomen-like volume (no person) is segmented by four clicks, each in the deepest point of the largest error
so far: above what Slicer's own slice view shows before each click, below what it shows after it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("Testing", "MedAICore", "MedAISeg")]

SHAPE = (56, 120, 128)
SPACING_IJK = (1.6, 1.6, 2.2)
TILE = 300


def picture_volume() -> tuple[np.ndarray, np.ndarray]:
    """(voxels int16, the structure that is to be found), both (k, j, i): two organs that touch, a vessel, a rim."""
    from scipy.ndimage import gaussian_filter

    k, j, i = np.indices(SHAPE).astype(float)
    generator = np.random.default_rng(12)

    def ellipsoid(center: Any, radii: Any) -> np.ndarray:
        squares = (((a - c) / r) ** 2 for a, c, r in zip((k, j, i), center, radii, strict=True))
        return sum(squares) < 1 + 0.25 * bumps

    bumps = gaussian_filter(generator.normal(size=SHAPE), 8)
    bumps /= bumps.std()
    body = ((j - 60) / 56) ** 2 + ((i - 64) / 60) ** 2 < 1
    organ = ellipsoid((28, 54, 46), (17, 26, 25))
    neighbour = ellipsoid((30, 64, 92), (15, 20, 19)) & ~organ
    vessel = ((j - 60 - 6 * np.sin(k / 9)) ** 2 + (i - 68 - 3 * np.cos(k / 7)) ** 2) < 20
    voxels = np.full(SHAPE, -900.0)
    voxels[body], voxels[organ], voxels[neighbour] = 10, 110, 75
    voxels[vessel & ~organ] = 170
    voxels = gaussian_filter(voxels, 0.8) + generator.normal(0, 9, SHAPE)
    return voxels.astype(np.int16), organ


def next_click(found: np.ndarray, wanted: np.ndarray) -> tuple[tuple[int, int, int], bool]:
    """The deepest voxel of the larger error, and whether it is missing (positive) or too much."""
    from scipy.ndimage import distance_transform_edt

    depths = [distance_transform_edt(error, sampling=SPACING_IJK[::-1]) for error in (wanted & ~found, found & ~wanted)]
    positive = depths[0].max() >= depths[1].max()
    place = np.unravel_index(np.argmax(depths[0 if positive else 1]), SHAPE)
    return (int(place[0]), int(place[1]), int(place[2])), bool(positive)


def main(folder: Path) -> None:
    """Open the panel, click four times, save panel and views."""
    from host import start
    from host.event_loop import pump, wait_until
    from host.pictures import grab

    host = start()
    widget = host.module_widget(ROOT / "MedAISeg" / "MedAISeg.py")
    widget.setInterpreter(sys.executable)
    import slicer
    from widgets.click_desk import segment_mask, world_of
    from widgets.slice_mouse import SliceMouse

    from medai.image import Image
    from medai.mrml import volume_from_image
    from medai.render.png import tiled, write_png

    voxels, wanted = picture_volume()
    # Columns run to the left and rows to the back, as in a scan of a patient on the back.
    matrix = np.diag([-SPACING_IJK[0], -SPACING_IJK[1], SPACING_IJK[2], 1.0])
    volume = volume_from_image(slicer.mrmlScene, Image(voxels[None], matrix), "Synthetic abdomen")
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(-60, 200)
    mouse = SliceMouse(host, volume, size=TILE)
    panel = widget.click
    panel.gestures._views = mouse.views
    widget.ui.tabWidget.setCurrentWidget(widget.ui.clickTab)
    panel.ui.clickVolumeSelector.setCurrentNode(volume)

    def take(state: str) -> None:
        pump(50)
        for width in (350, 600):
            grab(widget.parent, folder / f"MedAISeg-click-{state}-{width}.png", width)

    def wait() -> None:
        assert wait_until(lambda: not panel._timer.active, 120), panel.ui.clickStatusLabel.text

    take("start")
    panel.ui.clickStartButton.click()
    wait()
    take("ready")
    before, after = [], []
    found = np.zeros(SHAPE, bool)
    for number in range(4):
        place, positive = next_click(found, wanted)
        ras = world_of(volume, place)
        mouse.jump(ras)
        before.append(mouse.picture())
        mouse.click(mouse.pixel(ras), ctrl=not positive)
        wait()
        target = panel.session.target
        target.node.GetDisplayNode().SetOpacity2DFill(0.35)
        found = segment_mask(target.node, target.segmentId, volume)
        after.append(mouse.picture())
        overlap = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
        sign, told = "+" if positive else "-", panel.ui.clickStatusLabel.text
        print(f"click {number + 1} {sign} at {place}: Dice {overlap:.3f}, {told}")
    take("session")
    write_png(folder / "click-session.png", tiled([before, after]))
    panel.stop()
    mouse.close()
    from MedAICoreLib.worker import sharedWorker

    sharedWorker().close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Screenshots")
