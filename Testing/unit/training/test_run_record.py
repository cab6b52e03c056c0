"""The beginning and the end of a run in its record, and what is asked of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from medai.client.training import TrainingRun
from medai.config.training import TrainConfig
from medai.config.training_run import Control, Launch, RunFiles, write_whole
from medai.dataset.cache import CaseArrays
from medai.errors import Cancelled, ConfigError, DatasetError, OutOfMemoryError
from medai.process_identity import ProcessIdentity
from medai.progress import Progress, never_cancelled
from medai.training import RunFolder
from medai.training.preview import write_preview
from medai.training.run_record import RunRecord, recorded
from medai.training.settings import TrainingSettings


def config(tmp_path: Path, **options: object) -> TrainConfig:
    return TrainConfig(dataset="data", output=str(tmp_path / "new" / "m.medai"), **options)  # type: ignore[arg-type]


def kinds(root: Path) -> list[str]:
    return [event["event"] for event in RunFolder(root).events()]


def test_done_paused_and_failed_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = TrainingRun(tmp_path / "run")
    with recorded(config(tmp_path), run.folder) as record:
        assert run.state() == "starting"
        record.stage("training")
        assert run.state() == "running"
        assert run.stage() == "training"
    assert run.state() == "paused"
    assert run.config().dataset == str(tmp_path / "data")  # it means the same from another folder
    assert (tmp_path / "new").is_dir()
    with pytest.raises(DatasetError), recorded(config(tmp_path, resume=True), run.folder):
        raise DatasetError("No case.", "Add some.")
    assert run.state() == "failed"
    assert str(run.error()) == "No case. Add some."
    with pytest.raises(Cancelled), recorded(config(tmp_path, resume=True), run.folder):
        raise Cancelled()
    assert run.state() == "paused"
    with recorded(config(tmp_path, resume=True), run.folder) as record:
        record.done(output="m.medai", steps=3)
    assert run.state() == "finished"
    assert run.result() is not None
    assert run.result()["steps"] == 3
    assert kinds(run.folder).count("begin") == 4


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_lack_of_memory_says_what_to_change(tmp_path: Path, error: Exception) -> None:
    run = TrainingRun(tmp_path / "run")
    with pytest.raises(OutOfMemoryError), recorded(config(tmp_path), run.folder):
        raise error
    found = run.error()
    assert found is not None
    assert found.code == "memory"
    assert "smaller patch" in found.remedy


def test_a_defect_is_in_the_record_and_raised_as_it_was(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), recorded(config(tmp_path), run.folder):
        _ = 1 / 0
    assert "ZeroDivisionError" in str(run.error())


def test_a_folder_with_an_earlier_run_is_not_touched(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with recorded(config(tmp_path), root) as record:
        write_whole(root / "config.json", {})
        record.done()
    before = (root / "progress.jsonl").read_bytes(), (root / "train.json").read_bytes()
    with pytest.raises(ConfigError, match="earlier run"), recorded(config(tmp_path), root):
        pytest.fail("it was begun")
    assert ((root / "progress.jsonl").read_bytes(), (root / "train.json").read_bytes()) == before


def test_pause_and_stop_are_seen_and_older_wishes_are_not(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    write_whole(files.control, Control("pause", time.time() - 5))
    record = RunRecord(RunFolder(tmp_path))
    assert not record.interrupted(never_cancelled)()
    # A process that was launched obeys what was asked since its launch, even before it looked for the first time.
    identity = ProcessIdentity.current()
    write_whole(files.launch, Launch(os.getpid(), identity.started, time.time() - 10))
    record = RunRecord(RunFolder(tmp_path))
    assert record.interrupted(never_cancelled)()
    assert not record.stop_asked()
    write_whole(files.control, Control("stop", time.time()))
    record = RunRecord(RunFolder(tmp_path))
    assert record.stop_asked()
    assert not record.interrupted(never_cancelled)()
    assert record.interrupted(lambda: True)()


def test_preparing_tells_how_far_it_is(tmp_path: Path) -> None:
    record = RunRecord(RunFolder(tmp_path))
    seen: list[Progress] = []
    report = record.told(seen.append, "preparing")
    for n in range(50):
        report(Progress(n / 100, "checking"))
    assert len(seen) == 50
    assert [e.get("fraction") for e in RunFolder(tmp_path).events()] == [0.0]  # every other second, not each time


def settings(**options: object) -> TrainingSettings:
    from medai.config.model_card import NetworkSpec

    return TrainingSettings(
        network=NetworkSpec("unet", {}), label_names=("a", "b"), patch=(8, 8, 8), spacing_mm=(3.0, 1.5, 0.5),
        training_cases=("x",), validation_cases=("y",), steps=3, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_large_preview_is_cut_to_the_reference_and_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medai.training.preview._MOST_VOXELS", 1000)
    labels = np.zeros((60, 70, 80), np.uint8)
    labels[30:33, 40:44, 50:55] = 2
    image = np.random.default_rng(0).normal(0, 1, (2, *labels.shape)).astype(np.float16)
    image[:, labels > 0] = 9
    folder = RunFolder(tmp_path)
    write_preview(folder, settings(), 7, CaseArrays(image, labels, {}), (labels > 0).astype(np.int16))
    with np.load(folder.preview, allow_pickle=False) as found:
        assert found["image"].shape == (2, 51, 52, 53)
        assert found["reference"].sum() == labels.sum()
        # Voxel (k, j, i) of the cut lies where it lay: R from i, A from j, S from k.
        k, j, i = np.argwhere(found["reference"] == 2)[0]
        assert found["ijk_to_ras"] @ [i, j, k, 1] == pytest.approx([50 * 0.5, 40 * 1.5, 30 * 3.0, 1])
        assert found["image"][:, k, j, i].tolist() == [255, 255]
        assert json.loads(str(found["about"])) == {"case": "y", "step": 7}
    assert folder.events() == [{**folder.events()[0], "event": "preview", "step": 7, "file": "preview.npz"}]


def test_a_preview_that_cannot_be_written_does_not_end_the_training(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    folder = RunFolder(tmp_path)
    folder.preview.mkdir()  # in its way
    write_preview(folder, settings(), 1, CaseArrays(labels[None], labels, {}), labels)
    assert folder.events() == []
    assert not list(tmp_path.glob("*.part"))
