"""What makes MedAI Segmentation part of Slicer: several inputs, sequences, maps, suggestions, many volumes, themes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from host.event_loop import click, pump
from host.pictures import grab
from widgets.seg_panel import SegPanel, install_model, open_panel


@pytest.fixture
def ball(host):
    """Makes what the module's self-test works with: volumes, sequences, transforms."""
    host.load_module(Path(__file__).resolve().parents[2] / "MedAISeg" / "MedAISeg.py")
    from MedAISegLib.selftest import MedAISegTest

    return MedAISegTest("runTest")


@pytest.fixture
def panel(host, module_widget, tmp_path, monkeypatch, ball):
    """The panel with the self-test's worker, which thresholds in this process, and its two models."""
    import MedAICoreLib.worker
    from MedAISegLib import standin_worker

    handle = MedAICoreLib.worker.WorkerHandle(standin_worker.ThresholdWorker().makeTransport)
    monkeypatch.setattr(MedAICoreLib.worker, "_shared", handle)
    standin_worker.writeModel(tmp_path / "models")
    standin_worker.writeModel(tmp_path / "models", standin_worker.PAIR_ID, ("T1", "T2"))
    opened = open_panel(host, module_widget, tmp_path / "models")
    yield opened
    opened.widget.cleanup()
    handle.close()


def choose_model(panel: SegPanel, model: str = "selftest-threshold") -> None:
    panel.widget.onModelChosen(model)
    assert panel.widget.models.card().id == model


def test_there_is_a_selector_for_each_input_of_the_model(panel, ball):
    ui = panel.ui
    first, second = ball.ballVolume(), ball.rampVolume()
    choose_model(panel)
    assert (ui.inputVolumeLabel.text, ui.input2Selector.visible) == ("&Volume:", False)
    choose_model(panel, "selftest-pair")
    assert [ui.inputVolumeLabel.text, ui.input2Label.text] == ["T1 (MR):", "T2 (MR):"]
    assert not ui.input2Selector.isHidden()
    assert ui.input3Selector.isHidden()
    panel.choose(first)
    assert "Choose a volume for 'T2'" in ui.nextStepLabel.text
    ui.input2Selector.setCurrentNode(first)
    assert "chosen for two inputs" in ui.nextStepLabel.text
    ui.input2Selector.setCurrentNode(second)
    panel.apply()
    panel.wait()
    assert "done in" in ui.statusLabel.text
    assert panel.widget.logic.getParameterNode().input2 is second


def test_list_of_structures_has_totals_quality_and_a_mark(panel, ball, tmp_path):
    """The self-test's model says that it expects a Dice of 0.75, and that each core is unusual."""
    choose_model(panel)
    panel.choose(ball.ballVolume())
    panel.apply()
    panel.wait()
    table = panel.ui.resultsTable
    titles = [table.horizontalHeaderItem(n).text() for n in range(table.columnCount)]
    assert titles == ["Structure", "Volume (mL)", "Exp. Dice", "Mean"]
    cells = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]
    assert [row[0] for row in cells] == ["ball", "core", "whole ball"]
    assert [row[2] for row in cells] == ["0.75", "0.75", ""]
    assert cells[1][1].startswith("\N{WARNING SIGN} ")
    assert table.item(1, 1).toolTip() == "Usual are 0.0001 to 0.0002 mL."
    assert [table.item(row, 0).font().bold() for row in range(3)] == [False, False, True]
    volumes = [float(row[1].split()[-1]) for row in cells]
    assert volumes[2] == pytest.approx(volumes[0] + volumes[1], abs=0.011)
    grab(panel.widget.parent, tmp_path / "MedAISeg-volumes.png", 380)


def test_frames_of_a_sequence_are_segmented_on_demand(panel, ball):
    import slicer

    plain = ball.ballVolume()
    browser, volume = ball.ballSequence(10)
    choose_model(panel)
    panel.choose(plain)
    assert panel.ui.allFramesCheckBox.isHidden()
    panel.choose(volume)
    assert panel.ui.allFramesCheckBox.text == "All 10 frames of the sequence"
    assert not panel.ui.allFramesCheckBox.isHidden()
    assert panel.ui.probabilitiesCheckBox.enabled
    panel.ui.allFramesCheckBox.checked = True
    assert not panel.ui.probabilitiesCheckBox.enabled
    texts = []
    panel.ui.statusLabel.setText("")
    logic, show = panel.widget.logic, panel.widget.onRunChanged
    logic.onRunChanged = lambda run: (show(run), texts.append(panel.ui.statusLabel.text))
    panel.apply()
    panel.wait()
    assert any("frame 3 of 10" in text for text in texts)
    assert "10 frames" in panel.ui.statusLabel.text
    result = panel.widget._shownRun.result
    assert (result.frames, result.modelLoads) == (10, 1)
    assert browser.GetSequenceNode(slicer.mrmlScene.GetNodeByID(result.segmentationId)).GetNumberOfDataNodes() == 10


def test_segmentation_of_a_sequence_follows_the_scene_into_a_file(panel, ball, tmp_path):
    import slicer

    browser, volume = ball.ballSequence(3)
    choose_model(panel)
    panel.choose(volume)
    panel.ui.allFramesCheckBox.checked = True
    panel.apply()
    panel.wait()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    panel.host.log.take()  # the host's subject hierarchy grumbles at any scene with a sequence, also without ours
    browser = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")[0]
    volumes = [node for node in browser_proxies(browser) if node.IsA("vtkMRMLScalarVolumeNode")]
    segmentations = [node for node in browser_proxies(browser) if node.IsA("vtkMRMLSegmentationNode")]
    assert len(segmentations) == 1
    for frame in (2, 0):
        browser.SetSelectedItemNumber(frame)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        expected = slicer.util.arrayFromVolume(volumes[0]) > 200
        assert np.array_equal(ball.segmentArray(segmentations[0], "core", volumes[0]), expected)


def test_scene_closed_while_a_sequence_is_segmented(panel, ball):
    import slicer

    _browser, volume = ball.ballSequence(10)
    choose_model(panel)
    panel.choose(volume)
    panel.ui.allFramesCheckBox.checked = True
    panel.apply()
    panel.wait(lambda: "frame 2 of 10" in panel.ui.statusLabel.text)
    session = panel.widget.logic._worker.client.session.path
    slicer.mrmlScene.Clear(0)
    pump(50)
    assert not panel.widget.logic.busy
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert list(session.glob("*.raw")) == []


def test_browser_removed_while_its_sequence_is_segmented(panel, ball):
    import slicer

    browser, volume = ball.ballSequence(4)
    choose_model(panel)
    panel.choose(volume)
    panel.ui.allFramesCheckBox.checked = True
    panel.apply()
    panel.wait(lambda: "frame 2 of 4" in panel.ui.statusLabel.text)
    slicer.mrmlScene.RemoveNode(browser)
    panel.wait()
    assert "The sequence of 'balls' is no longer in the scene" in panel.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_full_disk_while_an_input_is_resampled(panel, ball, tmp_path):
    import errno

    from medai.errors import OutputError
    from medai.session import SessionFolder
    from MedAICoreLib.channel_sender import channelSender

    first, second = ball.ballVolume(), ball.rampVolume()
    second.SetAndObserveTransformNodeID(ball.transform("thin-plate").GetID())
    session = SessionFolder.create(tmp_path)
    sender = channelSender(session, second, first)
    assert not sender.step()
    assert 0 < sender.fraction < 1

    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    sender._stream.close()
    sender._stream = Full()
    with pytest.raises(OutputError, match="No space"):
        sender.step()
    assert list(session.path.glob("*.raw")) == []
    session.remove()


def browser_proxies(browser):
    import vtk

    found = vtk.vtkCollection()
    browser.GetAllProxyNodes(found)
    return [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]


def test_maps_are_made_when_they_are_ticked(panel, ball):
    import slicer

    choose_model(panel)
    panel.run(ball.ballVolume())
    assert panel.widget._shownRun.result.mapIds == ()
    panel.ui.probabilitiesCheckBox.checked = True
    panel.apply()
    panel.wait()
    ids = panel.widget._shownRun.result.mapIds
    assert [slicer.mrmlScene.GetNodeByID(i).GetAttribute("MedAI.map") for i in ids] == [
        "selftest-threshold probability ball",
        "selftest-threshold probability core",
    ]
    from MedAISegLib.several_volumes import volumesOfScene

    assert [node.GetName() for node in volumesOfScene()] == ["ball volume"], "maps are no volumes to segment"


def test_several_volumes_go_in_one_go_and_a_failure_stops_none(panel, ball):
    import slicer

    volumes = [ball.ballVolume() for _ in range(3)]
    for name, volume in zip(("one", "two", "three"), volumes, strict=True):
        volume.SetName(name)
    broken = slicer.util.arrayFromVolume(volumes[1]).astype(np.float32)
    broken[0, 0, 0] = np.inf
    slicer.util.updateVolumeFromArray(volumes[1], broken)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    choose_model(panel)
    panel.ui.severalCollapsibleButton.collapsed = False
    pump(20)
    assert panel.ui.volumesList.count == 4
    assert not panel.ui.severalButton.enabled
    click(panel.ui.allVolumesButton)
    assert panel.ui.severalButton.text == "Segment 4 volumes"
    chosen = panel.widget._parameterNode.segmentation
    click(panel.ui.severalButton)
    panel.wait()
    runs = panel.widget.several.runs
    assert [run.state.value for run in runs] == ["done", "failed", "done", "failed"]
    assert sum(run.result.modelLoads for run in runs if run.result) == 1
    summary = panel.ui.severalLabel.text.splitlines()
    assert summary[0] == "2 of 4 volumes segmented."
    assert summary[1].startswith("two: failed: The image has voxels that are not finite")
    assert summary[2] == "empty: failed: The volume 'empty' has no voxels."
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
    assert names == {"one segmentation", "three segmentation"}
    assert panel.widget._parameterNode.segmentation is chosen, "the choice for Apply is the person's"
    panel.add_phantom("late")
    pump(20)
    assert panel.ui.volumesList.count == 5
    assert panel.ui.severalButton.text == "Segment 4 volumes"


def test_cancel_stops_all_that_were_asked_for_together(panel, ball):
    import slicer

    for _ in range(3):
        ball.ballVolume()
    choose_model(panel)
    panel.ui.severalCollapsibleButton.collapsed = False
    pump(20)
    click(panel.ui.allVolumesButton)
    panel.ui.severalButton.click()
    panel.ui.applyButton.click()
    panel.wait()
    assert [run.state.value for run in panel.widget.several.runs] == ["cancelled"] * 3
    assert panel.ui.severalLabel.text.splitlines()[0] == "0 of 3 volumes segmented."
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_several_volumes_need_a_model_of_one_input(panel, ball):
    ball.ballVolume()
    choose_model(panel, "selftest-pair")
    panel.ui.severalCollapsibleButton.collapsed = False
    pump(20)
    click(panel.ui.allVolumesButton)
    assert not panel.ui.severalButton.enabled
    assert "several images for each patient" in panel.ui.severalButton.toolTip


def test_suggestion_changes_nothing_before_it_is_clicked(panel, ball, tmp_path):
    volume = ball.ballVolume()
    volume.SetName("MRHead")
    panel.choose(volume)
    card = panel.widget.models.card()
    assert card is not None
    choose_model(panel, "selftest-pair")
    text = panel.ui.suggestionLabel.text
    assert "Suggested:" in text
    assert "its name says so" in text
    assert panel.widget.models.card().id == "selftest-pair"
    suggested = text.split('href="')[1].split('"')[0]
    panel.ui.suggestionLabel.linkActivated.emit(suggested)
    assert panel.widget.models.card().id == suggested
    assert panel.ui.suggestionLabel.isHidden(), "what is chosen needs no suggestion"


def test_misfit_is_said_before_apply(panel, ball):
    volume = ball.ballVolume()
    import slicer

    values = slicer.util.arrayFromVolume(volume).astype(np.int16)
    units = np.where(values > 100, 60, np.where(values > 9, -1000, 0)).astype(np.int16)
    slicer.util.updateVolumeFromArray(volume, units)
    choose_model(panel)
    panel.choose(volume)
    assert "expects MR" in panel.ui.fitLabel.text
    assert "Hounsfield" in panel.ui.fitLabel.text
    assert panel.ui.applyButton.enabled, "it is a warning, the person decides"


@pytest.fixture
def hints(host):
    """``hints(voxels, name)`` of a volume with these voxels."""
    import slicer

    from medai.image import Image
    from medai.mrml import volume_from_image

    def make(voxels, name="volume", spacing=(1.0, 1.0, 1.0), unit=None):
        from MedAICoreLib.volume_hints import volumeHints

        image = Image(np.asarray(voxels)[None], np.diag([*spacing, 1.0]))
        node = volume_from_image(slicer.mrmlScene, image, name)
        if unit:
            code = slicer.vtkCodedEntry()
            code.SetValueSchemeMeaning(unit, "UCUM", "Hounsfield unit")
            node.SetVoxelValueUnits(code)
        return volumeHints(node)

    return make


def ct(shape=(30, 40, 40)):
    """Air around a body of soft tissue, fat and bone."""
    generator = np.random.default_rng(1)
    voxels = np.full(shape, -1000, np.int16)
    inside = (slice(None), slice(8, 32), slice(8, 32))
    voxels[inside] = generator.choice([-90, 20, 50, 70, 900], size=voxels[inside].shape)
    return voxels


def test_hints_tell_ct_from_mr(hints, ball):
    generator = np.random.default_rng(0)
    head = generator.integers(0, 280, (30, 30, 30)).astype(np.int16)
    assert hints(ct()).modality == "CT"
    assert hints(ct() + 1024).modality == "", "CT numbers without their offset are not in Hounsfield units"
    assert hints(head).modality == ""
    assert hints(head, "Patient7_T1w").modality == "MR"
    assert hints(head, "MRHead").modality == "MR"
    assert hints(head, "chart").modality == "", "a word has to be there as a word"
    organ = generator.choice([-100, -60, 30, 60], size=(20, 20, 20)).astype(np.int16)
    assert hints(organ).modality == "CT", "a CT cut to an organ has no air"
    known = hints(head, "MRHead", unit="[hnsf'U]")
    assert (known.modality, known.certain) == ("CT", True), "a unit counts for more than a name"
    nothing = hints(np.full((4, 4, 4), np.nan, np.float32))
    assert (nothing.low, nothing.high, nothing.modality) == (0.0, 0.0, "")


def test_dicom_tag_counts_for_more_than_values(hints, host):
    import slicer

    from MedAICoreLib.volume_hints import volumeHints

    hints(ct(), "series")
    node = slicer.util.getNode("series")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", "PT")
    assert (volumeHints(node).modality, volumeHints(node).certain) == ("PT", True)


def cards():
    from integration.cli.phantoms import make_card

    from medai.config.model_card import InputSpec

    def card(model, title, modality, **changes):
        return make_card(id=model, title=title, inputs=(InputSpec(modality, modality),), **changes)

    return (
        card("lungs", "Lungs and airways", "CT"),
        card("hippocampus", "Hippocampus, anterior and posterior", "MR", spacing_mm=(1.0, 1.0, 1.0)),
        card("prostate", "Prostate zones", "MR", spacing_mm=(3.0, 0.6, 0.6)),
    )


def test_suggestion_has_a_reason(hints):
    from MedAICoreLib.model_suggestion import suggestModel

    head = np.random.default_rng(0).integers(0, 280, (30, 30, 30)).astype(np.int16)
    assert suggestModel(cards(), hints(ct())).modelId == "lungs"
    found = suggestModel(cards(), hints(head, "MRHead"))
    assert found.modelId == "hippocampus"
    assert "head" in found.reason
    assert "MR" in found.reason
    assert suggestModel(cards(), hints(head, "MR pelvis")).modelId == "prostate"
    assert suggestModel(cards(), hints(head, "case 12")) is None, "nothing speaks for one of them"
    assert suggestModel(cards(), hints(head[:1], "MRHead")) is None, "a slice is nothing for 3D models"


def test_misfits_are_sentences(hints):
    from MedAICoreLib.model_suggestion import misfits

    lungs, hippocampus, _ = cards()
    head = np.random.default_rng(0).integers(0, 280, (30, 30, 30)).astype(np.int16)
    assert misfits(lungs, hints(ct())) == []
    assert "expects CT in Hounsfield units" in misfits(lungs, hints(head))[0]
    assert "seems to be CT" in misfits(hippocampus, hints(ct()))[0]
    assert misfits(hippocampus, hints(head, "T1")) == []
    assert "only 3 slices" in misfits(hippocampus, hints(head[:3], "T1"))[0]
    assert "6 mm apart" in misfits(hippocampus, hints(head, "T1", (1.0, 1.0, 6.0)))[0]


def test_surfaces_are_made_a_segment_at_a_time(panel, ball):
    import slicer

    choose_model(panel)
    segmentation = panel.run(ball.ballVolume())
    logic = panel.widget.logic
    shares = []
    logic.onSurfaces = shares.append
    logic.showSurfaces(segmentation, True)
    logic.advance()
    assert shares == [0.5]
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    segment = segmentation.GetSegmentation().GetSegment(segmentation.GetSegmentation().GetNthSegmentID(0))
    segment.GetRepresentation("Binary labelmap").Modified()  # as a brush does
    while logic.makesSurfaces:
        logic.advance()
    assert shares[-1] == 1.0
    assert len(shares) > 3, "what was edited meanwhile is converted again"
    polygons = segment.GetRepresentation("Closed surface").GetNumberOfPolys()
    segmentation.GetSegmentation().RemoveRepresentation("Closed surface")
    segmentation.CreateClosedSurfaceRepresentation()
    assert polygons == segment.GetRepresentation("Closed surface").GetNumberOfPolys()
    segmentation.GetSegmentation().RemoveRepresentation("Closed surface")
    logic.showSurfaces(segmentation, True)
    logic.advance()
    slicer.mrmlScene.RemoveNode(segmentation)
    logic.advance()
    assert not logic.makesSurfaces


def test_two_channels_of_a_real_network_as_if_resampled_beforehand(host, module_widget, tmp_path, ball):
    """Through the panel's logic, the real worker and a network with two inputs and fixed weights."""
    torch = pytest.importorskip("torch")
    import slicer
    from integration.cli.phantoms import ARGUMENTS, fit

    from medai.config.model_card import InputSpec, NetworkSpec, Normalization
    from medai.image import Image
    from medai.mrml import volume_from_image

    weights = fit()
    first_layer = next(name for name, tensor in weights.items() if tensor.ndim == 5 and tensor.shape[1] == 1)
    weights[first_layer] = torch.cat([0.5 * weights[first_layer]] * 2, 1)  # the balls in the mean of both images
    scale = Normalization("ct_window", mean=200.0, std=100.0, low=0.0, high=500.0)
    changes = {
        "id": "pair",
        "network": NetworkSpec("unet", {**ARGUMENTS, "in_channels": 2}),
        "inputs": (InputSpec("T1", "MR", scale), InputSpec("T2", "MR", scale)),
    }
    panel = open_panel(host, module_widget, install_model(tmp_path / "models", weights, **changes))
    panel.widget.onModelChosen("pair")
    found = {}
    for kinds in (("none", "linear"), ("linear", "thin-plate")):
        slicer.mrmlScene.Clear(0)
        first = panel.add_phantom("T1")
        k, j, i = np.indices((60, 70, 80))
        ramp = 150.0 + 40.0 * np.sin(i / 3) + j + k
        matrix = np.array([[-2.9, 0, 0, 120], [0, 2.8, 0, -90], [0, 0, 3.1, -90], [0, 0, 0, 1.0]])
        second = volume_from_image(slicer.mrmlScene, Image(ramp[None].astype(np.float32), matrix), "T2")
        for volume, kind in zip((first, second), kinds, strict=True):
            transform = ball.transform(kind)
            volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
        beforehand = ball.resampledBeforehand(second, first)
        for name, other in (("moved", second), ("beforehand", beforehand)):
            panel.choose(first)
            panel.ui.input2Selector.setCurrentNode(other)
            panel.widget._parameterNode.segmentation = None
            panel.apply()
            panel.wait()
            run = panel.widget._shownRun
            assert "done in" in panel.ui.statusLabel.text, panel.ui.statusLabel.text
            assert "covers only" not in panel.ui.statusLabel.text
            node = slicer.mrmlScene.GetNodeByID(run.result.segmentationId)
            found[name] = [ball.segmentArray(node, label, first) for label in ("bright ball", "dim ball")]
        for moved, wanted in zip(found["moved"], found["beforehand"], strict=True):
            assert int((moved != wanted).sum()) == 0, kinds
        assert sum(int(array.sum()) for array in found["beforehand"]) > 100
    from MedAICoreLib.worker import sharedWorker

    sharedWorker().close()


@pytest.mark.parametrize("dark", [False, True])
def test_panel_can_be_read_in_both_themes(panel, ball, tmp_path, dark):
    """Every text has a contrast of 4.5 or more to what lies behind it, as WCAG asks for."""
    from host.themes import contrast_of_texts, use_theme

    use_theme(dark)
    try:
        choose_model(panel)
        panel.run(ball.ballVolume())
        pump(50)
        picture = grab(panel.widget.parent, tmp_path / "panel.png", 350)
        assert picture.exists()
        worst = contrast_of_texts(panel.widget.parent)
        assert len(worst) > 10
        assert min(worst.values()) >= 4.5, worst
    finally:
        use_theme(False)
