"""``medai evaluate`` and ``medai compare``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption, parse_names
from medai.cli.outputs import check_output

if TYPE_CHECKING:
    from rich.console import Console


class MetricChoice(StrEnum):
    """Values of ``--metric``."""

    DICE = "dice"
    HD95 = "hd95_mm"
    ASSD = "assd_mm"
    NSD = "nsd"


_COLUMNS = ("dice", "hd95_mm", "assd_mm", "nsd", "reference_ml", "prediction_ml")


class EvaluatedTask(StrEnum):
    """Values of ``--task``."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"


def evaluate(
    dataset: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATASET]",
            help="Labelled cases, as for training. For classification: a .csv table, a folder of class folders, .npz.",
        ),
    ] = None,
    task: Annotated[EvaluatedTask, typer.Option("--task", help="What is evaluated.")] = EvaluatedTask.SEGMENTATION,
    model: Annotated[
        str | None, typer.Option("--model", help="Measured on DATASET: a model's id, or its folder or .medai file.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FOLDER", help="With --model: a new folder for predictions and report."),
    ] = None,
    cases: Annotated[
        str | None, typer.Option("--cases", metavar="A,B,...", help="With --model: only these cases of DATASET.")
    ] = None,
    run_folder: Annotated[
        Path | None,
        typer.Option("--run-folder", metavar="FOLDER", help="A finished training, on the cases that it held back."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the figures as a table, *.csv.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Segmentation: a label map, or a folder of them.")
    ] = None,
    prediction: Annotated[
        Path | None, typer.Option("--prediction", help="Segmentation: a label map, or a folder with the same names.")
    ] = None,
    tolerance_mm: Annotated[
        float, typer.Option("--tolerance-mm", help="Distance within which surfaces agree (NSD), in mm.")
    ] = 1.0,
    device: DeviceOption = "auto",
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Compare segmentations with references, or measure a model on labelled cases."""
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise typer.BadParameter(f"'{tolerance_mm}' is not a distance in mm.", param_hint="--tolerance-mm")
    if csv_file is not None:
        check_output(csv_file, (".csv",))
    options = _Options(tolerance_mm, device, csv_file)
    if run_folder is not None:
        if not (model is None and dataset is None and reference is None and prediction is None and output is None):
            raise typer.BadParameter(
                "it says what is evaluated: give neither model nor data.", param_hint="--run-folder"
            )
        return execute(lambda session: _evaluate_run(run_folder, options, session), json_output, debug)
    if task is EvaluatedTask.SEGMENTATION and model is not None and dataset is not None:
        if output is None or reference is not None or prediction is not None:
            raise typer.BadParameter("DATASET and --model need --output, and no --reference.")
        names = parse_names(cases)
        return execute(
            lambda session: _evaluate_model(dataset, model, output, names, options, session), json_output, debug
        )
    if task is EvaluatedTask.CLASSIFICATION:
        if model is None or dataset is None or reference is not None or prediction is not None:
            raise typer.BadParameter("--task classification needs --model and DATASET, and no --reference.")
        return execute(lambda session: _evaluate_classifier(dataset, model, device, session), json_output, debug)
    if reference is None or prediction is None or model is not None or dataset is not None:
        missing = "--reference" if reference is None else "--prediction"
        if reference is None or prediction is None:
            raise typer.BadParameter("it is missing.", param_hint=missing)
        raise typer.BadParameter("Give --model together with DATASET, or --reference with --prediction.")
    return execute(lambda session: _evaluate(reference, prediction, options, session), json_output, debug)


def compare(
    first: Annotated[Path, typer.Argument(help="An evaluation: .csv, .json, or the folder that holds it.")],
    second: Annotated[Path, typer.Argument(help="Another one of the same cases.")],
    metric: Annotated[
        list[MetricChoice] | None, typer.Option("--metric", help="May be given several times; all without it.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Say whether the second evaluation is better than the first: paired differences, intervals, signed-rank test."""
    chosen = [choice.value for choice in metric or MetricChoice]
    return execute(lambda session: _compare(first, second, chosen, seed, session), json_output, debug)


@dataclass(frozen=True)
class _Options:
    tolerance_mm: float
    device: str
    csv_file: Path | None


def _evaluate(reference: Path, prediction: Path, options: _Options, session: Session) -> Outcome:
    from medai.evaluate import run as use_case

    with session.progress() as progress:
        data = use_case(reference, prediction, options.tolerance_mm, progress, session.cancelled)
    return _outcome(data, options, session)


def _evaluate_model(
    dataset: Path, model: str, output: Path, cases: Sequence[str], options: _Options, session: Session
) -> Outcome:
    from medai.evaluate import run_model as use_case

    with session.progress() as progress:
        data = use_case(
            dataset, model, output, options.device, cases, options.tolerance_mm, progress, session.cancelled
        )
    return _outcome(data, options, session)


def _evaluate_run(run_folder: Path, options: _Options, session: Session) -> Outcome:
    from medai.evaluate import run_folder as use_case

    with session.progress() as progress:
        data = use_case(run_folder, options.device, options.tolerance_mm, progress, session.cancelled)
    return _outcome(data, options, session)


def _compare(first: Path, second: Path, metrics: Sequence[str], seed: int, session: Session) -> Outcome:
    from medai.evaluate import compare as use_case

    data = use_case(first, second, metrics, seed)
    for warning in data["warnings"]:
        session.warn(warning)
    return Outcome(data, lambda console: _show_comparison(data, console))


def _show_comparison(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    title = f"Second minus first, {len(data['cases'])} cases"
    table = Table("metric", "label", "first", "second", "difference", "95 % interval", "p", "p (Holm)", title=title)
    for metric, labels in data["metrics"].items():
        for label, row in labels.items():
            numbers = [_number(row[name]) for name in ("mean_first", "mean_second", "difference")]
            interval = f"{_number(row['low'])} to {_number(row['high'])}"
            style = "bold" if label == "overall" else None
            table.add_row(metric, label, *numbers, interval, _number(row["p"]), _number(row["p_holm"]), style=style)
    console.print(table)
    console.print(data["correction"], highlight=False)


def _outcome(data: dict[str, Any], options: _Options, session: Session) -> Outcome:
    from medai.evaluate import write_csv

    if options.csv_file is not None:
        write_csv(options.csv_file, data)
    for warning in data.get("warnings", []):
        session.warn(warning)
    return Outcome(data, lambda console: _show(data, console))


def _show(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table("case", "label", "Dice", "HD95 (mm)", "ASSD (mm)", "NSD", "reference (mL)", "prediction (mL)")
    for case in data["cases"]:
        for name, values in case["labels"].items():
            table.add_row(case["case"], name, *(_number(values.get(column)) for column in _COLUMNS))
    for name, values in data["mean"].items():
        table.add_row("mean", name, *(_number(values.get(column)) for column in _COLUMNS), style="bold")
    console.print(table)


def _evaluate_classifier(dataset: Path, model: str, device: str, session: Session) -> Outcome:
    from medai.models import open_model

    package = open_model(model)
    from medai import classify  # torch comes with it: only once the model is known to be good
    from medai.classify import evaluation

    loaded = classify.load_model(package, device)
    with session.progress() as progress:
        data = evaluation.run(dataset, loaded, progress, session.cancelled)
    for warning in data["warnings"]:
        session.warn(warning)
    return Outcome(data, lambda console: _show_classifier(data, console))


def _show_classifier(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    where = {"test": "test split", "val": "validation split"}.get(data["split"], "all cases")
    table = Table("figure", "value", "95 % interval", title=f"{data['n']} cases, {where}")
    for name in ("auc", "accuracy"):
        low, high = data[name]["ci95"]
        table.add_row(name, _number(data[name]["value"]), f"{_number(low)} to {_number(high)}")
    for name in ("balanced_accuracy", "sensitivity", "specificity", "f1", "brier", "ece"):
        table.add_row(name.replace("_", " "), _number(data[name]), "")
    console.print(table)
    counts = Table("true class", *data["classes"], title="Named as")
    for name, row in zip(data["classes"], data["confusion"], strict=True):
        counts.add_row(name, *(str(count) for count in row))
    console.print(counts)


def _number(value: Any) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"
