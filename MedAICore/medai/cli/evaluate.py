"""``medai evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("dice", "hd95_mm", "assd_mm", "nsd", "reference_ml", "prediction_ml")


def evaluate(
    reference: Annotated[Path, typer.Option("--reference", help="A label map, or a folder of them.")],
    prediction: Annotated[Path, typer.Option("--prediction", help="A label map, or a folder with the same names.")],
    tolerance_mm: Annotated[
        float, typer.Option("--tolerance-mm", help="Distance within which surfaces agree (NSD), in mm.")
    ] = 1.0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Compare predictions with references: Dice, HD95, ASSD, NSD and volumes, per case and label."""
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


def _number(value: Any) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"
