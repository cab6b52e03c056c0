"""The module's self-test, the same in Slicer (Reload and Test, ctest) and outside of it. Needs no torch, no files."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from medai.config.model_card import load_card
from medai.image import Image
from medai.labels import Label, LabelScheme
from medai.mrml import volume_from_image, write_segmentation
from medai.mrml.layers import new_layer
from medai.mrml.volumes import volume_matrix
from MedAIClassifyLib import standin_worker
from MedAIClassifyLib.logic import MedAIClassifyLogic
from MedAIClassifyLib.parameters import Explanation, Scope
from MedAICoreLib.runs import RunState
from MedAICoreLib.selftest_case import SHAPE_KJI, RunLogicTest, obliqueMatrix


class MedAIClassifyTest(RunLogicTest):
    """Runs the module's logic on volumes, regions and segments, with a worker that compares means."""

    def setUp(self):
        """An empty scene, a model that needs no network, a logic of its own."""
        self.begin(standin_worker.MeanWorker(), MedAIClassifyLogic)
        self.model = standin_worker.writeModel(self.folder)

    def test_volume_gets_a_class_a_row_and_a_heat_map_under_each_kind_of_transform(self):
        for kind in ("none", "linear", "grid"):
            slicer.mrmlScene.Clear(0)
            volume = self.volume(150)
            transform = self.transform(kind)
            volume.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
            run = self.classify(inputVolume=volume)
            self.assertEqual(run.state, RunState.DONE, run.error)
            (item,) = run.result.items
            self.assertEqual(item.predicted, "bright")
            self.assertAlmostEqual(item.probabilities["bright"], 0.75, places=2)
            self.assertEqual(volume.GetAttribute("MedAI.class"), "bright")
            heatMap = slicer.mrmlScene.GetNodeByID(run.result.heatMapId)
            self.assertEqual(heatMap.GetTransformNodeID(), volume.GetTransformNodeID())
            self.assertTrue(np.allclose(volume_matrix(heatMap), volume_matrix(volume)))
            expected = slicer.util.arrayFromVolume(volume)
            self.assertTrue(np.allclose(slicer.util.arrayFromVolume(heatMap), expected / expected.max(), atol=1e-6))
            table = slicer.mrmlScene.GetNodeByID(run.result.tableId)
            self.assertEqual(self.cells(table, "Volume", "Item", "Predicted"), [["MR 150", "whole volume", "bright"]])

    def test_all_volumes_are_classified_with_one_load_into_one_table(self):
        volumes = [self.volume(value) for value in (20, 60, 140, 180)]
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        runs = self.enqueue(scope=Scope.ALL_VOLUMES)
        self.assertEqual(self.leftOut, ("The volume 'empty' has no voxels.",))
        self.finish()
        self.assertEqual([run.state for run in runs], [RunState.DONE] * 4)
        table = slicer.mrmlScene.GetNodeByID(runs[0].result.tableId)
        self.assertEqual(len({run.result.tableId for run in runs}), 1)
        predicted = ("dark", "dark", "bright", "bright")
        expected = [[volume.GetName(), label] for volume, label in zip(volumes, predicted, strict=True)]
        self.assertEqual(self.cells(table, "Volume", "Predicted"), expected)
        self.assertEqual(self.standin.loads, 1)
        self.enqueue(scope=Scope.ALL_VOLUMES)  # heat maps are no images
        self.finish()
        self.assertEqual(table.GetNumberOfRows(), 8)

    def test_region_is_mapped_through_both_transforms(self):
        volume = self.volume(10)
        slicer.util.arrayFromVolume(volume)[4:9, 10:20, 12:22] = 190
        volume.SetAndObserveTransformNodeID(self.transform("linear").GetID())
        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "lesion")
        centre = volume_matrix(volume) @ np.array([16.5, 14.5, 6.0, 1.0])
        toWorld = vtk.vtkGeneralTransform()
        volume.GetParentTransformNode().GetTransformToWorld(toWorld)
        roi.SetCenter(toWorld.TransformPoint(centre[:3]))
        roi.SetSize(3, 3, 3)
        run = self.classify(scope=Scope.REGION, inputVolume=volume, roi=roi)
        self.assertEqual(run.state, RunState.DONE, run.error)
        (item,) = run.result.items
        self.assertEqual((item.name, item.predicted), ("lesion", "bright"))
        self.assertEqual(roi.GetAttribute("MedAI.class"), "bright")
        self.assertIsNone(volume.GetAttribute("MedAI.class"))

    def test_hundred_segments_in_one_run_with_one_load(self):
        volume, segmentation = self.segments(100)
        run = self.classify(scope=Scope.SEGMENTS, inputVolume=volume, segmentation=segmentation)
        self.assertEqual(run.state, RunState.DONE, run.error)
        self.assertEqual([item.name for item in run.result.items], [f"s{n}" for n in range(1, 101)])
        expected = ["bright" if n % 2 else "dark" for n in range(1, 101)]
        self.assertEqual([item.predicted for item in run.result.items], expected)
        self.assertEqual((self.standin.loads, len(self.standin.requests)), (1, 1))
        segment = segmentation.GetSegmentation().GetSegment(segmentation.GetSegmentation().GetNthSegmentID(0))
        tag = vtk.reference("")
        self.assertTrue(segment.GetTag("MedAI.class", tag))
        self.assertEqual(str(tag), "bright")
        self.assertEqual(slicer.mrmlScene.GetNodeByID(run.result.tableId).GetNumberOfRows(), 100)

    def test_overlapping_segments_travel_apart_and_come_back_in_order(self):
        volume, segmentation = self.segments(3)
        matrix = volume_matrix(volume)
        layer, voxels = new_layer(SHAPE_KJI, (0, 0, 0), matrix, np.uint8)
        voxels[...] = 1
        segment = slicer.vtkSegment()
        segment.SetName("everything")
        segment.AddRepresentation("Binary labelmap", layer)
        segmentation.GetSegmentation().AddSegment(segment, "everything")
        run = self.classify(scope=Scope.SEGMENTS, inputVolume=volume, segmentation=segmentation)
        self.assertEqual(run.state, RunState.DONE, run.error)
        self.assertEqual([item.name for item in run.result.items], ["s1", "s2", "s3", "everything"])
        self.assertEqual((self.standin.loads, len(self.standin.requests)), (1, 2))
        heat = slicer.util.arrayFromVolume(slicer.mrmlScene.GetNodeByID(run.result.heatMapId))
        self.assertGreater(float(heat.min()), 0.0)  # of the second request: it covers every voxel
        self.assertEqual(float(heat.max()), 1.0)

    def test_hidden_segments_are_left_out_where_asked(self):
        volume, segmentation = self.segments(3)
        segmentation.GetDisplayNode().SetSegmentVisibility(segmentation.GetSegmentation().GetNthSegmentID(1), False)
        run = self.classify(scope=Scope.SEGMENTS, inputVolume=volume, segmentation=segmentation)
        self.assertEqual([item.name for item in run.result.items], ["s1", "s3"])
        run = self.classify(scope=Scope.SEGMENTS, inputVolume=volume, segmentation=segmentation, visibleOnly=False)
        self.assertEqual([item.name for item in run.result.items], ["s1", "s2", "s3"])

    def test_shapes_need_no_volume(self):
        _volume, segmentation = self.segments(3)
        self.model = standin_worker.writeModel(self.folder, "shapes", inputs=[{"name": "mask", "modality": "SEG"}])
        arguments = {"scope": Scope.SEGMENTS, "segmentation": segmentation, "inputVolume": None}
        run = self.classify(explanation=Explanation.NONE, **arguments)
        self.assertEqual(run.state, RunState.DONE, run.error)
        self.assertEqual(self.standin.requests[0].images, ())
        self.assertEqual(len(run.result.items), 3)
        self.assertEqual(run.result.heatMapId, "")
        self.classify(explanation=Explanation.GRADCAM, **arguments)
        self.assertIn("heat map needs a volume", self.leftOut[0])

    def test_image_unlike_the_training_data_is_flagged(self):
        run = self.classify(inputVolume=self.volume(400))
        self.assertTrue(run.result.items[0].anomaly.flag)
        table = slicer.mrmlScene.GetNodeByID(run.result.tableId)
        self.assertEqual(self.cells(table, "Unlike the training data"), [["yes"]])
        self.assertIn("unlike", run.result.warnings[0])

    def test_evaluation_becomes_plots(self):
        card = load_card(self.model)
        charts = self.logic.showEvaluation(self.logic.evaluationOf(card), card.title)
        self.assertEqual([chart.GetTitle() for chart in charts], [f"{card.title} ROC", f"{card.title} reliability"])

    def test_what_is_missing_is_told(self):
        parameters, card = self.logic.getParameterNode(), load_card(self.model)
        parameters.inputVolume = None
        self.assertIn("Choose a volume", self.logic.problem(parameters, card))
        parameters.inputVolume = self.volume(100, shape=(1, 20, 20))
        self.assertIn("single slice", self.logic.problem(parameters, card))
        parameters.scope = Scope.REGION
        self.assertIn("region", self.logic.problem(parameters, card))
        parameters.scope = Scope.SEGMENTS
        self.assertIn("segmentation", self.logic.problem(parameters, card))
        parameters.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
        self.assertIn("'drawn' has no segments", self.logic.problem(parameters, card))
        parameters.scope = Scope.VOLUME
        mask = standin_worker.writeModel(self.folder, "shapes", inputs=[{"name": "mask", "modality": "SEG"}])
        self.assertIn("Each segment", self.logic.problem(parameters, load_card(mask)))
        parameters.inputVolume = self.volume(100)
        self.assertEqual(self.logic.problem(parameters, card), "")
        parameters.table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "other")
        parameters.table.AddColumn()
        self.assertIn("'other'", self.logic.problem(parameters, card))

    def test_a_volume_removed_in_the_run_gives_an_error_and_no_node(self):
        volume = self.volume(100)
        (run,) = self.enqueue(inputVolume=volume)
        self.logic.advance()
        slicer.mrmlScene.RemoveNode(volume)
        self.finish()
        self.assertEqual(run.state, RunState.FAILED)
        self.assertIn("no longer in the scene", run.error.message)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode"), 0)
        self.assertEqual(self.sessionFiles(), [])

    def test_a_volume_moved_in_the_run_is_not_misplaced(self):
        volume = self.volume(100)
        (run,) = self.enqueue(inputVolume=volume)
        self.logic.advance()
        volume.SetOrigin(1, 2, 3)
        self.finish()
        self.assertEqual(run.state, RunState.FAILED)
        self.assertIn("moved", run.error.message)

    def test_cancel_ends_all_runs_of_one_press_and_leaves_no_file(self):
        for value in (10, 20, 30):
            self.volume(value)
        runs = self.enqueue(scope=Scope.ALL_VOLUMES)
        self.logic.advance()
        self.logic.cancelActive()
        self.finish()
        self.assertEqual([run.state for run in runs], [RunState.CANCELLED] * 3)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode"), 0)
        self.assertEqual(self.sessionFiles(), [])

    # What the tests are made of

    def volume(self, mean, shape=SHAPE_KJI):
        """A volume of this value, a little noisy, on an oblique, anisotropic grid."""
        voxels = mean + np.random.default_rng(int(mean)).uniform(-2, 2, shape)
        return volume_from_image(
            slicer.mrmlScene, Image(voxels[None].astype(np.float32), obliqueMatrix()), f"MR {mean}"
        )

    def segments(self, count):
        """A volume with boxes, bright (odd) or dark (even), and a segmentation of them: s1, s2, ..."""
        volume = self.volume(50)
        labels = np.zeros(SHAPE_KJI, np.uint8)
        for n in range(count):
            k, j, i = n // 100 * 3, n // 10 % 10 * 3, n % 10 * 3
            labels[k : k + 2, j : j + 2, i : i + 2] = n + 1
        voxels = slicer.util.arrayFromVolume(volume)
        voxels[labels > 0] = np.where(labels[labels > 0] % 2, 180, 20)
        scheme = LabelScheme(tuple(Label(n, f"s{n}", (0.2, 0.5, n / 256)) for n in range(1, count + 1)))
        written = write_segmentation(slicer.mrmlScene, labels, scheme, volume, run_id="r", model_id="m")
        return volume, slicer.mrmlScene.GetNodeByID(written.segmentation_node_id)

    def enqueue(self, **values):
        """The runs that the panel asks for with these values."""
        parameters = self.logic.getParameterNode()
        for name, value in {"scope": Scope.VOLUME, "visibleOnly": True, **values}.items():
            setattr(parameters, name, value)
        asked = self.logic.requestsFromParameters(parameters, load_card(self.model), str(self.model))
        self.leftOut = asked.leftOut
        return [self.logic.enqueue(request) for request in asked.requests]

    def classify(self, **values):
        """Run to the end."""
        (run,) = self.enqueue(**values)
        self.finish()
        return run

    def cells(self, table, *titles):
        """The texts of these columns, row by row."""
        columns = [table.GetColumnIndex(title) for title in titles]
        return [[table.GetCellText(row, column) for column in columns] for row in range(table.GetNumberOfRows())]
