"""``medai prepare``, ``medai plan`` and ``medai train``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption
from medai.cli.outputs import check_folder, check_output
from medai.cli.synthetic_training import SYNTHETIC_ONLY, is_synthetic, train_synthetic
from medai.cli.training_options import (
    BlocksChoice,
    CropChoice,
    FusionChoice,
    LossChoice,
    NormalizationChoice,
    OptimizerChoice,
    PresetChoice,
    TaskChoice,
    ThresholdChoice,
    WeightsChoice,
    fields_of,
)
from medai.config import to_json
from medai.config.training import PlanSummary, TrainConfig
from medai.errors import Cancelled, DatasetError, OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from medai.dataset.cache import ExcludedCase
    from medai.train import TrainResult


def prepare(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="A folder with images/ and labels/, an nnU-Net or MSD folder, a list, scenes (.mrb, .mrml or a folder "
            "of them), or a DICOM folder with DICOM SEG."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to make: all that training needs.")],
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="Folds by patient to store, where the data set has no splits.json.")
    ] = 5,
    split_seed: Annotated[int, typer.Option("--split-seed", min=0, help="What these folds are drawn with.")] = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check and preprocess a data set once, so that training can read it quickly, on another machine too."""
    return execute(lambda session: _prepare(dataset, output, folds, split_seed, session), json_output, debug)


def train(
    task: Annotated[TaskChoice | None, typer.Option("--task", help="What the model is to do.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="The model package to write, *.medai.")] = None,
    dataset: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATASET_OR_CACHE",
            help="A data set, or what `medai prepare` made. For classification: a .csv table, a folder with a folder "
            "per class, or an .npz. None with --synthetic-from.",
        ),
    ] = None,
    preset: Annotated[PresetChoice, typer.Option("--preset", help="How much effort to spend.")] = PresetChoice.STANDARD,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run of this output stopped.")
    ] = False,
    run_folder: Annotated[
        Path | None,
        typer.Option(
            "--run-folder", metavar="FOLDER", help="Where the run keeps its state; with --resume alone it goes on."
        ),
    ] = None,
    device: DeviceOption = "auto",
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", min=0.0, help="Stop in time to be done after so many minutes.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal runs (CPU).")] = 0,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=1, help="Cross-validation: an ensemble of so many networks (best: 5, else 1)."),
    ] = None,
    description: Annotated[
        Path | None,
        typer.Option("--description", metavar="JSON", help="Names, codes, licence and citation for the model's card."),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", help="A network of the registry, e.g. seed_cnn, resnet, densenet.")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Passes over the training cases.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Updates of the weights.")] = None,
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
    loss: Annotated[
        LossChoice | None, typer.Option("--loss", help="Segmentation: dice_ce is cross entropy and Dice.")
    ] = None,
    momentum: Annotated[float | None, typer.Option("--momentum", min=0.0, help="Of sgd; 0.99 is usual.")] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", min=0.0, help="Of the optimiser.")] = None,
    patch: Annotated[
        str | None, typer.Option("--patch", metavar="K,J,I", help="Voxels that the network sees at once.")
    ] = None,
    spacing_mm: Annotated[
        str | None, typer.Option("--spacing", metavar="K,J,I", help="Voxel size that images are brought to, in mm.")
    ] = None,
    normalization: Annotated[
        NormalizationChoice | None, typer.Option("--normalization", help="How intensities are scaled.")
    ] = None,
    crop: Annotated[CropChoice | None, typer.Option("--crop", help="What images are cut to first.")] = None,
    foreground_fraction: Annotated[
        float | None,
        typer.Option("--foreground-fraction", min=0.0, max=0.99, help="Part of the patches that centre on a label."),
    ] = None,
    rotation_degrees: Annotated[
        float | None, typer.Option("--rotation", min=0.0, max=180.0, help="Largest angle of the augmentation; 0: none.")
    ] = None,
    augmentation: Annotated[
        list[str] | None,
        typer.Option("--augmentation", metavar="NAME=VALUE", help="A setting of the augmentation, e.g. noise=0.3."),
    ] = None,
    width: Annotated[int | None, typer.Option("--width", min=1, help="Channels at full resolution.")] = None,
    depth: Annotated[int | None, typer.Option("--depth", min=2, max=8, help="Stages of the network.")] = None,
    blocks: Annotated[BlocksChoice | None, typer.Option("--blocks", help="What the U-Net is built of.")] = None,
    fusion: Annotated[
        FusionChoice | None,
        typer.Option("--fusion", help="Several inputs: as channels, or an encoder for each, fused by attention."),
    ] = None,
    finetune_from: Annotated[
        str, typer.Option("--finetune-from", metavar="MODEL", help="Start from this model: an id or a package's path.")
    ] = "",
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Fine-tuning: train the decoder only.")
    ] = False,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="GPUs (on a CPU: processes) that train together.")] = 1,
    synthetic_from: Annotated[
        Path | None,
        typer.Option("--synthetic-from", metavar="FOLDER", help="Train on images painted from these label maps."),
    ] = None,
    map_labels: Annotated[
        Path | None,
        typer.Option("--map-labels", metavar="JSON", help="What the label maps' values mean (docs/brain.md)."),
    ] = None,
    hold_out: Annotated[int, typer.Option("--hold-out", min=0, help="Label maps kept for validation.")] = 0,
    cooldown: Annotated[
        int, typer.Option("--cooldown", min=0, help="Label maps: let the learning rate fall to 0 over these steps.")
    ] = 0,
    package_only: Annotated[
        bool, typer.Option("--package-only", help="Label maps: package the newest checkpoint, train nothing.")
    ] = False,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Train a model on labelled images and write it as a model package."""
    options = locals()
    if resume and run_folder is not None and output is None:
        return execute(lambda session: _resume(options, session), json_output, debug)
    for name in ("task", "output"):
        if options[name] is None:
            raise typer.BadParameter("it is missing.", param_hint=f"--{name}")
    if is_synthetic(options):
        return execute(lambda session: train_synthetic(options, session), json_output, debug)
    fields = fields_of(options)  # options are named as the fields of TrainConfig
    return execute(lambda session: _start(TrainConfig(**fields), session), json_output, debug)


def plan(**options: Any) -> int:
    """Say what a training would do with these options: patch, network, steps, and expected memory and time here."""
    fields = fields_of(options | {"task": TaskChoice.SEGMENTATION})
    return execute(lambda session: _plan(TrainConfig(**fields), session), options["json_output"], options["debug"])


def _same_options(without: Sequence[str]) -> inspect.Signature:
    """The signature of `train` but for some parameters, with a data set: typer reads a command's options from there."""
    signature = inspect.signature(train, eval_str=True)
    kept = {n: p for n, p in signature.parameters.items() if n not in without}
    dataset = kept.pop("dataset").replace(default=inspect.Parameter.empty, annotation=_PLANNED)
    return signature.replace(parameters=[dataset, *kept.values()])


_PLANNED = Annotated[Path, typer.Argument(metavar="DATASET_OR_CACHE", help="A data set, or what `medai prepare` made.")]


plan.__signature__ = _same_options(("task", "output", "resume", "run_folder", *SYNTHETIC_ONLY))  # type: ignore[attr-defined]
plan.__annotations__ = {name: p.annotation for name, p in plan.__signature__.parameters.items()}  # type: ignore[attr-defined]


def _start(config: TrainConfig, session: Session) -> Outcome:
    _check_dataset(Path(config.dataset))
    check_output(Path(config.output), (".medai",))
    return (_train_classifier if config.task == "classification" else _train)(config, session)


def _resume(options: dict[str, Any], session: Session) -> Outcome:
    from medai.cli.run_folders import stored_config

    config = stored_config(options)
    # What is wrong with data or output is found by the run itself, so that it gets into the run's record.
    return (_train_classifier if config.task == "classification" else _train)(config, session)


def _prepare(dataset: Path, output: Path, folds: int, split_seed: int, session: Session) -> Outcome:
    from medai.cli.labelled_sources import plain_dataset
    from medai.dataset.prepare import prepare as use_case

    _check_dataset(dataset)
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise OutputError(f"'{output}' exists already.", "Give a new folder, or remove that one.")
    check_folder(output.parent, output)
    with plain_dataset(dataset, output.parent, session) as plain, session.progress() as progress:
        cache = use_case(plain, output, progress, session.cancelled, folds=folds, split_seed=split_seed)
    card = cache.card
    _warn_of_excluded(card.excluded, session)
    for warning in card.warnings:
        session.warn(warning)
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


def _plan(config: TrainConfig, session: Session) -> Outcome:
    from medai import train as use_case

    _check_dataset(Path(config.dataset))
    with session.progress() as progress:
        summary = use_case.plan_summary(config, progress, session.cancelled)
    return Outcome(to_json(summary), lambda console: _show_plan(summary, console))


def _show_plan(summary: PlanSummary, console: Console) -> None:
    from rich.table import Table

    table = Table("of", "is", title=f"{summary.cases} cases, {', '.join(summary.labels)}")
    for name, value in to_json(summary).items():
        if name not in ("cases", "labels", "notes"):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            table.add_row(name, shown)
    console.print(table)
    for note in summary.notes:
        console.print(note, highlight=False, markup=False)


def _train(config: TrainConfig, session: Session) -> Outcome:
    from medai import train as use_case

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
