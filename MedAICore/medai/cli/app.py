"""Puts the commands together and turns wrong usage into a short text and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from medai import __version__
from medai.cli.check import check
from medai.cli.classify import classify
from medai.cli.click import OrderedCommand, click, click_benchmark
from medai.cli.click_training import train_click
from medai.cli.console import EXIT_CANCELLED, EXIT_USAGE, print_error_object
from medai.cli.evaluate import compare, evaluate
from medai.cli.info import info
from medai.cli.models import models_app
from medai.cli.segment import segment
from medai.cli.train import plan, prepare, train

app = typer.Typer(
    name="medai",
    help="Segment medical volumes, evaluate the results, and train models of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (segment, classify, evaluate, compare, check, prepare, plan, train, info):
    app.command()(_command)
app.command(cls=OrderedCommand)(click)
app.command("click-benchmark")(click_benchmark)
app.command("train-click")(train_click)
app.add_typer(models_app, name="models")

# typer exports only some of click's exceptions; the base of BadParameter is the one of every wrong usage.
_WrongUsage: Any = typer.BadParameter.__bases__[0]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medai {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Segment medical volumes, evaluate the results, and train models of your own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (those of the process by default) and exit with its code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; nothing but SystemExit of Python itself gets out."""
    try:
        code = app(args=arguments, prog_name="medai", standalone_mode=False)
    except _WrongUsage as error:
        return _wrong_usage(error, "--json" in arguments)
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_CANCELLED
    return int(code or 0)


def _wrong_usage(error: Any, json_output: bool) -> int:
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)
        return EXIT_USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "medai"
    usage = f"{context.get_usage()}\n" if context is not None else ""
    remedy = f"See '{path} --help'."
    print(f"{usage}Error: {message}\n{remedy}", file=sys.stderr)
    if json_output:
        print_error_object("usage", message, remedy)
    return EXIT_USAGE
