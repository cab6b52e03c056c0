"""``medai click`` and ``medai click-benchmark``."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption, parse_roi
from medai.cli.outputs import SEGMENTATION_SUFFIXES, check_output
from medai.config.requests import Point, Prompt
from medai.image import Image
from medai.labels import Label, LabelScheme, distinct_color

if TYPE_CHECKING:
    from rich.console import Console

_ARGUMENTS = "medai.arguments"
_SUFFIXES = tuple(suffix for suffix in SEGMENTATION_SUFFIXES if suffix != ".mrb")
_ModelOption = Annotated[
    str,
    typer.Option("--model", help="A click model's id or path, or grow-cut. Default: click-any, else grow-cut."),
]


class OrderedCommand(typer.core.TyperCommand):
    """A command that knows in which order its options were given: prompts act one after the other."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the arguments as they were typed."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


@dataclass(frozen=True)
class _Task:
    image: Path
    prompts: tuple[Prompt, ...]
    model: str
    previous: Path | None
    output: Path
    device: str


def click(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="INPUT", help="The volume to segment in.")],
    output: Annotated[Path, typer.Option("--output", help=f"What to write: {', '.join(_SUFFIXES)}.")],
    point: Annotated[
        list[str] | None, typer.Option("--point", metavar="R,A,S", help="A point inside, mm. Can be repeated.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option("--negative", metavar="R,A,S", help="A point outside, mm. Can be repeated.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option("--box", metavar="R0,R1,A0,A1,S0,S1", help="A box around the structure, mm.")
    ] = None,
    model: _ModelOption = "",
    previous: Annotated[
        Path | None, typer.Option("--previous", help="A label map to start from; everything but 0 is inside.")
    ] = None,
    device: DeviceOption = "auto",
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Segment the structure at the given points; prompts act in the order in which they are given."""
    prompts = _in_order(context.meta[_ARGUMENTS], point or [], negative or [], box or [])
    if not prompts:
        raise typer.BadParameter("Give at least one --point or --box.")
    task = _Task(image, prompts, model, previous, output, device)
    return execute(lambda session: _click(task, session), json_output, debug)


def click_benchmark(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A volume.")],
    label: Annotated[Path, typer.Argument(metavar="LABEL", help="Its label map; every value is a separate object.")],
    clicks: Annotated[int, typer.Option("--clicks", min=1, help="Simulated clicks per object.")] = 10,
    model: _ModelOption = "",
    peers: Annotated[
        bool, typer.Option("--peers", help="Measure classic tools on the same clicks, too; takes minutes.")
    ] = False,
    device: DeviceOption = "auto",
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Measure how many clicks the objects of a labelled volume take."""
    return execute(lambda session: _benchmark(image, label, clicks, model, peers, device, session), json_output, debug)


def _in_order(arguments: list[str], points: list[str], negatives: list[str], boxes: list[str]) -> tuple[Prompt, ...]:
    """The prompts as they were typed, whatever their options."""
    waiting = {"--point": list(points), "--negative": list(negatives), "--box": list(boxes)}
    prompts = []
    for argument in arguments:
        name = argument.split("=", 1)[0]
        if not waiting.get(name):
            continue
        text = waiting[name].pop(0)
        if name == "--box":
            prompts.append(Prompt("box", roi=parse_roi(text)))
        else:
            prompts.append(Prompt("point", name == "--point", (_parse_point(text),)))
    return tuple(prompts)


def _parse_point(text: str) -> Point:
    """``R,A,S`` in mm; wrong usage where that is no place."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        raise typer.BadParameter(f"'{text}' is not three numbers. Give R,A,S in mm, e.g. -12.5,40,103.")
    return numbers[0], numbers[1], numbers[2]


def _click(task: _Task, session: Session) -> Outcome:
    inputs = [task.image] if task.previous is None else [task.image, task.previous]
    check_output(task.output, _SUFFIXES, inputs)
    from medai.click.clicking import find_model, run
    from medai.imageio import read_image, read_label_map, write_label_map

    image = read_image(task.image)
    previous = None if task.previous is None else read_label_map(task.previous)[0]
    model, notes = find_model(task.model, task.device)
    with session.progress() as progress:
        result = run(image, task.prompts, model, previous, progress, session.cancelled)
    for warning in (*notes, *result.warnings):
        session.warn(warning)
    write_label_map(task.output, result.mask, LabelScheme((Label(1, "Segment", distinct_color(0)),)))
    return _outcome(task, result.mask, result.seconds_open, result.seconds_click, result.engine, session)


def _outcome(
    task: _Task, mask: Image, opened: float, seconds: tuple[float, ...], engine: str, session: Session
) -> Outcome:
    voxels = int(mask.array.sum(dtype="int64"))
    data = {
        "output": str(task.output),
        "voxels": voxels,
        "volume_ml": round(voxels * mask.voxel_volume_ml, 4),
        "seconds_open": round(opened, 4),
        "seconds_click": round(statistics.median(seconds), 4),
        "engine": engine,
        "warnings": session.warnings,
    }

    def show(console: Console) -> None:
        console.print(
            f"{task.output}: {voxels:,} voxels, {data['volume_ml']} mL; opened in {opened:.2f} s, "
            f"{data['seconds_click']:.2f} s per prompt; engine {engine}"
        )

    return Outcome(data, show)


def _benchmark(image: Path, label: Path, clicks: int, name: str, peers: bool, device: str, session: Session) -> Outcome:
    from medai.click.benchmark import run
    from medai.click.clicking import find_model
    from medai.imageio import read_image, read_label_map

    picture, (labels, _) = read_image(image), read_label_map(label)
    model, notes = find_model(name, device)
    with session.progress() as progress:
        data = run(picture, labels, model, clicks, peers, progress, session.cancelled)
    for warning in (*notes, *data["warnings"]):
        session.warn(warning)
    data["warnings"] = session.warnings
    return Outcome(data, lambda console: _show(data, console))


def _show(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    counts = list(data["mean"]["dice"])
    table = Table("object", "voxels", *(f"Dice, {n}" for n in counts), "clicks to 0.85", "seconds")
    for entry in data["objects"]:
        dice = [f"{entry['dice'][n]:.3f}" for n in counts]
        needed = entry["clicks_to"]["0.85"]
        table.add_row(
            str(entry["label"]),
            f"{entry['voxels']:,}",
            *dice,
            "-" if needed is None else str(needed),
            f"{entry['seconds_median']:.2f}",
        )
    rows = {data["engine"]: data["mean"], **data.get("peers", {})}
    for name, mean in rows.items():
        dice = [f"{mean['dice'][n]:.3f}" for n in counts]
        table.add_row(
            f"mean, {name}",
            "",
            *dice,
            f"{mean['clicks_to']['0.85']:.1f}",
            f"{mean['seconds_median']:.2f}",
            style="bold",
        )
    console.print(table)
