"""The MedAI Train panel on the real MRML library and real Qt; what trains is a stand-in but for one test."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from host.event_loop import StallMonitor, pump
from widgets.train_panel import click, open_train_panel


@pytest.fixture
def panel(host, module_widget, tmp_path):
    """The panel with a stand-in for the training; afterwards no process of it may run."""
    opened = open_train_panel(host, module_widget, tmp_path)
    yield opened
    from medai.client.training import known_runs

    for run in known_runs(opened.project / "runs"):
        run.kill()
    opened.widget.cleanup()


def count(class_name):
    import slicer

    return slicer.mrmlScene.GetNumberOfNodesByClass(class_name)


def column(table, number):
    return [table.item(row, number).text() for row in range(table.rowCount)]


def test_suggestions_alone_lead_from_a_scene_to_an_installed_model(panel):
    """Every step is told at the top, and its button does it."""
    assert "cases that are labelled" in panel.next_step
    panel.add_cases(3)
    panel.make_dataset()
    assert panel.widget.openStep() == "plan"
    panel.wait(lambda: panel.widget.steps["plan"].summary is not None)
    assert "6 min 30 s" in panel.ui.planBrowser.plainText
    assert "liver, vessel" in panel.ui.planBrowser.plainText
    assert "32 x 48 x 48" in panel.ui.patchLineEdit.placeholderText
    assert "Next: train" in panel.next_step
    panel.press_next()
    panel.press_next()  # start
    panel.wait(lambda: panel.run_state() == "finished")
    pump(50)
    panel.press_next()
    assert panel.widget.openStep() == "evaluate"
    panel.press_next()  # evaluate
    panel.wait(lambda: panel.widget.steps["evaluate"].report is not None)
    assert column(panel.ui.meansTable, 0) == ["liver", "vessel"]
    panel.press_next()  # use it
    assert "Installed as 'liver'" in panel.ui.statusLabel.text
    from MedAICoreLib.model_selector import ModelCatalog, listInstalledModels
    from MedAICoreLib.settings import Settings

    catalog = ModelCatalog(lambda: listInstalledModels(Settings().modelFolder()), "segment")
    catalog.refresh()
    assert catalog.find("liver").card.title == "Liver"


def test_cases_and_structures_are_edited_in_the_tables(panel):
    panel.add_cases(3)
    click(panel.ui.sceneCasesButton)
    cases = panel.widget.logic.cases
    assert column(panel.ui.casesTable, 1) == ["patient 1", "patient 2", "patient 3"]
    panel.ui.casesTable.item(0, 1).setText("A")
    panel.ui.casesTable.item(0, 2).setText("somebody")
    assert (cases.entries[0].case.name, cases.entries[0].case.patient) == ("A", "somebody")
    panel.ui.casesTable.item(1, 1).setText("A")  # taken: told, and put back
    assert "already" in panel.ui.statusLabel.text
    assert panel.ui.casesTable.item(1, 1).text() == "patient 2"
    import qt

    panel.ui.casesTable.item(2, 0).setCheckState(qt.Qt.Unchecked)
    assert len(cases.used) == 2
    assert "2 of 3 cases, 2 patients" in panel.ui.casesSummaryLabel.text
    assert column(panel.ui.labelsTable, 2) == ["2 / 2", "2 / 2"]
    panel.ui.labelsTable.item(0, 1).setText("organ")
    assert [row.name for row in cases.labels.rows] == ["organ", "vessel"]
    panel.widget.steps["data"].setLabelColor(["vessel"], (0.0, 1.0, 0.0))
    assert cases.labels.rows[1].color == (0.0, 1.0, 0.0)
    panel.ui.labelsTable.item(1, 0).setCheckState(qt.Qt.Unchecked)
    assert [row.name for row in cases.labels.used] == ["organ"]
    panel.ui.labelsTable.item(1, 0).setCheckState(qt.Qt.Checked)
    panel.ui.labelsTable.selectAll()
    click(panel.ui.mergeLabelsButton)
    assert [row.name for row in cases.labels.rows] == ["organ"]


def test_images_of_a_case_are_chosen_in_the_table(panel):
    volumes = panel.add_cases(2)
    click(panel.ui.sceneCasesButton)
    panel.ui.channelsSpinBox.value = 2
    box = panel.ui.casesTable.cellWidget(0, 4)
    assert box.itemText(2) == "patient 2"
    box.currentIndex = 2
    box.activated.emit(2)
    assert panel.widget.logic.cases.entries[0].case.volume_ids == (volumes[0].GetID(), volumes[1].GetID())


def test_findings_select_their_case_and_errors_stop_the_export(panel):
    import slicer

    panel.add_cases(2)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing drawn")
    click(panel.ui.sceneCasesButton)
    click(panel.ui.checkButton)
    panel.wait()
    report = panel.widget.logic.cases.report
    assert any(finding.case == "nothing drawn" and finding.severity == "error" for finding in report.findings)
    rows = [panel.ui.findingsList.item(n) for n in range(panel.ui.findingsList.count)]
    item = next(item for item in rows if "nothing drawn" in item.text())
    panel.ui.findingsList.itemClicked.emit(item)
    assert panel.ui.casesTable.item(panel.ui.casesTable.currentRow(), 1).text() == "nothing drawn"
    assert panel.ui.statusLabel.text  # what can be done
    assert "Mend" in panel.next_step
    click(panel.ui.exportButton)
    assert "Failed" in panel.ui.statusLabel.text
    assert not (panel.project / "dataset").exists()
    click(panel.ui.removeCaseButton)
    assert empty.GetID() not in [entry.case.segmentation_id for entry in panel.widget.logic.cases.entries]


def test_saved_scenes_are_added_without_touching_the_open_one(panel, tmp_path):
    import slicer

    from medai.mrml import save_scene_mrb

    panel.add_cases(2)
    save_scene_mrb(slicer.mrmlScene, tmp_path / "saved.mrb")
    slicer.mrmlScene.Clear(0)
    panel.widget.enter()
    (tmp_path / "broken.mrb").write_bytes(b"no zip")
    panel.widget.steps["data"].addFolder(tmp_path)
    panel.wait()
    assert count("vtkMRMLSegmentationNode") == 0
    assert len(panel.widget.logic.cases.entries) == 2
    assert "broken.mrb" in panel.ui.statusLabel.text
    panel.parameters.projectFolder = str(panel.project)
    click(panel.ui.checkButton)
    panel.wait()
    click(panel.ui.exportButton)
    panel.wait()
    labels = json.loads((Path(panel.parameters.dataset) / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "liver": 1, "vessel": 2}


def cancel_once_it_moves(panel, monkeypatch) -> None:
    """Press Cancel from within the job: on a fast machine all of it would be written in its first slice."""
    monkeypatch.setattr("MedAITrainLib.jobs.SLICE_S", 0.0)
    run = panel.widget.run

    def run_and_cancel(job) -> None:
        advance = job.advance

        def advance_and_cancel() -> bool:
            goes_on = advance()
            if job.fraction > 0 and panel.widget.job is job:
                assert panel.ui.exportButton.text == "Cancel"
                click(panel.ui.exportButton)
            return goes_on

        job.advance = advance_and_cancel
        run(job)

    monkeypatch.setattr(panel.widget, "run", run_and_cancel)


def test_export_is_cancelled_without_a_trace_and_never_stalls_the_window(panel, monkeypatch):
    panel.add_cases(6)
    click(panel.ui.sceneCasesButton)
    with StallMonitor() as stalls:
        cancel_once_it_moves(panel, monkeypatch)
        click(panel.ui.exportButton)
        panel.wait()
        pump(30)
    assert stalls.gaps_ms
    assert "Cancelled" in panel.ui.statusLabel.text
    assert not panel.parameters.dataset
    assert list(panel.project.iterdir()) == []


def test_changed_cases_need_a_new_data_set(panel):
    panel.add_cases(2)
    panel.make_dataset()
    panel.widget.goTo("data")
    panel.ui.casesTable.item(0, 2).setText("another patient")
    assert panel.parameters.dataset == ""


def test_options_reach_the_plan_and_the_training(panel):
    panel.add_cases(2)
    panel.make_dataset()
    plan = panel.widget.steps["plan"]
    panel.wait(lambda: plan.summary is not None)
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.ui.spacingLineEdit.text = "3 1 1"
    panel.ui.batchSizeSpinBox.value = 4
    panel.ui.lossComboBox.currentIndex = 4
    panel.ui.blocksComboBox.currentIndex = 2
    panel.ui.rotationSpinBox.value = 20
    panel.ui.normalizationComboBox.currentIndex = 1
    panel.ui.normalizationComboBox.activated.emit(1)
    assert not plan.current
    assert "changed" in panel.ui.planBrowser.plainText
    config = panel.widget.logic.config(panel.parameters)
    assert (config.spacing_mm, config.batch_size, config.loss) == ((3.0, 1.0, 1.0), 4, "focal")
    assert (config.blocks, config.rotation_degrees, config.normalization) == ("residual", 20.0, "zscore")
    arguments = panel.widget.logic.planArguments(panel.parameters)
    assert arguments[arguments.index("--spacing") + 1] == "3,1,1"
    panel.ui.spacingLineEdit.text = "wide"
    assert "wide" in panel.next_step
    assert not panel.ui.planButton.enabled


def test_run_is_watched_paused_resumed_and_stopped(panel):
    panel.add_cases(2)
    panel.make_dataset()
    panel.ui.stepsSpinBox.value = 100_000
    panel.widget.goTo("train")
    click(panel.ui.startButton)
    panel.wait(lambda: len(panel.widget.steps["train"].charts) == 3)
    train = panel.widget.steps["train"]
    assert "loss" in panel.ui.runStatusLabel.text
    assert "GB of memory" in panel.ui.runStatusLabel.text
    assert train.chartFrame.chart is train.charts[0]
    assert not panel.ui.startButton.enabled
    panel.wait(lambda: train.view.preview.shown)
    assert count("vtkMRMLSegmentationNode") == 4
    panel.ui.showPreviewCheckBox.click()
    assert count("vtkMRMLSegmentationNode") == 2
    click(panel.ui.pauseButton)
    panel.wait(lambda: panel.run_state() == "paused")
    pump(20)
    assert panel.ui.startButton.text == "Resume"
    step = train.view.last("step", "step")
    panel.press_next()
    panel.wait(lambda: train.view.last("step", "step") > step)
    assert panel.run_state() == "running"
    click(panel.ui.stopButton)
    panel.wait(lambda: panel.run_state() == "finished")
    assert panel.ui.runComboBox.count == 2


def test_run_is_found_again_and_an_error_is_told_with_its_remedy(panel, module_widget):
    panel.add_cases(2)
    panel.make_dataset()
    dataset = Path(panel.parameters.dataset)
    panel.widget.goTo("train")
    (dataset / "dataset.json").rename(dataset.parent / "away.json")
    moved = dataset.rename(dataset.parent / "moved")
    moved.mkdir(exist_ok=True)
    panel.parameters.dataset = str(moved)
    panel.widget.logic.startRun(panel.parameters)
    panel.wait(lambda: panel.run_state() == "finished")
    run_folder = panel.parameters.runFolder
    import slicer

    slicer.mrmlScene.Clear(0)  # the run has its folder, not the scene
    panel.widget.enter()
    assert panel.widget.steps["train"].view is None
    panel.parameters.projectFolder = str(panel.project)
    panel.widget.goTo("train")
    assert panel.ui.runComboBox.count == 2
    panel.ui.runComboBox.currentIndex = 1
    panel.ui.runComboBox.activated.emit(1)
    assert panel.parameters.runFolder == run_folder
    assert panel.run_state() == "finished"
    assert len(panel.widget.steps["train"].charts) == 3
    options = json.loads((Path(run_folder) / "train.json").read_text())
    failing = Path(run_folder).with_name("failing")
    failing.mkdir()
    (failing / "train.json").write_text(json.dumps({**options, "dataset": str(dataset / "gone")}))
    panel.parameters.runFolder = str(failing)
    click(panel.ui.startButton)
    panel.wait(lambda: panel.run_state() == "failed")
    pump(20)
    assert "The data set is gone." in panel.ui.runStatusLabel.text
    assert "Make it again." in panel.ui.runStatusLabel.text


def test_closing_slicer_asks_what_becomes_of_the_run(panel, host):
    panel.add_cases(2)
    panel.make_dataset()
    panel.ui.stepsSpinBox.value = 100_000
    panel.widget.goTo("train")
    click(panel.ui.startButton)
    panel.wait(lambda: panel.run_state() == "running")
    guard, answers = panel.widget.steps["train"].guard, []
    panel.widget.exit()  # it is asked from any module
    for answer, closes in (("stay", False), ("go on", True), ("pause", True)):
        guard.ask = lambda names, answer=answer: answers.append(names) or answer
        assert guard.onClose() is closes
    assert answers == [["liver"]] * 3
    host.app.emit("aboutToQuit()")
    panel.widget.enter()
    panel.wait(lambda: panel.run_state() == "paused")
    assert guard.onClose()  # nothing is asked where nothing runs


def test_evaluation_is_shown_saved_and_its_worst_case_loaded(panel, tmp_path):
    import slicer

    panel.add_cases(3)
    panel.make_dataset()
    panel.widget.logic.startRun(panel.parameters)
    panel.wait(lambda: panel.run_state() == "finished")
    panel.widget.goTo("evaluate")
    ui, step = panel.ui, panel.widget.steps["evaluate"]
    click(ui.evaluateButton)
    panel.wait(lambda: step.report is not None)
    assert ui.meansTable.rowCount == 2
    figures = [float(text) for text in column(ui.worstTable, 2)]
    assert figures == sorted(figures)
    ui.metricComboBox.currentIndex = 1
    ui.metricComboBox.activated.emit(1)
    figures = [float(text) for text in column(ui.worstTable, 2)]
    assert figures == sorted(figures, reverse=True)
    assert step.chartFrame.chart.GetYAxisTitle() == "HD95 (mm)"
    step.saveCsv(tmp_path / "figures.csv")
    assert (tmp_path / "figures.csv").read_text().startswith("case,label,dice")
    before = count("vtkMRMLSegmentationNode")
    worst = ui.worstTable.item(0, 0).text()
    ui.worstTable.cellClicked.emit(0, 0)
    assert count("vtkMRMLSegmentationNode") == before + 2
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert f"{worst} reference" in names
    assert f"{worst} prediction" in names
    loaded = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetName() == worst)
    assert loaded.GetStorageNode() is None  # saving the scene leaves the data set as it is
    ui.worstTable.cellClicked.emit(2, 0)  # in the place of the one before
    assert count("vtkMRMLSegmentationNode") == before + 2
    click(ui.showReportTableButton)
    table = slicer.mrmlScene.GetNodeByID(slicer.app.applicationLogic().GetSelectionNode().GetActiveTableID())
    assert table.GetNumberOfRows() == 6


def test_two_evaluations_are_compared(panel):
    panel.add_cases(3)
    panel.make_dataset()
    panel.widget.logic.startRun(panel.parameters)
    panel.wait(lambda: panel.run_state() == "finished")
    panel.widget.goTo("evaluate")
    ui, step = panel.ui, panel.widget.steps["evaluate"]
    click(ui.evaluateButton)
    panel.wait(lambda: step.report is not None)
    ui.evaluatedCasesComboBox.currentIndex = 1
    first = step.report
    click(ui.evaluateButton)
    panel.wait(lambda: step.report is not first)
    assert (panel.project / "evaluations" / "liver" / "evaluation.json").is_file()
    ui.comparedReportComboBox.currentIndex = 1
    ui.comparedReportComboBox.activated.emit(1)
    panel.wait(lambda: bool(ui.comparisonLabel.text))
    assert "+0.020" in ui.comparisonLabel.text


def test_files_that_are_no_evaluation_are_told(panel, tmp_path):
    step = panel.widget.steps["evaluate"]
    panel.widget.goTo("evaluate")
    (tmp_path / "other.json").write_text("[1]")
    for name in ("other.json", "none.json"):
        step.openReport(tmp_path / name)
        assert name in panel.ui.statusLabel.text
    (tmp_path / "figures.csv").write_text("case,label,dice,hd95_mm\na,liver,0.9,2.5\nb,liver,,\n")
    step.openReport(tmp_path / "figures.csv")
    assert step.report.name == "figures"
    assert column(panel.ui.worstTable, 0) == ["b", "a"]


def test_model_is_saved_as_one_file(panel, tmp_path):
    from medai.models import open_package

    panel.add_cases(2)
    panel.make_dataset()
    panel.widget.logic.startRun(panel.parameters)
    panel.wait(lambda: panel.run_state() == "finished")
    panel.widget.goTo("evaluate")
    panel.widget.steps["evaluate"].saveModel(tmp_path / "copy.medai")
    assert open_package(tmp_path / "copy.medai").card.title == "Liver"
    panel.widget.steps["evaluate"].saveModel(tmp_path / "no folder" / "copy.medai")
    assert "no folder" in panel.ui.statusLabel.text


def test_a_classifier_is_trained_from_a_folder_and_evaluated(panel, tmp_path):
    """Its data set is a folder with a folder for each class; there is no plan, and its curves are its evaluation."""
    for name in ("ill", "well"):
        (tmp_path / "classes" / name).mkdir(parents=True)
    panel.ui.taskComboBox.currentIndex = 1
    assert panel.ui.sceneCasesButton.isHidden()
    assert panel.ui.addFilesButton.text == "Table..."
    assert "folder of images for each class" in panel.next_step
    panel.widget.steps["data"].addFolder(tmp_path / "classes")
    assert panel.parameters.dataset == str(tmp_path / "classes")
    panel.press_next()
    assert panel.ui.planButton.isHidden()
    panel.press_next()
    panel.press_next()  # start
    panel.wait(lambda: panel.run_state() == "finished")
    assert json.loads((Path(panel.parameters.runFolder) / "train.json").read_text())["task"] == "classification"
    panel.widget.goTo("evaluate")
    step = panel.widget.steps["evaluate"]
    click(panel.ui.evaluateButton)
    panel.wait(lambda: step.chartFrame.chart is not None)
    assert "AUC 0.900" in panel.ui.statusLabel.text
    assert step.chartFrame.chart.GetTitle() == "liver ROC"


@pytest.mark.slow
def test_real_training_from_saved_scenes_to_a_model_that_the_segmentation_module_lists(host, module_widget, tmp_path):
    """Scenes on disk -> data set -> plan -> train -> evaluate -> install -> MedAI Segmentation, with `medai` itself."""
    pytest.importorskip("torch")
    import slicer

    from medai.mrml import save_scene_mrb

    panel = open_train_panel(host, module_widget, tmp_path, standin=False)
    panel.widget.logic.requestDevices = lambda onDevices: None  # a worker process that is not looked at here
    (tmp_path / "scenes").mkdir()
    panel.add_phantoms(6)
    save_scene_mrb(slicer.mrmlScene, tmp_path / "scenes" / "phantoms.mrb")
    slicer.mrmlScene.Clear(0)
    panel.widget.enter()
    panel.parameters.projectFolder, panel.parameters.modelName = str(panel.project), "Phantom organ"
    panel.parameters.patch, panel.parameters.width, panel.parameters.steps = "16 32 32", 8, 60
    panel.parameters.batchSize, panel.parameters.depth, panel.parameters.device = 2, 3, "cpu"
    panel.widget.steps["data"].addFolder(tmp_path / "scenes")
    panel.wait()
    panel.press_next()  # check
    panel.wait()
    panel.press_next()  # write
    panel.wait()
    assert panel.parameters.dataset, panel.ui.statusLabel.text
    panel.wait(lambda: panel.widget.steps["plan"].process is None)
    assert panel.widget.steps["plan"].summary["labels"] == ["organ", "lesion"], panel.ui.statusLabel.text
    panel.press_next()
    panel.press_next()  # start
    panel.wait(lambda: panel.run_state() not in ("starting", "running"))
    assert panel.run_state() == "finished", panel.ui.runStatusLabel.text
    assert len(panel.widget.steps["train"].charts) == 3
    pump(20)
    panel.press_next()
    step = panel.widget.steps["evaluate"]
    if step.report is None:
        panel.press_next()  # evaluate
        panel.wait(lambda: step.process is None)
    assert step.report is not None, panel.ui.statusLabel.text
    assert step.report.labels == ["organ", "lesion"]
    assert step.report.mean("organ", "dice") > 0.3
    panel.ui.worstTable.cellClicked.emit(0, 0)
    assert count("vtkMRMLSegmentationNode") >= 2, panel.ui.statusLabel.text
    panel.press_next()  # use it
    assert "Installed" in panel.ui.statusLabel.text
    seg = module_widget("MedAISeg")
    titles = [seg.ui.modelList.item(n).text() for n in range(seg.ui.modelList.count)]
    assert "Phantom organ" in titles
    panel.widget.cleanup()


def test_without_an_environment_the_banner_says_so(panel):
    from MedAICoreLib.settings import Settings

    panel.add_cases(2)
    panel.make_dataset()
    panel.wait(lambda: panel.widget.steps["plan"].process is None)
    Settings().setInterpreter("/nowhere/python")
    panel.widget.updateState()
    assert "/nowhere/python" in panel.next_step
    assert not panel.ui.planButton.enabled
    panel.widget.goTo("train")
    assert not panel.ui.startButton.enabled


@pytest.mark.parametrize("width", [350, 600])
def test_pictures_of_the_steps(panel, tmp_path, width):
    folder = os.environ.get("MEDAI_SCREENSHOTS") or str(tmp_path)
    pictures = [panel.picture(folder, "empty", width)]
    panel.add_cases(4)
    panel.make_dataset()
    panel.wait(lambda: panel.widget.steps["plan"].summary is not None)
    for name in ("data", "plan"):
        panel.widget.goTo(name)
        pictures.append(panel.picture(folder, name, width))
    panel.widget.goTo("train")
    click(panel.ui.startButton)
    panel.wait(lambda: panel.run_state() == "finished")
    for name in ("train", "evaluate"):
        panel.widget.goTo(name)
        pictures.append(panel.picture(folder, name, width))
    assert len({path.read_bytes() for path in pictures}) == 5
