"""``medai info``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medai.cli.console import Outcome, execute
from medai.cli.models import show_card
from medai.cli.options import DebugOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console


def info(
    file: Annotated[Path, typer.Argument(help="An image, a segmentation, a DICOM folder, or a model package.")],
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Say what a file holds: size, spacing, place, intensities, labels."""
    return execute(lambda session: _info(file), json_output, debug)


def _info(file: Path) -> Outcome:
    if file.name.lower().endswith(".medai") or (file / "model.json").is_file():
        return show_card(str(file))
    from medai.imageio import describe

    data = describe(file)

    def show(console: Console) -> None:
        for name, value in data.items():
            console.print(f"{name}: {value}", highlight=False, markup=False)

    return Outcome(data, show)
