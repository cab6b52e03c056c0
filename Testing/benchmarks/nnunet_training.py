"""nnU-Net trained for a given time, in the peers' environment; only that has what is imported here.

nnU-Net's own planning, preprocessing, augmentation, network and loss; its schedule counts a thousand epochs of 250
steps, which no CPU sees the end of. So that it is not measured in the middle of its schedule, its polynomial decay goes
by the time here: the learning rate is zero at the limit, as MedAI's is.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

_EPOCH_STEPS = 25  # what is looked at the clock after
_DATASET = 501


def prepare(dataset: str, folder: str, validation: list[str], threads: int) -> dict[str, Any]:
    """Piece: nnU-Net's raw folder with MedAI's split, planned and preprocessed by its own commands; returns seconds."""
    root = Path(folder)
    _folders(root)
    source = Path(dataset)
    raw = root / "raw" / f"Dataset{_DATASET:03d}_Hippocampus"
    about = json.loads((source / "dataset.json").read_text())
    names = []
    for entry in about["training"]:
        image, label = (source / entry[kind] for kind in ("image", "label"))
        if not label.is_file():
            continue
        name = image.name.split(".")[0]
        for path, target in (
            (image, raw / "imagesTr" / f"{name}_0000.nii.gz"),
            (label, raw / "labelsTr" / f"{name}.nii.gz"),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        names.append(name)
    labels = {text: int(value) for value, text in about["labels"].items()}
    described = {
        "channel_names": {"0": "MRI"},
        "labels": labels,
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(described))

    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    started = time.perf_counter()
    extract_fingerprints([_DATASET], num_processes=threads)
    plan_experiments([_DATASET])
    preprocess([_DATASET], configurations=["3d_fullres"], num_processes=[threads])
    seconds = time.perf_counter() - started
    held = set(validation)
    split = [{"train": [n for n in names if n not in held], "val": [n for n in names if n in held]}]
    (root / "preprocessed" / raw.name / "splits_final.json").write_text(json.dumps(split))
    return {"seconds": seconds, "cases": len(names), "validation": len(split[0]["val"])}


def train(folder: str, minutes: float, threads: int) -> dict[str, Any]:
    """Piece: train for so long and predict the validation cases; mean Dice by label, steps."""
    root = Path(folder)
    _folders(root)
    os.environ.update({"nnUNet_n_proc_DA": str(max(1, threads - 1)), "nnUNet_compile": "f"})
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.set_num_threads(threads)

    class Timed(nnUNetTrainer):
        """nnU-Net's trainer with an end by the clock."""

        started = 0.0

        def part(self) -> float:
            return min(1.0, (time.perf_counter() - self.started) / (60 * minutes))

        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - self.part()) ** 0.9

        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            if self.part() >= 1.0:
                self.num_epochs = self.current_epoch  # the loop's range is left through the exception below
                raise _Over

    preprocessed = root / "preprocessed" / f"Dataset{_DATASET:03d}_Hippocampus"
    trainer = Timed(
        json.loads((preprocessed / "nnUNetPlans.json").read_text()),
        "3d_fullres",
        0,
        json.loads((preprocessed / "dataset.json").read_text()),
        device=torch.device("cpu"),
    )
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = _EPOCH_STEPS, 1
    trainer.save_every = 1_000_000
    trainer.initialize()
    trainer.started = time.perf_counter()
    try:
        trainer.run_training()
    except _Over:
        trainer.on_train_end()
    trained_s = time.perf_counter() - trainer.started
    steps = trainer.current_epoch * _EPOCH_STEPS
    trainer.perform_actual_validation(False)
    summary = json.loads((Path(trainer.output_folder) / "validation" / "summary.json").read_text())
    by_label = {name: figures["Dice"] for name, figures in summary["mean"].items()}
    return {
        "steps": steps,
        "seconds": trained_s,
        "dice": sum(by_label.values()) / len(by_label),
        "labels": by_label,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "batch": trainer.batch_size,
    }


class _Over(Exception):
    """The time is over."""


def _folders(root: Path) -> None:
    # nnU-Net reads them when it is imported.
    for name, folder in (("nnUNet_raw", "raw"), ("nnUNet_preprocessed", "preprocessed"), ("nnUNet_results", "results")):
        os.environ[name] = str(root / folder)
        (root / folder).mkdir(parents=True, exist_ok=True)
