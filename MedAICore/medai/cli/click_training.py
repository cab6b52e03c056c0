"""``medai train-click``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption
from medai.cli.outputs import check_output
from medai.config.click import ClickTrainConfig

if TYPE_CHECKING:
    from rich.console import Console


def train_click(
    output: Annotated[Path, typer.Option("--output", help="The model package to write, *.medai.")],
    dataset: Annotated[
        Path | None, typer.Option("--data", help="Folder of labelled volumes; without it only painted ones are used.")
    ] = None,
    description: Annotated[
        Path | None, typer.Option("--volumes", metavar="JSON", help="Which volumes; default: those of click-any.")
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="Where checkpoints lie; default: beside the output.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    package_only: Annotated[
        bool, typer.Option("--package-only", help="Package the newest checkpoint; train nothing.")
    ] = False,
    device: DeviceOption = "auto",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Stop after so many steps in all.")] = None,
    cooldown: Annotated[
        int, typer.Option("--cooldown", min=0, help="Let the learning rate fall to 0 over the last so many steps.")
    ] = 0,
    validation_minutes: Annotated[
        float, typer.Option("--validation-minutes", help="How often the validation part is measured.")
    ] = 15.0,
    max_minutes: Annotated[float | None, typer.Option("--max-minutes", help="Stop after so many minutes.")] = None,
    size: Annotated[int, typer.Option("--size", help="Side of the cube in voxels; may change on resuming.")] = 48,
    width: Annotated[int, typer.Option("--width", min=1, help="Channels of the network's first level.")] = 8,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Sessions of one step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Its plateau.")] = None,
    synthetic: Annotated[
        float | None, typer.Option("--synthetic", min=0, max=1, help="Part of samples painted from random shapes.")
    ] = None,
    brains: Annotated[
        float | None, typer.Option("--brains", min=0, max=1, help="Part painted from label maps of the data.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")] = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Train a click-to-segment model; Ctrl-C stops, packages what there is, and --resume goes on."""
    config = ClickTrainConfig(
        output=str(output),
        dataset=str(dataset or ""),
        description=str(description or ""),
        run_folder=str(run_folder or ""),
        device=device,
        seed=seed,
        steps=steps,
        cooldown_steps=cooldown,
        minutes=max_minutes,
        validation_minutes=validation_minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        width=width,
        size=size,
        synthetic=synthetic,
        brains=brains,
        resume=resume,
        package_only=package_only,
    )
    return execute(lambda session: _train(config, session), json_output, debug)


def _train(config: ClickTrainConfig, session: Session) -> Outcome:
    from medai.click.training import train

    check_output(Path(config.output), (".medai",))
    with session.progress() as progress:
        result = train(config, progress, session.cancelled)
    data = {
        "output": str(result.output),
        "run_folder": str(result.run_folder),
        "steps": result.steps,
        "minutes": result.minutes,
        "finished": result.finished,
        "validation_dice_after_clicks": result.dice,
        "warnings": session.warnings,
    }

    def show(console: Console) -> None:
        from rich.table import Table

        rounds = sorted({r for dice in result.dice.values() for r in dice})
        table = Table("group", *(f"Dice, {r} clicks" for r in rounds), title=f"{result.output}: {result.steps} steps")
        for group, dice in result.dice.items():
            table.add_row(group, *(f"{dice[r]:.3f}" if r in dice else "-" for r in rounds))
        console.print(table)

    return Outcome(data, show)
