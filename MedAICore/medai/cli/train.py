"""``medai prepare`` and ``medai train``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption
from medai.cli.outputs import check_folder, check_output
from medai.config.training import TrainConfig
from medai.errors import Cancelled, DatasetError, OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from medai.dataset.cache import ExcludedCase
    from medai.train import TrainResult


class TaskChoice(StrEnum):
    """Values of ``--task``."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"


class WeightsChoice(StrEnum):
    """Values of ``--class-weights``."""

    NONE = "none"
    BALANCED = "balanced"


class ThresholdChoice(StrEnum):
    """Values of ``--threshold``."""

    BALANCED = "balanced"
    SPECIFIC = "specific"
    ACCURACY = "accuracy"


class OptimizerChoice(StrEnum):
    """Values of ``--optimizer``."""

    SGD = "sgd"
    ADAMW = "adamw"


class PresetChoice(StrEnum):
    """Values of ``--preset``."""

    QUICK = "quick"
    STANDARD = "standard"
    BEST = "best"


def prepare(
    dataset: Annotated[
        Path, typer.Argument(help="A folder with images/ and labels/, an nnU-Net or MSD folder, or a list.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to make: all that training needs.")],
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check and preprocess a data set once, so that training can read it quickly, on another machine too."""
    return execute(lambda session: _prepare(dataset, output, session), json_output, debug)


def train(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET_OR_CACHE",
            help="A data set, or what `medai prepare` made. For classification: a .csv table, a folder with a folder "
            "per class, or an .npz.",
        ),
    ],
    task: Annotated[TaskChoice, typer.Option("--task", help="What the model is to do.")],
    output: Annotated[Path, typer.Option("--output", help="The model package to write, *.medai.")],
    preset: Annotated[PresetChoice, typer.Option("--preset", help="How much effort to spend.")] = PresetChoice.STANDARD,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run of this output stopped.")
    ] = False,
    device: DeviceOption = "auto",
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", min=0.0, help="Stop in time to be done after so many minutes.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal runs (CPU).")] = 0,
    folds: Annotated[int, typer.Option("--folds", min=1, help="Cross-validation: train so many networks.")] = 1,
    description: Annotated[
        Path | None,
        typer.Option("--description", metavar="JSON", help="Names, codes, licence and citation for the model's card."),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", help="A network of the registry, e.g. seed_cnn, resnet, densenet.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="Passes over the training cases (classification).")
    ] = None,
    optimizer: Annotated[OptimizerChoice | None, typer.Option("--optimizer", help="sgd or adamw.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Its highest value.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Cases of one step.")] = None,
    label_smoothing: Annotated[
        float | None, typer.Option("--label-smoothing", min=0.0, max=0.99, help="Classification: 0.05 is usual.")
    ] = None,
    class_weights: Annotated[
        WeightsChoice | None, typer.Option("--class-weights", help="Classification: balanced counts classes alike.")
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option("--early-stopping", min=0, help="Classification: validations without a better AUC; 0 is never."),
    ] = None,
    threshold: Annotated[
        ThresholdChoice | None,
        typer.Option("--threshold", help="Classification: how the probability from which a class is named is chosen."),
    ] = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Train a model on labelled images and write it as a model package."""
    if max_minutes is not None and not 0 < max_minutes < float("inf"):
        raise typer.BadParameter(f"'{max_minutes}' is not a time in minutes.", param_hint="--max-minutes")
    config = TrainConfig(
        dataset=str(dataset),
        output=str(output),
        task=task.value,
        preset=preset.value,
        device=device,
        seed=seed,
        folds=folds,
        max_minutes=max_minutes,
        resume=resume,
        description=str(description) if description is not None else "",
        network=network,
        epochs=epochs,
        optimizer=optimizer.value if optimizer is not None else None,
        learning_rate=learning_rate,
        batch_size=batch_size,
        label_smoothing=label_smoothing,
        class_weights=class_weights.value if class_weights is not None else None,
        early_stopping=early_stopping,
        threshold=threshold.value if threshold is not None else None,
    )
    action = _train_classifier if task is TaskChoice.CLASSIFICATION else _train
    return execute(lambda session: action(config, session), json_output, debug)


def _prepare(dataset: Path, output: Path, session: Session) -> Outcome:
    from medai.dataset.prepare import prepare as use_case

    _check_dataset(dataset)
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise OutputError(f"'{output}' exists already.", "Give a new folder, or remove that one.")
    check_folder(output.parent, output)
    with session.progress() as progress:
        cache = use_case(dataset, output, progress, session.cancelled)
    card = cache.card
    _warn_of_excluded(card.excluded, session)
    data = {
        "output": str(output),
        "cases": len(card.cases),
        "excluded": [{"name": case.name, "reason": case.reason} for case in card.excluded],
        "labels": {spec.name: spec.value for spec in card.labels},
        "spacing_mm": card.spacing_mm,
        "warnings": session.warnings,
    }
    text = (
        f"{output}: {len(card.cases)} cases, labels {', '.join(spec.name for spec in card.labels)}, spacing "
        f"{card.spacing_mm} mm (k, j, i)."
    )
    return Outcome(data, lambda console: console.print(text, highlight=False, markup=False))


def _train(config: TrainConfig, session: Session) -> Outcome:
    from medai import train as use_case

    _check_dataset(Path(config.dataset))
    check_output(Path(config.output), (".medai",))
    with session.progress() as progress:
        result = use_case.run(config, progress, session.cancelled)
    if result.output is None:
        raise Cancelled(
            f"Stopped after {result.steps} steps; no model was written.",
            f"The state is kept in '{result.run_folder}': go on with the same command and --resume.",
        )
    _warn_of_excluded(result.excluded, session)
    data = {
        "output": str(result.output),
        "run_folder": str(result.run_folder),
        "mean_dice": result.mean_dice,
        "metrics": result.metrics,
        "steps": result.steps,
        "minutes": result.minutes,
        "excluded": [{"name": case.name, "reason": case.reason} for case in result.excluded],
        "warnings": session.warnings,
    }
    return Outcome(data, lambda console: _show_result(result, console))


def _train_classifier(config: TrainConfig, session: Session) -> Outcome:
    from medai import train as use_case

    _check_dataset(Path(config.dataset))
    check_output(Path(config.output), (".medai",))
    with session.progress() as progress:
        result = use_case.run_classification(config, progress, session.cancelled)
    if result.output is None:
        raise Cancelled(
            f"Stopped after {result.steps} steps; no model was written.",
            f"The state is kept in '{result.run_folder}': go on with the same command and --resume.",
        )
    for warning in result.warnings:
        session.warn(warning)
    data = {
        "output": str(result.output),
        "run_folder": str(result.run_folder),
        "metrics": result.metrics,
        "steps": result.steps,
        "minutes": result.minutes,
        "warnings": session.warnings,
    }
    text = ", ".join(f"{name} {value}" for name, value in result.metrics.items() if isinstance(value, int | float))
    return Outcome(data, lambda console: console.print(f"{result.output}: {text}; {result.minutes} minutes."))


def _show_result(result: TrainResult, console: Console) -> None:
    from rich.table import Table

    table = Table("label", "Dice", "HD95 (mm)", title=f"{result.output}, validation cases")
    for name, values in result.metrics.items():
        table.add_row(name, f"{values['dice']:.3f}", f"{values['hd95_mm']:.2f}")
    console.print(table)
    console.print(f"Mean Dice {result.mean_dice:.3f}, {result.steps} steps, {result.minutes:.1f} minutes.")


def _warn_of_excluded(excluded: Sequence[ExcludedCase], session: Session) -> None:
    for case in excluded:
        session.warn(f"{case.name} was left out: {case.reason}")


def _check_dataset(path: Path) -> None:
    if not path.exists():
        raise DatasetError(f"There is no data set '{path}'.", "Check the path.")
