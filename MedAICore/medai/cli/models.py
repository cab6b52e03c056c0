"""``medai models``: list, show, verify, install, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from medai.models import ModelPackage

models_app = typer.Typer(help="The models on this machine.", no_args_is_help=True, rich_markup_mode=None)
_Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's id, or the path of its folder or .medai file.")]


@models_app.command("list")
def list_models(json_output: JsonOption = False, debug: DebugOption = False) -> int:
    """List the models that come with MedAI and those that were installed."""
    return execute(_list, json_output, debug)


@models_app.command()
def show(model: _Model, json_output: JsonOption = False, debug: DebugOption = False) -> int:
    """Show a model's card: inputs, labels, training data, figures, licence, citation."""
    return execute(lambda session: show_card(model), json_output, debug)


@models_app.command()
def verify(model: _Model, json_output: JsonOption = False, debug: DebugOption = False) -> int:
    """Check that every file of a model is there and unchanged (sha256)."""
    return execute(lambda session: _verify(model), json_output, debug)


@models_app.command()
def install(
    package: Annotated[Path, typer.Argument(help="A .medai file or a model's folder.")],
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check a model package and copy it to the user's models."""
    return execute(lambda session: _install(package), json_output, debug)


@models_app.command()
def remove(
    model: Annotated[str, typer.Argument(metavar="ID", help="The id of an installed model.")],
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Remove an installed model. Models that come with MedAI stay."""
    return execute(lambda session: _remove(model), json_output, debug)


def _list(session: Session) -> Outcome:
    from medai import models

    found = models.list_models()
    rows = [_summary(package) for package in found]

    def show_table(console: Console) -> None:
        from rich.table import Table

        table = Table("id", "version", "task", "title", "licence", "from", title=f"{len(rows)} model(s)")
        for row in rows:
            table.add_row(*(str(row[key]) for key in ("id", "version", "task", "title", "licence", "source")))
        console.print(table)

    return Outcome({"models": rows}, show_table)


def show_card(model: str) -> Outcome:
    """The outcome of ``medai models show`` (also of ``medai info`` for a model package)."""
    from medai import models
    from medai.config import to_json

    package = models.open_model(model)
    data = {**_summary(package), "card": to_json(package.card)}

    def show_text(console: Console) -> None:
        card = package.card
        console.print(f"{card.title} ({card.id} {card.version}, {card.task}), {data['root']}", highlight=False)
        if card.description:
            console.print(card.description, highlight=False)
        for number, spec in enumerate(card.inputs):
            console.print(f"input {number}: {spec.name} {spec.modality} {spec.description}".rstrip(), highlight=False)
        console.print(f"labels: {', '.join(f'{label.value} {label.name}' for label in card.labels)}", highlight=False)
        for source in card.training.data:
            console.print(f"trained on: {source.name}, {source.cases} cases, {source.licence}", highlight=False)
        for name, value in card.training.metrics.items():
            console.print(f"{name}: {value}", highlight=False)
        console.print(f"licence: {card.licence}", highlight=False)
        for citation in card.citation:
            console.print(f"cite: {citation}", highlight=False)

    return Outcome(data, show_text)


def _verify(model: str) -> Outcome:
    from medai import models

    files = models.verify(model)
    return Outcome(
        {"model": model, "verified": files},
        lambda console: console.print(f"{model}: {len(files)} file(s) are whole and unchanged.", highlight=False),
    )


def _install(path: Path) -> Outcome:
    from medai import models

    package = models.install(path)
    return Outcome(
        _summary(package),
        lambda console: console.print(f"Installed {package.card.id} {package.card.version}.", highlight=False),
    )


def _remove(model: str) -> Outcome:
    from medai import models

    folder = models.remove(model)
    return Outcome(
        {"removed": model, "folder": str(folder)},
        lambda console: console.print(f"Removed {model}.", highlight=False),
    )


def _summary(package: ModelPackage) -> dict[str, Any]:
    card = package.card
    return {
        "id": card.id,
        "version": card.version,
        "title": card.title,
        "task": card.task,
        "licence": card.licence,
        "source": package.source,
        "root": str(package.root),
    }
