"""Options that several commands have, and the texts that must be parsed: ROI, device, list of labels."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from medai.image import Roi

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


class PrecisionChoice(StrEnum):
    """Values of ``--precision``."""

    EXACT = "exact"
    FAST = "fast"


def parse_device(text: str) -> str:
    """A device name of the forms auto, cpu, cuda, cuda:N, mps; wrong usage for anything else."""
    if not _DEVICE.fullmatch(text):
        raise typer.BadParameter(f"'{text}' is not a device. Give auto, cpu, cuda, cuda:N or mps.")
    return text


def parse_roi(text: str | None) -> Roi | None:
    """``R0,R1,A0,A1,S0,S1`` in mm as an axis-aligned ROI; wrong usage where that is no box."""
    if text is None:
        return None
    try:
        bounds = [float(part) for part in text.split(",")]
    except ValueError:
        bounds = []
    if len(bounds) != 6 or not all(math.isfinite(bound) for bound in bounds):
        raise typer.BadParameter(
            f"'{text}' is not six numbers. Give R0,R1,A0,A1,S0,S1 in mm, e.g. -40,-10,-45,5,-35,10."
        )
    if any(bounds[n] == bounds[n + 1] for n in (0, 2, 4)):
        raise typer.BadParameter(
            f"'{text}' has a side of no length. Give R0,R1,A0,A1,S0,S1 in mm with each pair different."
        )
    return Roi.from_bounds(bounds)


def parse_names(text: str | None) -> tuple[str, ...]:
    """Comma-separated names; wrong usage where one is empty."""
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise typer.BadParameter(f"'{text}' has an empty name. Give names with commas between them, e.g. liver,spleen.")
    return names


def _checked(parse: Any) -> Any:
    """A typer callback that refuses a wrong text early and hands the text itself on."""

    def check(value: str | None) -> str | None:
        if value is not None:
            parse(value)
        return value

    return check


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and log more.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", callback=_checked(parse_device), help="auto, cpu, cuda, cuda:N or mps.", show_default=True
    ),
]
RoiOption = Annotated[
    str | None,
    typer.Option(
        "--roi", metavar="R0,R1,A0,A1,S0,S1", callback=_checked(parse_roi), help="Segment only this box (RAS, mm)."
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels", metavar="A,B", callback=_checked(parse_names), help="Keep only these labels of the model."
    ),
]
