"""``medai train --synthetic-from``: training on images that are painted from label maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from medai.cli.console import Outcome, Session
from medai.cli.outputs import check_output
from medai.cli.training_options import TaskChoice, parse_three
from medai.config.synthetic import SyntheticTrainConfig
from medai.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from rich.console import Console

    from medai.train.synthetic import SyntheticResult

SYNTHETIC_ONLY = ("synthetic_from", "map_labels", "hold_out", "cooldown", "package_only")
"""Options of ``medai train`` that only a training on label maps has."""
_TAKEN = ("output", "resume", "device", "seed", "steps", "max_minutes", "batch_size", "learning_rate", "description")
_SHAPES = ("width", "depth", "patch", "spacing_mm")
# What is read by another name, has no meaning here but a default value, or is of every command.
_ALLOWED = ("dataset", "task", "preset", "gpus", "json_output", "debug", "run_folder", "finetune_from")
_WIDEST = 12  # channels of the deepest stage, in widths


def config_of(options: Mapping[str, Any]) -> SyntheticTrainConfig:
    """The configuration that the options of ``medai train`` say; ConfigError for one that does not belong here."""
    if options["dataset"] is not None:
        raise ConfigError(
            f"A data set '{options['dataset']}' and --synthetic-from were given.", "Leave out one of the two."
        )
    if options["task"] is not TaskChoice.SEGMENTATION:
        raise ConfigError("--synthetic-from trains segmentation models.", "Give --task segmentation.")
    known = (*SYNTHETIC_ONLY, *_TAKEN, *_SHAPES, *_ALLOWED)
    for name, value in options.items():
        if name not in known and value:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"{option} is not an option of a training on label maps.", f"Leave out {option}.")
    fields = {name: options[name] for name in _TAKEN if options[name] is not None}
    fields["output"] = str(options["output"])
    fields["description"] = str(options["description"] or "")
    for name, kind in (("patch", int), ("spacing_mm", float)):
        option = "--spacing" if name == "spacing_mm" else "--patch"
        if (three := parse_three(options[name], option, kind)) is not None:
            fields[name] = three
    if options["width"] is not None or options["depth"] is not None:
        width, depth = options["width"] or 8, options["depth"] or 5
        fields["channels"] = tuple(min(width * 2**stage, width * _WIDEST) for stage in range(depth))
    return SyntheticTrainConfig(
        maps=str(options["synthetic_from"]),
        maps_description=str(options["map_labels"] or ""),
        run_folder=str(options.get("run_folder") or ""),
        hold_out=options["hold_out"],
        cooldown_steps=options["cooldown"],
        start_from=options["finetune_from"],
        package_only=options["package_only"],
        **fields,
    )


def train_synthetic(options: Mapping[str, Any], session: Session) -> Outcome:
    """Train, package, and show the Dice of the maps that were held out."""
    from medai.train.synthetic import run

    config = config_of(options)
    if not Path(config.maps).exists():
        raise DatasetError(f"There is no folder '{config.maps}'.", "Check the path.")
    if config.max_minutes is None and config.steps is None and not config.cooldown_steps and not config.package_only:
        session.warn("No --steps, --max-minutes or --cooldown: the training goes on until it is stopped (Ctrl-C).")
    check_output(Path(config.output), (".medai",))
    with session.progress() as progress:
        result = run(config, progress, session.cancelled)
    data = {
        "output": str(result.output),
        "run_folder": str(result.run_folder),
        "mean_dice": result.mean_dice,
        "dice": result.dice,
        "steps": result.steps,
        "minutes": result.minutes,
        "finished": result.finished,
        "warnings": session.warnings,
    }
    return Outcome(data, lambda console: _show(result, console))


def _show(result: SyntheticResult, console: Console) -> None:
    from rich.table import Table

    if result.dice:
        table = Table("label", "Dice", title=f"{result.output}, images painted from label maps that were held out")
        for name, dice in result.dice.items():
            table.add_row(name, f"{dice:.3f}")
        console.print(table)
    state = "finished" if result.finished else "stopped; go on by --resume"
    console.print(
        f"{result.output}: mean Dice {result.mean_dice:.3f}, {result.steps} steps, {result.minutes:.1f} minutes, "
        f"{state}.",
        highlight=False,
        markup=False,
    )


def is_synthetic(options: Mapping[str, Any]) -> bool:
    """Whether the options ask for a training on label maps; BadParameter for neither maps nor a data set."""
    if options["synthetic_from"] is not None:
        return True
    for name in SYNTHETIC_ONLY:
        if options[name]:
            raise typer.BadParameter("needs --synthetic-from.", param_hint="--" + name.replace("_", "-"))
    if options["dataset"] is None:
        raise typer.BadParameter("Give a data set, or label maps by --synthetic-from.", param_hint="DATASET_OR_CACHE")
    return False
