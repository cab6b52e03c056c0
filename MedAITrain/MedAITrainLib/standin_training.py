"""A stand-in for the command line `medai` without torch: it writes real run folders, plans, reports and packages.

For the self-test and the widget tests, which look at the panel and not at learning: ``train --run-folder FOLDER
--resume``, ``plan``, ``evaluate`` and ``compare`` with the arguments that `medai` takes.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

STEPS, EVERY, VALIDATE_EVERY = 40, 2, 10
STEP_S = 0.01
SHAPE_KJI = (9, 21, 17)


def command(python: str) -> list[str]:
    """How it is run by this interpreter: append the arguments."""
    folder = str(Path(__file__).resolve().parents[1])
    program = f"import sys; sys.path.insert(0, {folder!r}); from MedAITrainLib import standin_training as standin; "
    return [python, "-s", "-X", "utf8", "-c", program + "sys.exit(standin.main(sys.argv[1:]))"]


def main(arguments: list[str]) -> int:
    """Do what the command says; the result is a JSON line."""
    sys.path.insert(0, _packageRoot())
    name, options = arguments[0], arguments[1:]
    if name == "train":
        return _train(Path(options[options.index("--run-folder") + 1]))
    value = {"plan": _plan, "evaluate": _evaluate, "compare": _compare}[name](options)
    sys.stdout.write(json.dumps(value) + "\n")
    return 1 if "error" in value else 0


def _packageRoot() -> str:
    """The folder that holds medai: beside this package where Slicer installs it, in MedAICore in the sources."""
    here = Path(__file__).resolve().parents[1]
    return str(here if (here / "medai").is_dir() else here.parent / "MedAICore")


def _description(dataset: str) -> dict[str, Any]:
    path = Path(dataset) / "dataset.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"labels": {"background": 0, "thing": 1}}


def _labels(dataset: str) -> list[str]:
    return [name for name, value in _description(dataset)["labels"].items() if value]


def _cases(dataset: str) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in (Path(dataset) / "labels").glob("*.nrrd")) or ["a", "b", "c"]


def _plan(options: list[str]) -> dict[str, Any]:
    if not Path(options[0]).exists():
        return {"error": {"code": "dataset", "message": f"There is no data set '{options[0]}'.", "remedy": "Check."}}
    steps = int(options[options.index("--steps") + 1]) if "--steps" in options else STEPS
    return {
        "spacing_mm": [2.5, 1.1, 0.8],
        "patch": [32, 48, 48],
        "crop": "none",
        "normalization": ["zscore"],
        "depth": 4,
        "width": 16,
        "batch_size": 2,
        "network": "unet",
        "blocks": "plain",
        "fusion": "early",
        "loss": "dice_ce",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "steps": steps,
        "folds": 1,
        "parameters": 1_200_000,
        "expected_memory_mb": 1600.0,
        "expected_minutes": 6.5,
        "seconds_per_step": 0.4,
        "device": "cpu",
        "cases": len(_cases(options[0])),
        "inputs": ["image"],
        "labels": _labels(options[0]),
        "preset_minutes": {"quick": 6.5, "standard": 90.0, "best": 600.0},
        "notes": ["The patch was made smaller to fit into the memory of this computer."],
    }


def _train(folder: Path) -> int:
    from medai.config import from_json, read_json
    from medai.config.training import TrainConfig
    from medai.config.training_run import RunFiles, write_whole
    from medai.process_identity import ProcessIdentity

    files = RunFiles(folder)
    config = from_json(TrainConfig, read_json(files.options), str(files.options))
    write_whole(files.lock, ProcessIdentity.current())
    try:
        _report(files, "begin")
        _report(files, "stage", stage="preparing")
        if not Path(config.dataset).exists():
            _report(files, "error", code="dataset", message="The data set is gone.", remedy="Make it again.")
            return 1
        end = _steps(files, config)
        if end == "pause":
            _report(files, "paused")
            return 130
        _report(files, "stage", stage="packaging")
        _writePackage(Path(config.output), config)
        _report(files, "done", output=config.output, minutes=0.1)
        return 0
    finally:
        files.lock.unlink(missing_ok=True)


def _steps(files: Any, config: Any) -> str | None:
    """Loss and Dice of a training that learns; what was asked for, where it ended early."""
    from medai.config.training_run import read_control, read_launch

    launch = read_launch(files)
    since = launch.time if launch is not None else 0.0
    state = files.root / "state.json"
    first = json.loads(state.read_text())["step"] if state.is_file() else 0
    _report(files, "stage", stage="training")
    _report(files, "resume" if first else "start", step=first)
    total, labels = config.steps or STEPS, _labels(config.dataset)
    for step in range(first + 1, total + 1):
        time.sleep(STEP_S)
        if step % EVERY == 0:
            rest = (total - step) * STEP_S
            rate = 0.01 * (1 - step / total) ** 0.9
            loss = 0.15 + 1.1 * math.exp(-4 * step / total) + 0.03 * math.sin(step)
            _report(
                files,
                "step",
                step=step,
                seconds=step * STEP_S,
                fraction=round(step / total, 4),
                loss=loss,
                learning_rate=rate,
                memory_mb=1480,
                eta_s=rest,
            )
        if step % VALIDATE_EVERY == 0:
            _validate(files, step, total, labels)
        asked = read_control(files, since)
        if asked is not None or step % VALIDATE_EVERY == 0:
            state.write_text(json.dumps({"step": step}))
            _report(files, "checkpoint", step=step)
        if asked is not None:
            return asked
    return None


def _validate(files: Any, step: int, total: int, labels: list[str]) -> None:
    part = 1 - math.exp(-4 * step / total)
    dice = {label: round((0.92 - 0.07 * n) * part, 4) for n, label in enumerate(labels)}
    _report(files, "validation", step=step, dice=dice, mean_dice=round(sum(dice.values()) / len(dice), 4))
    _writePreview(files, step, labels, part)
    _report(files, "preview", step=step, file=files.preview.name, case="case 1")


def _writePreview(files: Any, step: int, labels: list[str], part: float) -> None:
    import numpy as np

    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE_KJI], indexing="ij"))
    distance = np.sqrt((place**2).sum(axis=0))
    reference = np.where(distance < 0.6, 1, 0).astype(np.uint8)
    if len(labels) > 1:
        reference[(distance < 0.6) & (place[2] > 0.1)] = 2
    prediction = np.where(distance < 0.9 - 0.3 * part, np.maximum(reference, 1), 0).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 12, SHAPE_KJI)
    image = np.clip(60 + 120 * (reference > 0) + noise, 0, 255).astype(np.uint8)[None]
    matrix = np.diag([0.8, 1.1, 2.5, 1.0])
    temporary = files.preview.with_suffix(".part")
    with temporary.open("wb") as stream:
        np.savez(
            stream,
            image=image,
            reference=reference,
            prediction=prediction,
            labels=np.array(["background", *labels]),
            ijk_to_ras=matrix,
            about=np.array(json.dumps({"case": "case 1", "step": step})),
        )
    temporary.replace(files.preview)


def _report(files: Any, event: str, **values: Any) -> None:
    with files.progress.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"event": event, "time": time.time(), **values}) + "\n")


def _evaluate(options: list[str]) -> dict[str, Any]:
    """Figures of a model that is a little worse on each further case; the reference stands for the prediction."""
    if "--task" in options:
        return _classFigures()
    if options[0] == "--run-folder":
        root = Path(options[1])
        dataset = json.loads((root / "train.json").read_text(encoding="utf-8"))["dataset"]
        folder, worse = root / "evaluation", 0.02
    else:
        dataset, folder, worse = options[0], Path(options[options.index("--output") + 1]), 0.0
    entries = []
    for number, case in enumerate(_cases(dataset)):
        figures = {}
        for n, label in enumerate(_labels(dataset)):
            dice = 0.93 - 0.03 * n - 0.05 * (number % 4) - worse
            figures[label] = {"dice": dice, "hd95_mm": 20 * (1 - dice), "assd_mm": 4 * (1 - dice), "nsd": dice - 0.05}
        reference = str(Path(dataset) / "labels" / f"{case}.seg.nrrd")
        image = str(Path(dataset) / "images" / f"{case}_0000.nrrd")
        entries.append(
            {"case": case, "labels": figures, "images": [image], "reference": reference, "prediction": reference}
        )
    report = {"cases": entries, "mean": {}, "tolerance_mm": 1.0, "warnings": []}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(report), encoding="utf-8")
    return report


def _classFigures() -> dict[str, Any]:
    """The evaluation of a classifier that is right nine times of ten."""
    roc = {"class": "ill", "false_positive_rate": [0.0, 0.1, 1.0], "true_positive_rate": [0.0, 0.9, 1.0], "auc": 0.9}
    figure = {"value": 0.9, "ci95": [0.8, 0.95]}
    return {"n": 20, "auc": figure, "accuracy": figure, "roc": [roc], "warnings": []}


def _compare(options: list[str]) -> dict[str, Any]:
    """The means of both evaluations; the interval and p are made up of nothing and so are left out."""
    import csv

    tables = []
    for path in options[:2]:
        with open(path, encoding="utf-8", newline="") as stream:
            tables.append({(row["case"], row["label"]): float(row["dice"]) for row in csv.DictReader(stream)})
    rows = {}
    for label in sorted({label for _case, label in tables[0]}):
        means = [[v for (_c, other), v in table.items() if other == label] for table in tables]
        first, second = (sum(values) / len(values) for values in means)
        rows[label] = {"mean_first": first, "mean_second": second, "difference": second - first}
    cases = sorted({case for case, _label in tables[0]})
    return {"cases": cases, "metrics": {"dice": rows}, "correction": "", "warnings": []}


def _writePackage(path: Path, config: Any) -> None:
    """A package with the card of a real one and a weight that no network uses."""
    import zipfile

    header = json.dumps({"w": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + b"\0\0"
    labels = [{"value": n, "name": name, "color": [0.8, 0.4, 0.2]} for n, name in enumerate(_labels(config.dataset), 1)]
    card = {
        "format": 1,
        "id": config.model_id or path.stem,
        "version": "1.0.0",
        "title": config.title or path.stem,
        "task": "segment",
        "network": {"name": "unet", "arguments": {}},
        "weights": [{"file": "weights-0.safetensors", "sha256": hashlib.sha256(weights).hexdigest()}],
        "inputs": [{"name": "image", "modality": "MR"}],
        "licence": config.licence or "LicenseRef-unspecified",
        "spacing_mm": [2.5, 1.1, 0.8],
        "patch": [32, 48, 48],
        "labels": labels,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("model.json", json.dumps(card))
        archive.writestr("weights-0.safetensors", weights)
    temporary.replace(path)
