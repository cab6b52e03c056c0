"""Click sessions on real MRML with the worker's own operations (grow-cut): written, undone, lost and noticed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from widgets.click_desk import (
    BALLS,
    SHAPE,
    ClickDesk,
    add_phantom,
    add_transform,
    balls,
    dice,
    grid_matrix,
    layers,
    mask_of,
    point,
    segment_mask,
    world_of,
)

LEFT, RIGHT, LOW = (BALLS[name][0] for name in ("left", "right", "low"))


@pytest.fixture(autouse=True)
def _without_models(monkeypatch, tmp_path):
    """Grow-cut segments: what is tested here is the way of prompts and masks, not what a model makes of them."""
    monkeypatch.setattr("medai.models.library.shipped_folder", lambda: tmp_path / "shipped")


@pytest.fixture
def desk(host):
    desk = ClickDesk()
    yield desk
    desk.client.close()


def ball(name: str) -> np.ndarray:
    from widgets.click_desk import SPACING_IJK

    center, radius, _value = BALLS[name]
    k, j, i = np.indices(SHAPE)
    return (
        np.sqrt(
            ((k - center[0]) * SPACING_IJK[2]) ** 2
            + ((j - center[1]) * SPACING_IJK[1]) ** 2
            + ((i - center[2]) * SPACING_IJK[0]) ** 2
        )
        < radius
    )


@pytest.mark.parametrize("kind", ["none", "linear", "thin-plate"])
@pytest.mark.parametrize("left_handed", [False, True])
def test_a_click_finds_the_ball_under_each_transform(desk, kind, left_handed) -> None:
    """The world point is mapped back through the volume's transforms, and the segment lies on the volume's voxels."""
    volume = add_phantom(left_handed=left_handed)
    transform = add_transform(kind)
    volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    assert session.error is None, session.error
    found = mask_of(session, volume)
    np.testing.assert_array_equal(found, desk.worker.session.mask.astype(bool))
    assert dice(found, ball("left")) > 0.8
    node = session.target.node
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    assert session.engine == "grow-cut"
    assert desk.files() == []


def test_neighbour_is_byte_identical_and_ten_undos_and_redos_are_exact(desk) -> None:
    """Must show 3: ten clicks next to a neighbour under the default policy; undo: exact start; redo: exact end."""
    import slicer

    from MedAISegLib.click_target import SegmentTarget

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, RIGHT))
    node, neighbour = session.target.node, session.target.segmentId
    session.next()
    desk.finish(session)
    start = layers(node)
    generator = np.random.default_rng(8)
    for n in range(10):
        offset = generator.integers(-3, 4, 3)
        # Half of the clicks lie in the neighbour itself, some are negative.
        center = LEFT if n % 2 else RIGHT
        desk.click(session, point(volume, np.array(center) + offset, positive=n % 4 != 3))
        assert session.error is None, session.error
        assert layers(node)[neighbour] == start[neighbour]
    end = layers(node)
    assert len(session.done) == 10
    assert end[session.target.segmentId] != start[session.target.segmentId]
    overlap = mask_of(session, volume) & segment_mask(node, neighbour, volume)
    assert not overlap.any()
    for _count in range(10):
        session.undo()
    desk.finish(session)
    assert session.done == []
    assert layers(node) == start
    assert not session.canUndo
    for _count in range(10):
        session.redo()
    desk.finish(session)
    assert layers(node) == end
    assert not session.canRedo
    assert isinstance(session.target, SegmentTarget)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_undo_gives_back_what_a_step_took_from_others(desk) -> None:
    from medai.mrml import OverwritePolicy

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, RIGHT))
    node, neighbour = session.target.node, session.target.segmentId
    session.target.policy = OverwritePolicy.OVERWRITE_ALL
    session.next()
    desk.finish(session)
    start = layers(node)
    desk.click(session, point(volume, RIGHT))
    end = layers(node)
    assert end[neighbour] != start[neighbour]
    session.undo()
    desk.finish(session)
    assert layers(node) == start
    session.redo()
    desk.finish(session)
    assert layers(node) == end


def test_worker_and_segment_stay_in_step(desk) -> None:
    """After undo and redo the next click gives what it gives without them."""
    volume = add_phantom()
    clicks = [point(volume, LEFT), point(volume, np.add(LEFT, (0, 3, 3))), point(volume, RIGHT, False)]
    plain = desk.session(volume)
    for click in clicks:
        desk.click(plain, click)
    expected = mask_of(plain, volume)
    session = desk.session(volume)
    desk.click(session, clicks[0])
    desk.click(session, point(volume, RIGHT))
    session.undo()
    desk.click(session, clicks[1])
    session.undo()
    session.undo()
    session.redo()
    session.redo()
    desk.click(session, clicks[2])
    np.testing.assert_array_equal(mask_of(session, volume), expected)
    np.testing.assert_array_equal(desk.worker.session.mask.astype(bool), expected)


def test_lost_session_is_opened_again_with_its_prompts(desk) -> None:
    volume = add_phantom()
    clicks = [point(volume, LEFT), point(volume, np.add(LEFT, (0, 3, 3))), point(volume, RIGHT, False)]
    plain = desk.session(volume)
    for click in clicks:
        desk.click(plain, click)
    expected = mask_of(plain, volume)
    session = desk.session(volume)
    for click in clicks[:2]:
        desk.click(session, click)
    desk.worker.lose()
    desk.click(session, clicks[2])
    assert session.error is None, session.error
    assert len(session.done) == 3
    np.testing.assert_array_equal(mask_of(session, volume), expected)
    assert any("opened again" in message for message in desk.messages)
    # Undo and redo go on, also where the worker never heard of the step that is made again.
    session.undo()
    session.undo()
    desk.finish(session)
    desk.worker.lose()
    session.redo()
    session.redo()
    desk.finish(session)
    np.testing.assert_array_equal(mask_of(session, volume), expected)
    np.testing.assert_array_equal(desk.worker.session.mask.astype(bool), expected)


def test_killed_worker_process_is_started_again(host, desk) -> None:
    """A real process that dies between two clicks."""
    import psutil

    from medai.client import ChildProcessTransport

    other = ClickDesk(transport=ChildProcessTransport(sys.executable))
    volume = add_phantom()
    session = other.session(volume, model="grow-cut")
    other.click(session, point(volume, LEFT))
    first = mask_of(session, volume)
    psutil.Process(other.client._transport.pid).kill()
    other.click(session, point(volume, np.add(LEFT, (0, 3, 3))))
    assert session.error is None, session.error
    assert len(session.done) == 2
    session.undo()
    other.finish(session)
    np.testing.assert_array_equal(mask_of(session, volume), first)
    other.client.close()


def test_a_prompt_that_kills_the_worker_twice_is_left_out(desk) -> None:
    from medai.errors import ClickSessionError

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    before = layers(session.target.node)

    def fail(request) -> None:
        if request.op == "click.prompt":
            desk.worker.lose()

    desk.worker.before = fail
    desk.click(session, point(volume, RIGHT))
    desk.worker.before = None
    assert isinstance(session.error, ClickSessionError)
    assert "left out" in session.message
    assert layers(session.target.node) == before
    desk.click(session, point(volume, np.add(LEFT, (0, 3, 3))))
    assert session.error is None, session.error
    assert len(session.done) == 2


@pytest.mark.parametrize("change", ["voxels", "grid"])
def test_changed_volume_is_noticed_and_the_session_opened_anew(desk, change) -> None:
    import slicer

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    if change == "voxels":
        slicer.util.updateVolumeFromArray(volume, np.roll(balls(), 6, axis=1))
        wanted = np.roll(ball("low"), 6, axis=1)
        place = np.add(LOW, (0, 6, 0))
    else:
        volume.SetSpacing(1.2, 0.9, 2.0)
        wanted, place = ball("low"), LOW
    kept = mask_of(session, volume) if change == "voxels" else None
    desk.click(session, point(volume, place))
    assert session.error is None, session.error
    assert desk.worker.requests.count("click.open") == 2
    assert any("changed" in message for message in desk.messages)
    found = mask_of(session, volume)
    assert found[tuple(place)]
    assert (found & wanted).sum() > 0.6 * wanted.sum()
    if kept is not None:  # the new session has started from the segment as it was
        session.undo()
        desk.finish(session)
        np.testing.assert_array_equal(desk.worker.session.mask.astype(bool), kept)
        np.testing.assert_array_equal(mask_of(session, volume), kept)
    assert len(session.done) == (0 if kept is not None else 1)


def test_told_of_a_change_that_is_none_the_session_goes_on(desk) -> None:
    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    volume.GetImageData().Modified()
    volume.GetImageData().GetPointData().GetScalars().Modified()
    volume.Modified()
    desk.click(session, point(volume, np.add(LEFT, (0, 3, 3))))
    assert desk.worker.requests.count("click.open") == 1
    assert len(session.done) == 2


@pytest.mark.parametrize("when", ["before", "within"])
def test_removed_volume_ends_the_session_and_changes_nothing(desk, when) -> None:
    """Must show 6."""
    import slicer

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    node = session.target.node
    before = layers(node)
    placed = point(volume, RIGHT)
    if when == "before":
        slicer.mrmlScene.RemoveNode(volume)
        session.check()
        assert session.ended
        with pytest.raises(Exception, match="ended"):
            session.add(placed)
    else:
        desk.worker.before = lambda _request: slicer.mrmlScene.RemoveNode(volume) if volume.GetScene() else None
        desk.click(session, placed)
    assert session.ended
    assert "no longer in the scene" in session.message
    assert layers(node) == before
    assert desk.files() == []


def test_removed_segment_or_segmentation_is_told(desk) -> None:
    import slicer

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    session.target.node.GetSegmentation().RemoveSegment(session.target.segmentId)
    desk.click(session, point(volume, RIGHT))
    assert session.error is not None
    assert "no longer" in session.message
    slicer.mrmlScene.RemoveNode(session.target.node)
    desk.click(session, point(volume, RIGHT))
    assert "no longer" in session.message
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def bad_prompts(volume) -> dict:
    from MedAISegLib.click_prompts import PlacedPrompt

    inside = world_of(volume, LEFT)
    return {
        "outside": (PlacedPrompt("point", True, ((900.0, 0.0, 0.0),)), "outside"),
        "nan": (PlacedPrompt("point", True, ((float("nan"), 0.0, 0.0),)), "no number"),
        "infinite": (PlacedPrompt("scribble", True, (inside, (float("inf"), 0.0, 0.0))), "no number"),
        "empty": (PlacedPrompt("scribble", True, ()), "no number"),
        "contradicting": (PlacedPrompt("point", False, (inside,)), "lies on a positive one"),
        "too many": (PlacedPrompt("scribble", True, (inside,) * 10_000), "10000 points"),
        "flat lasso": (PlacedPrompt("lasso", True, (inside, inside)), "It needs 3"),
    }


@pytest.mark.parametrize("name", ["outside", "nan", "infinite", "empty", "contradicting", "too many", "flat lasso"])
def test_bad_prompts_give_a_message_and_change_nothing(desk, name) -> None:
    """Must show 6."""
    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    before = layers(session.target.node)
    placed, text = bad_prompts(volume)[name]
    desk.click(session, placed)
    assert session.error is not None
    assert text in session.message
    assert layers(session.target.node) == before
    assert len(session.done) == 1
    desk.click(session, point(volume, np.add(LEFT, (0, 3, 3))))
    assert session.error is None
    assert len(session.done) == 2
    assert desk.files() == []


@pytest.mark.parametrize("kind", ["no voxels", "constant"])
def test_empty_volume_is_refused_and_no_node_is_made(desk, kind) -> None:
    import slicer

    from medai.image import Image
    from medai.mrml import volume_from_image

    if kind == "no voxels":
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        from medai.errors import InputError

        with pytest.raises(InputError, match="no voxels"):
            desk.session(volume)
    else:
        volume = volume_from_image(slicer.mrmlScene, Image(np.ones((1, *SHAPE), np.int16), grid_matrix()), "flat")
        session = desk.session(volume)
        assert "empty" in session.message
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_completed_segment_is_refused_and_the_worker_forgets_the_step(desk) -> None:
    import slicer

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    before = layers(session.target.node)
    mask = desk.worker.session.mask.copy()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = session.target.node.GetSegmentation().GetSegment(session.target.segmentId)
    logic.SetSegmentStatus(segment, logic.Completed)
    desk.click(session, point(volume, RIGHT))
    assert "completed" in session.message
    assert layers(session.target.node) == before
    np.testing.assert_array_equal(desk.worker.session.mask, mask)


def test_reset_gives_the_start_of_this_segment(desk) -> None:
    """Also where the steps are not kept any more: then only the segment's own voxels."""
    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    session.next()
    desk.finish(session)
    start = layers(session.target.node)
    desk.click(session, point(volume, RIGHT))
    desk.click(session, point(volume, np.add(RIGHT, (0, 3, 3))))
    session.reset()
    desk.finish(session)
    assert layers(session.target.node) == start
    assert not desk.worker.session.mask.any()
    assert session.done == []


def test_history_is_bounded(desk) -> None:
    volume = add_phantom()
    session = desk.session(volume, historyBytes=100)
    desk.click(session, point(volume, LEFT))
    desk.click(session, point(volume, np.add(LEFT, (0, 3, 3))))
    desk.click(session, point(volume, RIGHT))
    assert [bool(step.changes) for step in session.done] == [False, False, True]
    session.undo()
    session.undo()
    desk.finish(session)
    assert len(session.done) == 2
    assert "not kept" in session.message
    session.reset()
    desk.finish(session)
    assert not mask_of(session, volume).any()


def test_an_existing_segment_is_what_clicks_start_from(desk) -> None:
    import slicer

    from MedAISegLib.click_target import SegmentTarget

    volume = add_phantom()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("left", "low"):
        segment_id = node.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(ball(name).astype(np.uint8), node, segment_id, volume)
    before = segment_mask(node, "left", volume)
    session = desk.session(volume, SegmentTarget(slicer.mrmlScene, node.GetID(), "left"))
    np.testing.assert_array_equal(desk.worker.session.mask.astype(bool), before)
    np.testing.assert_array_equal(segment_mask(node, "left", volume), before)
    desk.click(session, point(volume, RIGHT))
    found = segment_mask(node, "left", volume)
    assert found[RIGHT]
    np.testing.assert_array_equal(segment_mask(node, "low", volume), ball("low"))
    session.undo()
    desk.finish(session)
    np.testing.assert_array_equal(segment_mask(node, "left", volume), before)
    desk.click(session, point(volume, RIGHT))
    desk.worker.lose()
    desk.click(session, point(volume, np.add(RIGHT, (1, 2, 2))))
    assert session.error is None, session.error
    session.reset()
    desk.finish(session)
    np.testing.assert_array_equal(segment_mask(node, "left", volume), before)


def test_segment_painted_elsewhere_is_what_clicks_go_on_from(desk) -> None:
    import slicer

    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    painted = mask_of(session, volume)
    painted[2:5, 3:9, 3:9] = True
    painted[LEFT[0], :, :] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        painted.astype(np.uint8), session.target.node, session.target.segmentId, volume
    )
    desk.click(session, point(volume, RIGHT))
    assert session.error is None, session.error
    assert any("changed elsewhere" in message for message in desk.messages)
    found = mask_of(session, volume)
    assert found[RIGHT]
    np.testing.assert_array_equal(found, desk.worker.session.mask.astype(bool))
    assert len(session.done) == 1
    session.undo()
    desk.finish(session)
    np.testing.assert_array_equal(mask_of(session, volume), painted)


def test_steps_undone_elsewhere_are_undone_at_the_worker_too(desk) -> None:
    """As by the Segment Editor's own undo: the voxels of an earlier step are back, and its prompts count again."""
    import slicer

    volume = add_phantom()
    session = desk.session(volume)
    masks = []
    for place in (LEFT, np.add(LEFT, (0, 3, 3)), RIGHT):
        desk.click(session, point(volume, place))
        masks.append((mask_of(session, volume), desk.worker.session.prompts))

    def set_segment(mask) -> None:
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask.astype(np.uint8), session.target.node, session.target.segmentId, volume
        )

    set_segment(masks[0][0])
    desk.click(session, point(volume, RIGHT, False))
    assert len(session.done) == 2
    assert desk.worker.session.prompts == 2
    assert not any("changed elsewhere" in message for message in desk.messages)
    np.testing.assert_array_equal(mask_of(session, volume), desk.worker.session.mask.astype(bool))


def test_next_keeps_the_segment_and_names_are_unique(desk) -> None:
    volume = add_phantom()
    session = desk.session(volume)
    names = []
    for place in (LEFT, RIGHT, LOW):
        desk.click(session, point(volume, place))
        names.append(session.target.node.GetSegmentation().GetSegment(session.target.segmentId).GetName())
        session.next()
        desk.finish(session)
    assert names == ["Structure 1", "Structure 2", "Structure 3"]
    assert session.target.node.GetSegmentation().GetNumberOfSegments() == 4
    assert desk.worker.requests.count("click.open") == 1


def test_prompts_are_answered_in_their_order_and_a_waiting_one_can_be_taken_back(desk) -> None:
    volume = add_phantom()
    session = desk.session(volume)
    first, second, third = (point(volume, place) for place in (LEFT, np.add(LEFT, (0, 3, 3)), LOW))
    for placed in (first, second, third):
        session.add(placed)
    assert session.waiting == (first, second, third)
    session.undo()
    assert session.waiting == (first, second)
    desk.finish(session)
    assert [step.placed for step in session.done] == [first, second]


def test_clicks_while_the_volume_is_sent_wait(desk) -> None:
    import slicer

    from MedAISegLib.click_session import ClickSession
    from MedAISegLib.click_target import SegmentTarget

    volume = add_phantom()
    session = ClickSession(desk.client, slicer.mrmlScene, volume.GetID(), SegmentTarget(slicer.mrmlScene))
    session.start()
    session.add(point(volume, LEFT))
    desk.finish(session)
    assert len(session.done) == 1


def test_box_lasso_and_scribble_under_a_rotation(desk) -> None:
    from MedAISegLib.click_prompts import PlacedPrompt, boxCorners

    volume = add_phantom()
    volume.SetAndObserveTransformNodeID(add_transform("linear").GetID())
    corner, *ends = (
        np.array(world_of(volume, np.add(LEFT, d))) for d in ((-5, -11, -9), (5, -11, -9), (-5, 11, -9), (-5, -11, 9))
    )
    sides = [end - corner for end in ends]
    boxes = PlacedPrompt("box", True, boxCorners(corner + sum(sides) / 2, sides))
    line = PlacedPrompt("scribble", True, tuple(world_of(volume, np.add(LEFT, (0, 0, d))) for d in range(-5, 6)), 1.0)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = PlacedPrompt(
        "lasso", True, tuple(world_of(volume, np.add(LEFT, (0, 11 * np.sin(a), 9 * np.cos(a)))) for a in angles)
    )
    for placed in (boxes, line, circle):
        session = desk.session(volume)
        desk.click(session, placed)
        assert session.error is None, session.error
        found = mask_of(session, volume)
        np.testing.assert_array_equal(found, desk.worker.session.mask.astype(bool))
        assert dice(found, ball("left")) > 0.5, placed.kind


def test_frame_of_a_sequence_and_its_change(desk) -> None:
    """A proxy volume works; another frame under the session is noticed at the next click."""
    import slicer

    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "frames")
    for n, voxels in enumerate((balls(), np.roll(balls(), 8, axis=2))):
        from medai.image import Image
        from medai.mrml import volume_from_image

        frame = volume_from_image(scene, Image(voxels[None], grid_matrix()), f"frame {n}")
        sequence.SetDataNodeAtValue(frame, str(n))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    volume = browser.GetProxyNode(sequence)
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    first = mask_of(session, volume)
    assert dice(first, ball("left")) > 0.8
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    session.next()
    desk.click(session, point(volume, np.add(LEFT, (0, 0, 8))))
    assert session.error is None, session.error
    assert any("another frame" in message for message in desk.messages)
    assert dice(mask_of(session, volume), np.roll(ball("left"), 8, axis=2)) > 0.6


def test_close_gives_the_volume_back_and_leaves_the_segment(desk) -> None:
    volume = add_phantom()
    session = desk.session(volume)
    desk.click(session, point(volume, LEFT))
    node, before = session.target.node, layers(session.target.node)
    session.close()
    desk.finish(session)
    assert desk.worker.requests[-1] == "click.close"
    assert layers(node) == before
    assert desk.files() == []
