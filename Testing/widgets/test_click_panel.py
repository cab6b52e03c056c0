"""The Click tab with a real mouse in Slicer's own slice views, and the worker's own click operations."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from host.event_loop import click, pump, wait_until
from widgets.click_desk import BALLS, ClickWorker, add_phantom, add_transform, dice, segment_mask, world_of
from widgets.slice_mouse import SliceMouse

pytest.importorskip("trame_slicer", reason="slice views need trame-slicer")
LEFT, RIGHT = BALLS["left"][0], BALLS["right"][0]
pytestmark = pytest.mark.render


class Panel:
    """A person at the tab."""

    def __init__(self, host, widget) -> None:
        from MedAICoreLib.worker import WorkerHandle

        self.host, self.widget, self.panel = host, widget, widget.click
        self.ui = self.panel.ui
        self.worker = ClickWorker()
        self.handle = WorkerHandle(self.worker.transport)
        self.panel._worker = self.handle
        self.mice: list[SliceMouse] = []
        widget.ui.tabWidget.setCurrentWidget(widget.ui.clickTab)

    def open(self, volume, orientation: str = "Axial") -> SliceMouse:
        mouse = SliceMouse(self.host, volume, orientation)
        self.mice.append(mouse)
        self.panel.gestures._views = mouse.views
        self.ui.clickVolumeSelector.setCurrentNode(volume)
        click(self.ui.clickStartButton)
        self.wait()
        mouse.jump(world_of(volume, LEFT))
        return mouse

    def wait(self) -> None:
        assert wait_until(lambda: not self.panel._timer.active, 60), self.ui.clickStatusLabel.text

    @property
    def session(self):
        return self.panel.session

    def mask(self, volume) -> np.ndarray:
        target = self.session.target
        return segment_mask(target.node, target.segmentId, volume)

    def marks(self) -> list:
        import slicer

        nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsNode")
        return [node for node in nodes if node.GetAttribute("MedAI.mark")]

    def close(self) -> None:
        self.panel.stop()
        self.handle.close()
        for mouse in self.mice:
            mouse.close()


@pytest.fixture(autouse=True)
def _without_models(monkeypatch, tmp_path):
    """Grow-cut segments: what is tested here is the way of prompts and masks, not what a model makes of them."""
    monkeypatch.setattr("medai.models.library.shipped_folder", lambda: tmp_path / "shipped")


@pytest.fixture
def panel(host, module_widget):
    from MedAICoreLib.settings import Settings

    Settings().setInterpreter(sys.executable)
    panel = Panel(host, module_widget("MedAISeg"))
    yield panel
    panel.close()


def test_right_button_still_zooms_and_shift_is_free(panel) -> None:
    """Every event of the right button reaches who comes after us, and the view zooms as it does without us."""
    volume = add_phantom()
    mouse = panel.open(volume)
    upward = [(150, y) for y in (150, 152, 156, 170, 200, 230)]

    def zoom() -> float:
        width = mouse.node.GetFieldOfView()[0]
        mouse.drag(upward, button="Right")
        return mouse.node.GetFieldOfView()[0] / width

    panel.panel.gestures.detach()
    without = zoom()
    panel.panel.gestures.attach()
    seen: list[str] = []
    tags = [
        mouse.interactor.AddObserver(event, lambda _caller, name: seen.append(name), 9.0)
        for event in ("RightButtonPressEvent", "MouseMoveEvent", "RightButtonReleaseEvent", "LeftButtonPressEvent")
    ]
    assert zoom() == pytest.approx(without)
    assert without > 1.1
    assert seen == ["MouseMoveEvent", "RightButtonPressEvent", *["MouseMoveEvent"] * 5, "RightButtonReleaseEvent"]
    seen.clear()
    place = mouse.pixel(world_of(volume, LEFT))
    mouse.click(place, shift=True)
    panel.wait()
    assert panel.session.done == []
    assert "LeftButtonPressEvent" in seen
    seen.clear()
    mouse.click(place)
    assert "LeftButtonPressEvent" not in seen
    for tag in tags:
        mouse.interactor.RemoveObserver(tag)


def test_click_in_a_view_segments_and_shows(panel) -> None:
    volume = add_phantom()
    mouse = panel.open(volume)
    before = mouse.picture()
    mouse.click(mouse.pixel(world_of(volume, LEFT)))
    panel.wait()
    assert panel.session.error is None, panel.session.error
    found = panel.mask(volume)
    assert found[LEFT]
    assert not found[RIGHT]
    assert "voxels in" in panel.ui.clickStatusLabel.text
    # The segment and the mark are seen: the picture has colours now, and a green one where the click was.
    after = mouse.picture()
    assert not np.array_equal(before, after)
    assert len(panel.marks()) == 1
    # A further click changes voxels in place: the view shows them at once, not only when it is made to look again.
    mouse.click(mouse.pixel(world_of(volume, np.add(LEFT, (0, 6, 5)))), ctrl=True)
    panel.wait()
    panel.panel.marks.clear()
    shown = mouse.picture()
    mouse.jump(world_of(volume, RIGHT + np.array([3, 0, 0])))
    mouse.jump(world_of(volume, LEFT))
    np.testing.assert_array_equal(shown, mouse.picture())
    assert panel.mask(volume).sum() != found.sum()
    assert panel.ui.clickSegmentationSelector.currentNode() is panel.session.target.node
    assert panel.ui.clickSegmentComboBox.currentText == "Structure 1"


@pytest.mark.parametrize("degrees", [0.0, 35.0])
@pytest.mark.parametrize("kind", ["none", "thin-plate"])
def test_clicks_on_oblique_slices_and_under_a_warp(panel, degrees, kind) -> None:
    volume = add_phantom()
    transform = add_transform(kind)
    volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
    mouse = panel.open(volume)
    mouse.turn(degrees)
    center = world_of(volume, LEFT)
    mouse.jump(center)
    xy = mouse.pixel(center)
    mouse.click(xy)
    panel.wait()
    placed = panel.session.done[0].placed
    np.testing.assert_allclose(placed.points[0], mouse.ras(xy), atol=1e-4)
    assert np.linalg.norm(np.subtract(placed.points[0], center)) < 1.5
    assert panel.mask(volume)[LEFT]


def test_polarity_by_button_key_and_ctrl(panel) -> None:
    volume = add_phantom()
    mouse = panel.open(volume)
    here, there = mouse.pixel(world_of(volume, LEFT)), mouse.pixel(world_of(volume, RIGHT))
    mouse.click(here)
    mouse.click(there, ctrl=True)
    panel.panel.onTogglePolarity()
    mouse.click((there[0] + 4, there[1]))
    mouse.click((here[0] + 4, here[1]), ctrl=True)
    panel.wait()
    assert [step.placed.positive for step in panel.session.done] == [True, False, False, True]
    assert panel.ui.clickNegativeButton.checked
    colors = {tuple(round(c, 2) for c in node.GetDisplayNode().GetSelectedColor()) for node in panel.marks()}
    assert colors == {(0.15, 0.85, 0.35), (0.95, 0.25, 0.2)}


def test_left_button_is_only_taken_while_the_tab_is_active(panel) -> None:
    """Window and level are adjusted with the left button otherwise: our observers are gone with the session."""
    volume = add_phantom()
    mouse = panel.open(volume)
    place = mouse.pixel(world_of(volume, LEFT))
    assert panel.panel.gestures.attached
    panel.widget.ui.tabWidget.setCurrentWidget(panel.widget.ui.segmentTab)
    assert not panel.panel.gestures.attached
    mouse.click(place)
    panel.wait()
    assert panel.session.done == []
    panel.widget.ui.tabWidget.setCurrentWidget(panel.widget.ui.clickTab)
    mouse.click(place)
    panel.wait()
    assert len(panel.session.done) == 1
    panel.widget.host_module.exit(panel.widget)
    assert not panel.panel.gestures.attached
    assert not any(shortcut.enabled for shortcut in panel.panel._shortcuts)
    panel.widget.host_module.enter(panel.widget)
    assert panel.panel.gestures.attached
    click(panel.ui.clickStartButton)
    panel.wait()
    assert not panel.panel.gestures.attached
    assert not any(shortcut.enabled for shortcut in panel.panel._shortcuts)


def test_place_mode_of_markups_is_left_alone(panel) -> None:
    import slicer

    volume = add_phantom()
    mouse = panel.open(volume)
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    mouse.click(mouse.pixel(world_of(volume, LEFT)))
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    panel.wait()
    assert panel.session.done == []


@pytest.mark.parametrize("tool", ["box", "box3d", "scribble", "lasso"])
def test_each_tool_draws_what_it_says(panel, tool) -> None:
    volume = add_phantom()
    mouse = panel.open(volume)
    x, y = mouse.pixel(world_of(volume, LEFT))
    click(panel.panel._toolButtons[tool])
    radius = abs(mouse.pixel(world_of(volume, np.add(LEFT, (0, 0, 8))))[0] - x) or 20
    circle = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in np.linspace(0, 6.2, 30)]
    path = {
        "box": [(x - radius, y - radius), (x, y), (x + radius, y + radius)],
        "box3d": [(x - radius, y - radius), (x, y), (x + radius, y + radius)],
        "scribble": [(x - 10, y), (x - 4, y), (x, y + 2), (x + 5, y), (x + 10, y)],
        "lasso": circle,
    }[tool]
    mouse.drag(path, release=False)
    assert len(panel.marks()) == 1
    mouse._event("LeftButtonReleaseEvent", path[-1])
    if tool == "box3d":
        assert panel.session.waiting == ()
        assert not panel.ui.clickUseBoxButton.isHidden()
        assert panel.panel.marks.box.GetSize()[0] > 5
        click(panel.ui.clickUseBoxButton)
        assert panel.ui.clickUseBoxButton.isHidden()
    panel.wait()
    assert panel.session.error is None, panel.session.error
    assert [step.placed.kind for step in panel.session.done] == [{"box3d": "box"}.get(tool, tool)]
    found = panel.mask(volume)
    ball = np.linalg.norm((np.indices(found.shape).T - LEFT) * (2.0, 0.9, 1.1), axis=-1).T < 9
    # How good it is, is the engine's; grow-cut has only the heart of a box in one slice to go by.
    assert dice(found, ball) > (0.4 if tool != "box" else 0.01)
    assert len(panel.marks()) == 1
    click(panel.ui.clickUndoButton)
    panel.wait()
    assert panel.marks() == []
    assert not panel.mask(volume).any()
    click(panel.ui.clickRedoButton)
    panel.wait()
    np.testing.assert_array_equal(panel.mask(volume), found)
    assert len(panel.marks()) == 1


def test_escape_forgets_what_is_drawn(panel) -> None:
    volume = add_phantom()
    mouse = panel.open(volume)
    click(panel.ui.clickLassoButton)
    mouse.drag([(100, 100), (140, 100), (140, 140)], release=False)
    panel.panel.onEscape()
    mouse._event("LeftButtonReleaseEvent", (140, 140))
    panel.wait()
    assert panel.session.done == []
    assert panel.marks() == []
    click(panel.ui.clickBox3DButton)
    mouse.drag([(100, 100), (140, 140)])
    assert panel.panel.marks.box is not None
    panel.panel.onEscape()
    assert panel.panel.marks.box is None
    assert panel.ui.clickUseBoxButton.isHidden()


def test_next_accept_and_stop(panel) -> None:
    import slicer

    volume = add_phantom()
    mouse = panel.open(volume)
    mouse.click(mouse.pixel(world_of(volume, LEFT)))
    panel.wait()
    click(panel.ui.clickNextButton)
    panel.wait()
    assert panel.marks() == [] or panel.marks()[0].GetNumberOfControlPoints() == 0
    mouse.click(mouse.pixel(world_of(volume, RIGHT)))
    panel.wait()
    node = panel.session.target.node
    first, second = (node.GetSegmentation().GetNthSegmentID(n) for n in range(2))
    assert not (segment_mask(node, first, volume) & segment_mask(node, second, volume)).any()
    click(panel.ui.clickAcceptButton)
    panel.wait()
    assert panel.session is None
    assert panel.marks() == []
    assert panel.worker.requests[-1] == "click.close"
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    # Go on with the first segment: it is where the clicks start from.
    panel.ui.clickSegmentComboBox.currentIndex = 1
    before = segment_mask(node, first, volume)
    click(panel.ui.clickStartButton)
    panel.wait()
    np.testing.assert_array_equal(panel.worker.session.mask.astype(bool), before)


def test_removed_volume_and_closed_scene_end_the_session(panel) -> None:
    import slicer

    volume = add_phantom()
    mouse = panel.open(volume)
    mouse.click(mouse.pixel(world_of(volume, LEFT)))
    panel.wait()
    slicer.mrmlScene.RemoveNode(volume)
    panel.wait()
    assert panel.session is None
    assert "no longer in the scene" in panel.ui.clickStatusLabel.text
    assert panel.ui.clickStartButton.text == "Start clicking"
    assert panel.marks() == []
    other = add_phantom("other")
    panel.open(other)
    assert panel.session is not None
    slicer.mrmlScene.Clear(False)
    pump(30)
    assert panel.session is None


def test_without_a_model_the_tab_says_so_and_works(panel) -> None:
    volume = add_phantom()
    assert "grow-cut" in panel.ui.clickModelComboBox.currentText
    panel.open(volume)
    assert "until a click model is installed" in panel.ui.clickStatusLabel.text


def test_shortcuts_do_what_they_say(panel) -> None:
    volume = add_phantom()
    mouse = panel.open(volume)
    keys = {shortcut.key.toString(): shortcut for shortcut in panel.panel._shortcuts}
    assert all(shortcut.enabled for shortcut in keys.values())
    keys["4"].activated.emit()
    assert panel.panel.gestures.tool == "scribble"
    assert panel.ui.clickScribbleButton.checked
    assert not panel.ui.clickPointButton.checked
    keys["1"].activated.emit()
    keys["T"].activated.emit()
    assert not panel.panel.gestures.positive
    keys["T"].activated.emit()
    mouse.click(mouse.pixel(world_of(volume, LEFT)))
    panel.wait()
    keys["Ctrl+Z"].activated.emit()
    panel.wait()
    assert panel.session.done == []
    keys["Ctrl+Y"].activated.emit()
    panel.wait()
    assert len(panel.session.done) == 1
