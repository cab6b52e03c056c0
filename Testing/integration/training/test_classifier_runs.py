"""Classifiers are trained in run folders of the same kind: paused, gone on with, stopped early."""

from __future__ import annotations

import time
from pathlib import Path

from classification_phantoms import BALL_CLASSES, ball_image

from medai import train
from medai.client.training import TrainingRun
from medai.config.training import TrainConfig
from medai.config.training_run import Control, write_whole
from medai.imageio import write_image
from medai.models import open_model


def test_a_classifier_is_paused_resumed_and_stopped_early(tmp_path: Path) -> None:
    for number in range(12):
        image, _ = ball_image(number, shape=(1, 24, 25))
        folder = tmp_path / "data" / BALL_CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"case{number}.nrrd", image)
    run = TrainingRun(tmp_path / "run")
    config = TrainConfig(
        dataset=str(tmp_path / "data"), output=str(tmp_path / "m.medai"), task="classification", device="cpu",
        run_folder=str(run.folder), network="seed_cnn", epochs=100_000, batch_size=2,
    )  # fmt: skip

    def asking(what: str) -> train.TrainResult:
        """Run, and ask for `what` once a few steps were done."""

        def look() -> bool:
            if run.stage() == "training" and run.asked() is None:
                write_whole(run.files.control, Control(what, time.time()))  # type: ignore[arg-type]
            return False

        stored = config if not run.files.options.is_file() else TrainConfig(**{**vars(config), "resume": True})
        return train.run_classification(stored, cancelled=look)  # type: ignore[return-value]

    paused = asking("pause")
    assert not paused.finished
    assert run.state() == "paused"
    assert not run.files.control.exists()
    stopped = asking("stop")
    assert stopped.finished
    assert stopped.steps >= paused.steps
    assert run.state() == "finished"
    assert open_model(tmp_path / "m.medai").card.task == "classify"
    assert [e["event"] for e in run.events() if e["event"] in ("begin", "paused", "done")] == [
        "begin", "paused", "begin", "done",
    ]  # fmt: skip
