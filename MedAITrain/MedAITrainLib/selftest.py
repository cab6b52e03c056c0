"""The module's self-test, the same in Slicer (Reload and Test, ctest) and outside of it. Needs no torch, no files."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from medai.errors import ConfigError, DatasetError
from medai.image import Image
from medai.labels import Code, Label, LabelScheme, Terminology
from medai.mrml import volume_from_image, write_segmentation
from MedAICoreLib.environment_setup import slicerPython
from MedAICoreLib.selftest_case import obliqueMatrix
from MedAICoreLib.settings import Settings
from MedAITrainLib import standin_training
from MedAITrainLib.evaluation import readReport, writeCsv
from MedAITrainLib.logic import MedAITrainLogic
from MedAITrainLib.run_view import RunView

SHAPE_KJI = (9, 21, 17)
TISSUE = Code("SCT", "85756007", "Tissue")
ATRIUM = Terminology(TISSUE, Code("SCT", "59652004", "Atrium"))
# Far more than any of these processes needs on a busy machine.
LIMIT_S = 120.0


class MedAITrainTest(ScriptedLoadableModuleTest):
    """From labelled nodes to a model, with a stand-in for the process that trains."""

    def setUp(self):
        """An empty scene, a project folder, a model folder of its own."""
        slicer.mrmlScene.Clear(0)
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, True)
        modelFolder = Settings().modelFolder()
        self.addCleanup(Settings().setModelFolder, modelFolder)
        Settings().setModelFolder(str(self.folder / "library"))
        self.logic = MedAITrainLogic(lambda: standin_training.command(slicerPython()))
        self.parameters = self.logic.getParameterNode()
        self.parameters.projectFolder = str(self.folder / "project")
        self.parameters.modelName = "Atria"
        self.parameters.steps = 40

    def runTest(self):
        """All tests, one after the other, each in a scene of its own."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            getattr(self, name)()
            self.doCleanups()

    def test_cases_of_the_scene_become_a_data_set(self):
        self.addCases(3)
        self.assertEqual(self.logic.findSceneCases(), 3)
        self.assertEqual([row.name for row in self.logic.cases.labels.rows], ["left atrium", "vessel"])
        self.logic.cases.rename_label("left atrium", "atrium")
        self.logic.cases.use(2, False)
        self.assertEqual(self.logic.cases.labels.rows[0].name, "atrium")  # the edit stays
        report = self.finish(self.logic.checkCases())
        self.assertEqual(report.errors, ())
        result = self.finish(self.logic.exportDataset(self.parameters))
        self.assertEqual(len(list((result.folder / "labels").iterdir())), 2)
        self.parameters.dataset = str(result.folder)
        self.assertEqual(list(self.logic.labelColors(self.parameters)), ["atrium", "vessel"])
        again = self.finish(self.logic.exportDataset(self.parameters))
        self.assertNotEqual(again.folder, result.folder)  # an earlier data set stays

    def test_labels_are_merged_and_left_out(self):
        self.addCases(2)
        self.logic.findSceneCases()
        self.logic.cases.merge_labels(["left atrium", "vessel"])
        self.assertEqual(len(self.logic.cases.labels.used), 1)
        self.logic.cases.ignore_label("left atrium", True)
        report = self.finish(self.logic.checkCases())
        self.assertTrue(report.errors)
        with self.assertRaises(DatasetError):
            self.finish(self.logic.exportDataset(self.parameters))

    def test_what_is_missing_is_told(self):
        self.assertIn("no data set", self.logic.problem(self.parameters))
        self.parameters.dataset = str(self.folder / "gone")
        self.assertIn("is gone", self.logic.problem(self.parameters))
        self.parameters.dataset = str(self.folder)
        self.parameters.modelName = "  "
        self.assertIn("name", self.logic.problem(self.parameters))
        self.parameters.modelName = "Atria"
        self.parameters.patch = "12 twelve"
        self.assertIn("12 twelve", self.logic.problem(self.parameters))
        self.parameters.patch = "12 24 24"
        self.assertEqual(self.logic.problem(self.parameters), "")
        self.assertIn("--patch", self.logic.planArguments(self.parameters))

    def test_run_is_planned_trained_evaluated_and_installed(self):
        self.makeDataset()
        plan = self.logic.startPlan(self.parameters)
        self.waitFor(lambda: not plan.poll())
        self.assertEqual(plan.value()["labels"], ["left atrium", "vessel"])
        run = self.logic.startRun(self.parameters)
        with self.assertRaises(ConfigError):
            self.logic.startRun(self.parameters)  # one at a time
        view = RunView(run, slicer.mrmlScene)
        self.waitFor(lambda: view.update() and view.state == "finished")
        self.assertEqual(view.fraction, 1.0)
        charts = view.drawCurves()
        self.assertEqual(len(charts), 3)
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        view.drawCurves()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)  # updated in place
        (_title, model), *_others = self.logic.models(self.parameters)
        self.assertIsNone(self.logic.ownReport(self.parameters, model))
        evaluation, folder = self.logic.startEvaluation(self.parameters, model, onAll=False)
        self.waitFor(lambda: not evaluation.poll())
        report = self.logic.keepReport(folder)
        self.assertEqual(self.logic.ownReport(self.parameters, model), report)
        self.assertEqual(len(report.cases), 3)
        chart = self.logic.boxPlot(report, "dice")
        self.assertEqual(chart.GetNumberOfPlotSeriesNodes(), 4)
        self.assertEqual(self.logic.reportTable(report).GetNumberOfRows(), 6)
        writeCsv(report, self.folder / "figures.csv")
        self.assertEqual(readReport(self.folder / "figures.csv").cases, report.cases)
        self.assertEqual(self.logic.install(model), "atria")
        self.assertIn("Atria", [entry.card.title for entry in self.logic.installedModels(self.parameters)])
        self.logic.export(model, self.folder / "copy.medai")
        self.assertEqual(self.logic.userModule(self.folder / "copy.medai"), "MedAISeg")

    def test_run_is_paused_found_again_resumed_and_stopped(self):
        self.makeDataset()
        self.parameters.steps = 100_000
        run = self.logic.startRun(self.parameters)
        self.addCleanup(run.kill)
        self.waitFor(lambda: any(e.get("event") == "step" for e in run.events()))
        run.pause()
        self.waitFor(lambda: run.state() == "paused")
        (found,) = MedAITrainLogic().runs(self.parameters)  # as after a restart of Slicer
        before = max(e["step"] for e in found.events() if e["event"] == "step")
        self.logic.resumeRun(found)
        self.waitFor(lambda: max(e["step"] for e in found.events() if e["event"] == "step") > before)
        steps = [e["step"] for e in found.events() if e["event"] == "step"]
        self.assertEqual(len(steps), len(set(steps)))
        found.stop()
        self.waitFor(lambda: found.state() == "finished")
        self.assertTrue(Path(found.config().output).is_file())

    def test_preview_is_shown_and_updated_in_place(self):
        self.makeDataset()
        run = self.logic.startRun(self.parameters)
        self.waitFor(lambda: run.state() == "finished")
        view = RunView(run, slicer.mrmlScene)
        view.update()
        self.assertTrue(view.showPreview({}))
        self.assertFalse(view.showPreview({}))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 5)
        self.assertEqual(self.logic.findSceneCases(), 3)  # the preview is no labelled case
        view.close()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 3)

    # What the tests are made of

    def addCases(self, count):
        """Volumes with a coded and an uncoded segment each, on an oblique, anisotropic grid."""
        for number in range(count):
            labels = np.zeros(SHAPE_KJI, np.uint8)
            labels[2:6, 4 + number : 12 + number, 3:9] = 1
            labels[2:6, 4:12, 11:15] = 2
            voxels = np.random.default_rng(number).normal(50, 5, SHAPE_KJI) + 60.0 * labels
            matrix = obliqueMatrix()
            volume = volume_from_image(
                slicer.mrmlScene, Image(voxels[None].astype(np.float32), matrix), f"patient {number}"
            )
            scheme = LabelScheme(
                (Label(1, "left atrium", (0.9, 0.2, 0.2), ATRIUM), Label(2, "vessel", (0.2, 0.4, 0.9)))
            )
            write_segmentation(slicer.mrmlScene, labels, scheme, volume, run_id="r", name=f"drawn {number}")

    def makeDataset(self):
        """A data set of three cases."""
        self.addCases(3)
        self.logic.findSceneCases()
        self.parameters.dataset = str(self.finish(self.logic.exportDataset(self.parameters)).folder)

    def finish(self, steps):
        """What a generator returns."""
        while True:
            try:
                fraction = next(steps)
            except StopIteration as stopped:
                return stopped.value
            self.assertTrue(0.0 <= fraction <= 1.0)

    def waitFor(self, condition):
        """Look again until it holds."""
        end = time.monotonic() + LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), end, "It took too long.")
            time.sleep(0.02)
