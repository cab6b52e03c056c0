"""``medai train --run-folder FOLDER --resume``: the options are those that the run was started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medai.config import from_json, read_json
from medai.config.training import TrainConfig
from medai.config.training_run import RunFiles
from medai.errors import ConfigError

_MAY_CHANGE = ("device", "max_minutes")


def stored_config(options: Mapping[str, Any]) -> TrainConfig:
    """The run's train.json, to go on with; ``--device`` and ``--max-minutes`` go before what it says.

    ConfigError where the folder holds no run, or other options are given beside it.
    """
    folder = Path(options["run_folder"])
    files = RunFiles(folder)
    if not files.options.is_file():
        raise ConfigError(f"'{folder}' holds no run.", "Start one with a data set, --task and --output.")
    given = [name for name in ("dataset", "task", "description", "network", "steps", "epochs") if options.get(name)]
    if given:
        raise ConfigError(
            f"The run in '{folder}' has its own {', '.join(given)}.", "Give --run-folder and --resume alone."
        )
    stored = from_json(TrainConfig, read_json(files.options), f"{files.options}:")
    changed = {name: options[name] for name in _MAY_CHANGE if options.get(name) not in (None, "auto")}
    return replace(stored, run_folder=str(folder), resume=True, **changed)
