"""``medai evaluate``."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("dice", "hd95_mm", "assd_mm", "nsd", "reference_ml", "prediction_ml")


class EvaluatedTask(StrEnum):
    """Values of ``--task``."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"


def evaluate(
    dataset: Annotated[
        Path | None,
        typer.Argument(metavar="[DATASET]", help="Classification: a .csv table, a folder of class folders, or .npz."),
    ] = None,
    task: Annotated[EvaluatedTask, typer.Option("--task", help="What is evaluated.")] = EvaluatedTask.SEGMENTATION,
    model: Annotated[
        str | None, typer.Option("--model", help="Classification: a model's id, or its folder or .medai file.")
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
    """Compare segmentations with references, or measure a classifier on labelled cases."""
    if task is EvaluatedTask.CLASSIFICATION:
        if model is None or dataset is None or reference is not None or prediction is not None:
            raise typer.BadParameter("--task classification needs --model and DATASET, and no --reference.")
        return execute(lambda session: _evaluate_classifier(dataset, model, device, session), json_output, debug)
    if reference is None or prediction is None or model is not None or dataset is not None:
        missing = "--reference" if reference is None else "--prediction"
        if reference is None or prediction is None:
            raise typer.BadParameter("it is missing.", param_hint=missing)
        raise typer.BadParameter("--model and DATASET are for --task classification.")
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise typer.BadParameter(f"'{tolerance_mm}' is not a distance in mm.", param_hint="--tolerance-mm")
    return execute(lambda session: _evaluate(reference, prediction, tolerance_mm, session), json_output, debug)


def _evaluate(reference: Path, prediction: Path, tolerance_mm: float, session: Session) -> Outcome:
    from medai.evaluate import run as use_case

    with session.progress() as progress:
        data = use_case(reference, prediction, tolerance_mm, progress, session.cancelled)
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
