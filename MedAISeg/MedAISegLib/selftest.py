"""The module's self-test, the same in Slicer (Reload and Test, ctest) and outside of it. Needs no torch, no files."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from medai.config.model_card import load_card
from medai.image import Image
from medai.mrml import roi_in_volume, volume_from_image
from medai.mrml.volumes import volume_matrix
from MedAICoreLib.runs import RunState
from MedAICoreLib.selftest_case import SHAPE_KJI, SPACING_IJK, RunLogicTest, obliqueMatrix
from MedAISegLib import standin_worker
from MedAISegLib.logic import MedAISegLogic


class MedAISegTest(RunLogicTest):
    """Runs the module's logic on a bright ball, with a worker that thresholds."""

    def setUp(self):
        """An empty scene, a model that needs no network, a logic of its own."""
        self.begin(standin_worker.ThresholdWorker(), MedAISegLogic)
        self.model = standin_worker.writeModel(self.folder)

    def test_segments_lie_on_the_voxels_under_each_kind_of_transform(self):
        for kind in ("none", "linear", "thin-plate", "grid"):
            for leftHanded in (False, True):
                slicer.mrmlScene.Clear(0)
                volume = self.ballVolume(leftHanded)
                transform = self.transform(kind)
                volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
                run = self.segment(volume)
                self.assertEqual(run.state, RunState.DONE, run.error)
                segmentation = slicer.mrmlScene.GetNodeByID(run.result.segmentationId)
                self.assertEqual(segmentation.GetTransformNodeID(), volume.GetTransformNodeID())
                self.assertEqual(run.result.warnings, ())
                expected = slicer.util.arrayFromVolume(volume)
                for label, wanted in (("ball", (expected > 100) & (expected <= 200)), ("core", expected > 200)):
                    found = self.segmentArray(segmentation, label, volume)
                    self.assertEqual(int((found != wanted).sum()), 0, f"{label}, {kind}, left-handed {leftHanded}")

    def test_table_and_run_details_are_written(self):
        volume = self.ballVolume()
        run = self.segment(volume)
        segmentation = slicer.mrmlScene.GetNodeByID(run.result.segmentationId)
        table = slicer.mrmlScene.GetNodeByID(run.result.tableId)
        self.assertEqual(segmentation.GetName(), "ball volume segmentation")
        self.assertTrue(segmentation.GetAttribute("MedAI.model").startswith(standin_worker.MODEL_ID))
        voxels = int((slicer.util.arrayFromVolume(volume) > 200).sum())
        expected = voxels * SPACING_IJK[0] * SPACING_IJK[1] * SPACING_IJK[2] / 1000
        self.assertAlmostEqual(float(table.GetCellText(1, 1)), expected, places=4)
        self.assertEqual([table.GetCellText(row, 0) for row in range(3)], ["ball", "core", "whole ball"])
        note = table.GetColumnIndex("Note")
        self.assertEqual([table.GetCellText(row, note) for row in range(3)], ["", "unusual volume", ""])
        quality = slicer.util.arrayFromTableColumn(table, "Expected Dice")
        self.assertAlmostEqual(float(quality[0]), standin_worker.QUALITY)
        self.assertTrue(np.isnan(quality[2]))

    def test_rerun_keeps_the_segment_of_the_person(self):
        volume = self.ballVolume()
        first = self.segment(volume)
        segmentation = slicer.mrmlScene.GetNodeByID(first.result.segmentationId)
        painted = np.zeros(SHAPE_KJI, np.uint8)
        painted[3:6, 4:9, 5:12] = 1
        segmentId = segmentation.GetSegmentation().AddEmptySegment("mine", "mine")
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, segmentation, segmentId, volume)
        second = self.segment(volume, segmentation)
        self.assertEqual(second.state, RunState.DONE, second.error)
        self.assertEqual(second.result.segmentationId, first.result.segmentationId)
        self.assertEqual(second.result.tableId, first.result.tableId)
        self.assertTrue(np.array_equal(self.segmentArray(segmentation, "mine", volume), painted.astype(bool)))
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 3)

    def test_a_volume_removed_in_the_run_gives_an_error_and_no_node(self):
        volume = self.ballVolume()
        run = self.logic.enqueue(self.request(volume))
        self.logic.advance()
        slicer.mrmlScene.RemoveNode(volume)
        self.finish()
        self.assertEqual(run.state, RunState.FAILED)
        self.assertIn("no longer in the scene", run.error.message)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)
        self.assertEqual(self.sessionFiles(), [])

    def test_a_volume_moved_in_the_run_is_not_misplaced(self):
        volume = self.ballVolume()
        run = self.logic.enqueue(self.request(volume))
        self.logic.advance()
        volume.SetOrigin(1, 2, 3)
        self.finish()
        self.assertEqual(run.state, RunState.FAILED)
        self.assertIn("moved", run.error.message)

    def test_cancel_leaves_the_scene_and_no_file(self):
        volume = self.ballVolume()
        run = self.logic.enqueue(self.request(volume))
        self.logic.advance()
        self.logic.cancelActive()
        self.finish()
        self.assertEqual(run.state, RunState.CANCELLED)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)
        self.assertEqual(self.sessionFiles(), [])

    def test_cancel_while_an_input_is_resampled_leaves_no_file(self):
        pair = standin_worker.writeModel(self.folder, standin_worker.PAIR_ID, ("T1", "T2"))
        first, second = self.ballVolume(), self.rampVolume()
        second.SetAndObserveTransformNodeID(self.transform("thin-plate").GetID())
        parameters = self.logic.getParameterNode()
        parameters.inputVolume, parameters.input2, parameters.segmentation = first, second, None
        run = self.logic.enqueue(self.logic.requestFromParameters(parameters, load_card(pair), str(pair)))
        while "through its transform" not in run.stage:
            self.logic.advance()
            self.assertFalse(run.ended, run.error)
        self.assertEqual(len(self.sessionFiles()), 2)
        self.logic.cancelActive()
        self.finish()
        self.assertEqual(run.state, RunState.CANCELLED)
        self.assertEqual(self.sessionFiles(), [])

    def test_runs_queue(self):
        volumes = [self.ballVolume(), self.ballVolume()]
        runs = [self.logic.enqueue(self.request(volume)) for volume in volumes]
        self.finish()
        self.assertEqual([run.state for run in runs], [RunState.DONE, RunState.DONE])
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 2)

    def test_region_is_mapped_through_both_transforms(self):
        volume = self.ballVolume()
        volume.SetAndObserveTransformNodeID(self.transform("linear").GetID())
        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "region")
        roi.SetSize(10, 12, 14)
        roi.SetCenter(5, 6, 7)
        between = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, volume.GetParentTransformNode(), between)
        found = roi_in_volume(roi, volume)
        self.assertTrue(np.allclose(found.center_ras, between.TransformPoint((5, 6, 7)), atol=1e-6))
        self.assertTrue(np.allclose(sorted(found.size_mm), (10, 12, 14), atol=1e-6))

    def test_two_inputs_on_other_grids_and_transforms_are_those_resampled_beforehand(self):
        pair = standin_worker.writeModel(self.folder, standin_worker.PAIR_ID, ("T1", "T2"))
        for kinds in (("none", "linear"), ("linear", "thin-plate"), ("grid", "thin-plate")):
            slicer.mrmlScene.Clear(0)
            first, second = self.ballVolume(), self.rampVolume()
            for volume, kind in zip((first, second), kinds, strict=True):
                transform = self.transform(kind)
                volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
            run = self.segmentPair(pair, first, second)
            resampled = self.resampledBeforehand(second, first)
            reference = self.segmentPair(pair, first, resampled)
            for label in ("ball", "core"):
                found, wanted = (
                    self.segmentArray(slicer.mrmlScene.GetNodeByID(r.result.segmentationId), label, first)
                    for r in (run, reference)
                )
                self.assertGreater(int(wanted.sum()), 50)
                self.assertEqual(int((found != wanted).sum()), 0, f"{label}, {kinds}")
        # Without its transform the second input would give something else, so the comparison can tell.
        second.SetAndObserveTransformNodeID(first.GetTransformNodeID())
        ignored = self.segmentPair(pair, first, second)
        misplaced = self.segmentArray(slicer.mrmlScene.GetNodeByID(ignored.result.segmentationId), "core", first)
        self.assertGreater(int((misplaced != wanted).sum()), 20)

    def test_sequence_gives_a_synchronised_sequence_with_one_model_load(self):
        browser, volume = self.ballSequence(10)
        browser.SetSelectedItemNumber(4)
        stages = []
        self.logic.onRunChanged = lambda run: stages.append(run.stage)
        run = self.segment(volume, allFrames=True)
        self.assertEqual(run.state, RunState.DONE, run.error)
        self.assertEqual((run.result.frames, run.result.modelLoads), (10, 1))
        self.assertTrue(any(stage.startswith("frame 3 of 10") for stage in stages), stages)
        segmentation = slicer.mrmlScene.GetNodeByID(run.result.segmentationId)
        sequence = browser.GetSequenceNode(segmentation)
        self.assertEqual(sequence.GetNumberOfDataNodes(), 10)
        self.assertEqual(segmentation.GetTransformNodeID(), volume.GetTransformNodeID())
        self.assertEqual(browser.GetSelectedItemNumber(), 4)
        for frame in (4, 0, 9):
            browser.SetSelectedItemNumber(frame)
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
            self.assertEqual(sequence.GetNthIndexValue(frame), browser.GetMasterSequenceNode().GetNthIndexValue(frame))
            expected = slicer.util.arrayFromVolume(volume) > 200
            found = self.segmentArray(segmentation, "core", volume)
            self.assertEqual(int((found != expected).sum()), 0, f"frame {frame}")
            self.assertGreater(int(found.sum()), 0)
        table = slicer.mrmlScene.GetNodeByID(run.result.tableId)
        self.assertEqual(table.GetNumberOfRows(), 10)
        self.assertLess(float(table.GetCellText(0, 1)), float(table.GetCellText(9, 1)))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 1)

    def test_sequence_that_is_cancelled_or_fails_leaves_nothing(self):
        for failing in (False, True):
            slicer.mrmlScene.Clear(0)
            browser, volume = self.ballSequence(4, broken=2 if failing else None)
            run = self.logic.enqueue(self.request(volume, allFrames=True))
            while run.stage.partition(":")[0] != "frame 3 of 4" and not run.ended:
                self.logic.advance()
            if not failing:
                self.logic.cancelActive()
            self.finish()
            self.assertEqual(run.state, RunState.FAILED if failing else RunState.CANCELLED, run.error)
            if failing:
                self.assertIn("Frame 3 of 4", run.error.message)
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)
            self.assertEqual(browser.GetNumberOfSynchronizedSequenceNodes(True), 1)
            self.assertEqual(self.sessionFiles(), [])

    def test_probability_and_entropy_volumes_lie_on_the_volume(self):
        volume = self.ballVolume()
        volume.SetAndObserveTransformNodeID(self.transform("thin-plate").GetID())
        for _count in range(2):  # the second run replaces the maps of the first
            parameters = self.logic.getParameterNode()
            parameters.probabilities = parameters.entropy = True
            run = self.segment(volume)
            self.assertEqual(run.state, RunState.DONE, run.error)
        maps = [slicer.mrmlScene.GetNodeByID(nodeId) for nodeId in run.result.mapIds]
        self.assertEqual(
            [node.GetName() for node in maps],
            ["ball volume probability of ball", "ball volume probability of core", "ball volume entropy"],
        )
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 4)
        core = np.where(slicer.util.arrayFromVolume(volume) > 200, np.float32(0.75), np.float32(0))
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(maps[1]), core))
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        for node in maps:
            self.assertEqual(node.GetTransformNodeID(), volume.GetTransformNodeID())
            self.assertTrue(np.allclose(volume_matrix(node), volume_matrix(volume)))
            self.assertEqual((node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()), (1.0, 0.5))
            self.assertIsNotNone(node.GetDisplayNode().GetColorNode())
            folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
            self.assertEqual(hierarchy.GetItemName(folder), "ball volume maps")
        self.assertEqual(self.sessionFiles(), [])

    # What the tests are made of

    def ballSequence(self, frames, broken=None):
        """(browser, proxy volume) of balls that grow, under a transform; frame `broken` has a voxel of infinity."""
        sequence = slicer.vtkMRMLSequenceNode()
        sequence.SetName("balls")
        sequence.SetIndexName("time")
        sequence.SetIndexUnit("s")
        for frame in range(frames):
            volume = self.ballVolume(grown=frame * 0.3)
            if frame == broken:
                voxels = slicer.util.arrayFromVolume(volume).astype(np.float32)
                voxels[0, 0, 0] = np.inf
                slicer.util.updateVolumeFromArray(volume, voxels)
            sequence.SetDataNodeAtValue(volume, f"{frame * 0.5}")
            slicer.mrmlScene.RemoveNode(volume)
        sequence = slicer.mrmlScene.AddNode(sequence)
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        volume = browser.GetProxyNode(sequence)
        volume.SetAndObserveTransformNodeID(self.transform("thin-plate").GetID())
        return browser, volume

    def segmentPair(self, model, first, second):
        """Run the model with two inputs."""
        parameters = self.logic.getParameterNode()
        parameters.inputVolume, parameters.input2, parameters.segmentation = first, second, None
        card = load_card(model)
        self.assertEqual(self.logic.problem(parameters, card), "")
        run = self.logic.enqueue(self.logic.requestFromParameters(parameters, card, str(model)))
        self.finish()
        self.assertEqual(run.state, RunState.DONE, run.error)
        return run

    def resampledBeforehand(self, volume, reference):
        """The volume on the reference's grid and under its transform, point by point, by other means than the module's.

        Each voxel's place goes through the transforms one after the other; the values come from VTK's probe.
        """
        toWorld, fromWorld = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
        node = slicer.vtkMRMLTransformNode
        node.GetTransformBetweenNodes(reference.GetParentTransformNode(), None, toWorld)
        node.GetTransformBetweenNodes(None, volume.GetParentTransformNode(), fromWorld)
        shape = slicer.util.arrayFromVolume(reference).shape
        k, j, i = np.indices(shape)
        local = np.stack([i, j, k, np.ones_like(i)], axis=-1).reshape(-1, 4) @ volume_matrix(reference).T
        moved = np.array([fromWorld.TransformPoint(toWorld.TransformPoint(point)) for point in local[:, :3]])
        index = np.c_[moved, np.ones(len(moved))] @ np.linalg.inv(volume_matrix(volume)).T
        voxels = slicer.util.arrayFromVolume(volume).astype(np.float64)
        place = np.clip(index[:, 2::-1], 0, np.array(voxels.shape) - 1)
        inside = (np.abs(place - index[:, 2::-1]) < 1e-6).all(axis=1)
        base = np.minimum(place.astype(int), np.array(voxels.shape) - 2)
        part = place - base
        values = np.zeros(len(place))
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, part, 1 - part), axis=1)
            values += weight * voxels[tuple((base + corner).T)]
        values = np.where(inside, values, voxels.min()).reshape(1, *shape).astype(np.float32)
        made = volume_from_image(slicer.mrmlScene, Image(values, volume_matrix(reference)), "resampled")
        made.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        return made

    def ballVolume(self, leftHanded=False, grown=0.0):
        """A ball of 150 with a core of 250 on an oblique, anisotropic grid; `grown`: mm added to the radii."""
        k, j, i = np.indices(SHAPE_KJI)
        distance = np.sqrt(((k - 7) * 2.5) ** 2 + ((j - 15) * 1.1) ** 2 + ((i - 18) * 0.8) ** 2)
        voxels = np.where(distance < 10 + grown, 150, 10) + np.where(distance < 5 + grown, 100, 0)
        return volume_from_image(
            slicer.mrmlScene, Image(voxels[None].astype(np.int16), obliqueMatrix(leftHanded)), "ball volume"
        )

    def rampVolume(self):
        """Values that rise obliquely, on a left-handed grid that reaches beyond the ball's."""
        matrix = np.diag([-1.7, 1.4, 3.1, 1.0])
        matrix[:3, 3] = (40.0, -30.0, -15.0)
        k, j, i = np.indices((19, 50, 45))
        voxels = 2.0 * i + 1.5 * j + 3.0 * k + 10 * np.sin(i / 4)
        return volume_from_image(slicer.mrmlScene, Image(voxels[None].astype(np.float32), matrix), "ramp")

    def request(self, volume, segmentation=None, allFrames=False):
        """What the panel asks for with its default values."""
        parameters = self.logic.getParameterNode()
        parameters.allFrames = allFrames
        parameters.inputVolume = volume
        parameters.segmentation = segmentation
        return self.logic.requestFromParameters(parameters, load_card(self.model), str(self.model))

    def segment(self, volume, segmentation=None, allFrames=False):
        """Run to the end."""
        run = self.logic.enqueue(self.request(volume, segmentation, allFrames))
        self.finish()
        return run

    def segmentArray(self, segmentation, name, volume):
        """The voxels of the segment of this name on the volume's grid, as Slicer exports them."""
        segmentId = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volume).astype(bool)
