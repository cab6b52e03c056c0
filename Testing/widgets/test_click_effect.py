"""The Segment Editor's effect on Slicer's own editor logic: masks, the editor's undo, the same result as the module."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from widgets.click_desk import (
    BALLS,
    ClickDesk,
    ClickWorker,
    add_phantom,
    add_transform,
    mask_of,
    point,
    segment_mask,
    world_of,
)

ROOT = Path(__file__).resolve().parents[2]
LEFT, RIGHT = BALLS["left"][0], BALLS["right"][0]


class EffectUser:
    """A person in the Segment Editor with the effect."""

    def __init__(self, host, volume) -> None:
        import slicer
        from host.segment_editor import SegmentEditor

        from MedAICoreLib.worker import WorkerHandle

        self.volume = volume
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "edited")
        self.node.CreateDefaultDisplayNodes()
        self.node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        self.node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for name in ("mine", "other"):
            self.node.GetSegmentation().AddEmptySegment(name, name)
        self.editor = SegmentEditor(slicer.mrmlScene)
        self.editor.setNodes(self.node, volume)
        self.editor.setCurrentSegmentID("mine")
        self.worker = ClickWorker()
        self.handle = WorkerHandle(self.worker.transport)
        registered = sys.modules["SegmentEditorMedAIClickLib"].SegmentEditorEffect
        handle = self.handle
        self._former = registered.worker
        registered.worker = lambda self: handle
        self._registered = registered
        self.effect = self.editor.setActiveEffectByName("MedAI Click")
        self.finish()

    def finish(self) -> None:
        until = time.monotonic() + 60
        while self.effect.session is not None and self.effect.session.advance():
            assert time.monotonic() < until, self.effect.statusLabel.text

    def click(self, placed) -> None:
        self.effect.onPlaced(placed, placed.kind)
        self.finish()

    def mask(self, name: str = "mine") -> np.ndarray:
        return segment_mask(self.node, name, self.volume)

    def close(self) -> None:
        self.editor.close()
        self.handle.close()
        self._registered.worker = self._former


@pytest.fixture(autouse=True)
def _without_models(monkeypatch, tmp_path):
    """Grow-cut segments: what is tested here is the way of prompts and masks, not what a model makes of them."""
    monkeypatch.setattr("medai.models.library.shipped_folder", lambda: tmp_path / "shipped")


@pytest.fixture
def effect_of(host):
    """Make a person in the editor for a volume."""
    users = []
    host.load_module(ROOT / "MedAISeg" / "MedAISeg.py")
    host.load_module(ROOT / "SegmentEditorMedAIClick" / "SegmentEditorMedAIClick.py")

    def make(volume) -> EffectUser:
        users.append(EffectUser(host, volume))
        return users[-1]

    yield make
    for user in users:
        user.close()


CLICKS = ((LEFT, True), (np.add(LEFT, (0, 3, 3)), True), (RIGHT, False), (np.add(LEFT, (2, 0, -2)), True))


@pytest.mark.parametrize("kind", ["none", "linear"])
def test_module_effect_worker_and_command_line_give_the_same_mask(effect_of, kind, tmp_path) -> None:
    """Must show 5."""
    from medai.click import ClickSession
    from medai.mrml import image_from_volume
    from MedAISegLib.click_prompts import promptInVolume

    volume = add_phantom()
    transform = add_transform(kind)
    volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
    placed = [point(volume, place, positive) for place, positive in CLICKS]
    desk = ClickDesk()
    session = desk.session(volume)
    user = effect_of(volume)
    alone = ClickSession.open(image_from_volume(volume))
    for one in placed:
        desk.click(session, one)
        user.click(one)
        alone.prompt(promptInVolume(one, volume))
    by_module = mask_of(session, volume)
    assert by_module.any()
    np.testing.assert_array_equal(user.mask(), by_module)
    np.testing.assert_array_equal(alone.mask.astype(bool), by_module)
    prompts = [promptInVolume(one, volume) for one in placed]
    np.testing.assert_array_equal(by_command_line(image_from_volume(volume), prompts, tmp_path), by_module)
    desk.client.close()


def by_command_line(image, prompts, folder: Path) -> np.ndarray:
    """What `medai click` writes for the same image and points."""
    from medai.cli.app import run
    from medai.imageio import read_image, write_image

    write_image(folder / "image.nrrd", image)
    points = []
    for prompt in prompts:
        place = ",".join(repr(value) for value in prompt.points_ras[0])
        points += ["--point" if prompt.positive else "--negative", place]
    output = folder / "mask.nii.gz"
    arguments = ["click", str(folder / "image.nrrd"), *points, "--model", "grow-cut", "--output", str(output)]
    assert run(arguments) == 0
    return read_image(output).channel(0).astype(bool)


def test_editor_undo_and_redo_and_the_worker_follows(effect_of) -> None:
    volume = add_phantom()
    user = effect_of(volume)
    masks = [user.mask()]
    for place, positive in CLICKS[:3]:
        user.click(point(volume, place, positive))
        masks.append(user.mask())
    for n in (2, 1, 0):
        user.editor.logic.Undo()
        np.testing.assert_array_equal(user.mask(), masks[n])
    for n in (1, 2):
        user.editor.logic.Redo()
        np.testing.assert_array_equal(user.mask(), masks[n])
    # Two steps are there now; the third click gives what it gave, so the worker has two as well.
    user.click(point(volume, *CLICKS[2]))
    assert user.effect.session.error is None, user.effect.session.error
    np.testing.assert_array_equal(user.mask(), masks[3])
    assert user.worker.session.prompts == 3


def test_masking_and_other_segments_of_the_editor_hold(effect_of) -> None:
    import slicer

    volume = add_phantom()
    user = effect_of(volume)
    fence = np.zeros(user.mask().shape, np.uint8)
    fence[:, :, : LEFT[2]] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(fence, user.node, "other", volume)
    user.editor.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    user.click(point(volume, np.add(LEFT, (0, 0, 3))))
    assert user.effect.session.error is None, user.effect.session.error
    found = user.mask()
    assert found.any()
    assert not (found & (fence > 0)).any()
    assert user.worker.session.mask.astype(bool)[fence > 0].any()
    np.testing.assert_array_equal(user.mask("other"), fence.astype(bool))
    user.editor.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    user.editor.node.SetOverwriteMode(user.editor.node.OverwriteNone)
    user.click(point(volume, np.add(LEFT, (1, 0, 2))))
    np.testing.assert_array_equal(user.mask("other"), fence.astype(bool))


def test_intensity_mask_of_the_editor_holds(effect_of) -> None:
    import slicer

    volume = add_phantom()
    user = effect_of(volume)
    user.editor.node.SourceVolumeIntensityMaskOn()
    user.editor.node.SetSourceVolumeIntensityMaskRange(145, 155)
    user.click(point(volume, LEFT))
    assert user.effect.session.error is None, user.effect.session.error
    voxels = slicer.util.arrayFromVolume(volume)
    found = user.mask()
    assert found.any()
    assert voxels[found].min() >= 145
    assert voxels[found].max() <= 155


def test_another_segment_is_another_structure(effect_of) -> None:
    volume = add_phantom()
    user = effect_of(volume)
    user.click(point(volume, LEFT))
    first = user.mask()
    user.editor.setCurrentSegmentID("other")
    user.click(point(volume, RIGHT))
    assert user.mask("other")[RIGHT]
    assert not user.mask("other")[LEFT]
    np.testing.assert_array_equal(user.mask(), first & ~user.mask("other"))
    assert user.worker.session.prompts == 1


def test_segmentation_on_another_grid_is_written_on_its_own(effect_of) -> None:
    """The editor's reference geometry may be finer than the volume."""
    import slicer

    from medai.image import Image
    from medai.mrml import volume_from_image
    from medai.mrml.volumes import volume_matrix

    volume = add_phantom()
    fine = volume_matrix(volume) @ np.diag([0.5, 0.5, 0.5, 1.0])
    shape = tuple(2 * n for n in volume.GetImageData().GetDimensions()[::-1])
    reference = volume_from_image(slicer.mrmlScene, Image(np.zeros((1, *shape), np.uint8), fine), "fine")
    user = effect_of(volume)
    user.node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    user.click(point(volume, LEFT))
    assert user.effect.session.error is None, user.effect.session.error
    found = segment_mask(user.node, "mine", reference)
    wanted = user.worker.session.mask.astype(bool)
    # Fine voxels whose centres lie well within a coarse one have its value.
    assert found[::2, ::2, ::2].sum() == pytest.approx(wanted.sum(), rel=0.02)
    assert found.sum() == pytest.approx(8 * wanted.sum(), rel=0.15)


@pytest.mark.parametrize("case", ["no segment", "removed volume"])
def test_what_is_missing_is_told(effect_of, case) -> None:
    import slicer

    volume = add_phantom()
    user = effect_of(volume)
    if case == "no segment":
        user.node.GetSegmentation().RemoveAllSegments()
        user.click(point(volume, LEFT))
        assert "selected" in user.effect.statusLabel.text or "no longer" in user.effect.statusLabel.text
    else:
        slicer.mrmlScene.RemoveNode(volume)
        assert "no longer in the scene" in user.effect.statusLabel.text
        assert user.effect.session is None


@pytest.mark.render
def test_mouse_in_a_slice_view(effect_of, host) -> None:
    pytest.importorskip("trame_slicer")
    from host.segment_editor import SliceWidget
    from widgets.slice_mouse import SliceMouse

    volume = add_phantom()
    user = effect_of(volume)
    mouse = SliceMouse(host, volume)
    mouse.jump(world_of(volume, LEFT))
    user.editor.observe(SliceWidget(mouse.node, mouse.interactor))
    here, there = (mouse.pixel(world_of(volume, place)) for place in (LEFT, RIGHT))
    mouse.click(here, shift=True)
    user.finish()
    assert user.effect.session.done == []
    mouse.click(here)
    mouse.click(there, ctrl=True)
    user.finish()
    assert [step.placed.positive for step in user.effect.session.done] == [True, False]
    assert user.mask()[LEFT]
    user.effect.toolComboBox.currentIndex = user.effect.toolComboBox.findData("scribble")
    user.effect.polarityComboBox.currentIndex = user.effect.polarityComboBox.findData(0)
    mouse.drag([there, (there[0] + 6, there[1]), (there[0] + 12, there[1])])
    user.finish()
    last = user.effect.session.done[-1].placed
    assert (last.kind, last.positive) == ("scribble", False)
    user.node.GetDisplayNode().SetSegmentVisibility("mine", False)
    mouse.click(here)
    user.finish()
    assert len(user.effect.session.done) == 3
    mouse.close()
