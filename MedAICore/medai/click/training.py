"""Train a click model: prepare the volumes, run or resume the training, package its averaged weights."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medai.click.prepare import prepare
from medai.config import from_json, read_json, to_json
from medai.config.click import ClickData, ClickTrainConfig
from medai.config.model_card import InputSpec, ModelCard, NetworkSpec, Normalization, Training
from medai.errors import ConfigError, DatasetError
from medai.models import UNWRITTEN_WEIGHTS, write_package
from medai.networks.click_channels import CHANNELS
from medai.progress import CancelCheck, ProgressCallback, never_cancelled, no_progress
from medai.training import RunFolder, choose_compute
from medai.training.checkpoint import load_checkpoint
from medai.training.click_cases import INDEX_NAME, ClickCase, open_cases
from medai.training.click_loop import ClickTrainer
from medai.training.click_settings import ClickTrainingSettings

_OWN_LIST = Path(__file__).resolve().parent.parent / "resources" / "click-any-data.json"
_MAY_CHANGE = (
    "steps", "cooldown_steps", "learning_rate", "batch_size", "checkpoint_minutes", "validation_minutes",
    "synthetic", "brains", "size", "validation_samples",
)  # fmt: skip


@dataclass(frozen=True)
class ClickTrainResult:
    """What a training came to: the package, the run's folder, steps and minutes so far, and the last validation."""

    output: Path
    run_folder: Path
    steps: int
    minutes: float
    finished: bool
    dice: dict[str, dict[str, float]]


def train(
    config: ClickTrainConfig, progress: ProgressCallback = no_progress, cancelled: CancelCheck = never_cancelled
) -> ClickTrainResult:
    """Train until the steps or minutes are over, or until `cancelled`, and package the weights as they are then.

    With `resume` a run goes on from its checkpoint, and may have another learning rate or mixture of samples; with
    `package_only` the newest checkpoint is packaged and nothing is computed.
    """
    root = Path(config.run_folder or f"{config.output}.run")
    folder = RunFolder(root)
    description = _description(config)
    if config.package_only:
        settings = _stored(folder)
        return _packaged(config, description, folder, settings, finished=False)
    settings = settings_of(config)
    with folder.locked():
        cases = _cases(config, description, root / "cache", progress, cancelled)
        trainer = ClickTrainer(settings, cases, choose_compute(config.device), root)
        _begin(trainer, config, settings, folder)
        until_s = None if config.minutes is None else time.monotonic() + 60 * config.minutes

        def stopped() -> bool:
            return cancelled() or (until_s is not None and time.monotonic() > until_s)

        finished = trainer.run(progress, stopped)
    return _packaged(config, description, folder, settings, finished)


def settings_of(config: ClickTrainConfig) -> ClickTrainingSettings:
    """The hyper-parameters of a configuration."""
    w = config.width
    network = NetworkSpec(
        "unet",
        {
            "in_channels": len(CHANNELS),
            "out_channels": 1,
            "channels": [w, 3 * w, 6 * w, 12 * w],
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
            "blocks_per_stage": [1, 2, 2, 2],
            "decoder_blocks_per_stage": [1, 1, 1],
            "normalization": "group",
        },
    )
    given = {
        name: getattr(config, name)
        for name in ("steps", "batch_size", "learning_rate", "synthetic", "brains")
        if getattr(config, name) is not None
    }
    return ClickTrainingSettings(
        network=network,
        size=config.size,
        seed=config.seed,
        cooldown_steps=config.cooldown_steps,
        checkpoint_minutes=config.checkpoint_minutes,
        validation_minutes=config.validation_minutes,
        **given,
    )


def _description(config: ClickTrainConfig) -> ClickData:
    path = Path(config.description) if config.description else _OWN_LIST
    return from_json(ClickData, read_json(path), f"{path}:")


def _cases(
    config: ClickTrainConfig, description: ClickData, cache: Path, progress: ProgressCallback, cancelled: CancelCheck
) -> Sequence[ClickCase]:
    if not config.dataset:
        return []
    if not (cache / INDEX_NAME).is_file():
        dataset = Path(config.dataset)
        if not dataset.is_dir():
            raise DatasetError(f"There is no data set '{dataset}'.", "Check the path.")
        prepare(description.volumes, dataset, cache, progress, cancelled)
    return open_cases(cache)


def _begin(trainer: ClickTrainer, config: ClickTrainConfig, settings: ClickTrainingSettings, folder: RunFolder) -> None:
    """Start anew, or go on from the checkpoint; ConfigError where that would mix two runs."""
    if folder.config.is_file() and not config.resume:
        raise ConfigError(
            f"'{folder.root}' holds an earlier run.", "Go on with it by --resume, or remove that folder to start again."
        )
    if folder.config.is_file():
        stored = _stored(folder)
        changed = [
            name
            for name in vars(stored)
            if name not in _MAY_CHANGE and getattr(stored, name) != getattr(settings, name)
        ]
        if changed:
            raise ConfigError(
                f"The run in '{folder.root}' was started with other settings: {', '.join(changed)}.",
                "Give the options that it was started with, or start a new run.",
            )
    folder.root.mkdir(parents=True, exist_ok=True)
    folder.config.write_text(json.dumps(to_json(settings), indent=1), encoding="utf-8")
    if folder.checkpoint.is_file():
        trainer.restore()
    else:
        folder.start()


def _stored(folder: RunFolder) -> ClickTrainingSettings:
    return from_json(ClickTrainingSettings, read_json(folder.config), f"{folder.config}:")


def _packaged(
    config: ClickTrainConfig,
    description: ClickData,
    folder: RunFolder,
    settings: ClickTrainingSettings,
    finished: bool,
) -> ClickTrainResult:
    import torch

    state = load_checkpoint(folder.checkpoint, torch.device("cpu"))
    validations = [event for event in folder.events() if event["event"] == "validation"]
    dice = validations[-1]["dice"] if validations else {}
    minutes = round(state["seconds"] / 60, 1)
    card = _card(config, description, settings, dice, {"steps": state["step"], "minutes": minutes})
    write_package(Path(config.output), card, [state["average"]])
    return ClickTrainResult(Path(config.output), folder.root, state["step"], minutes, finished, dice)


def _card(
    config: ClickTrainConfig,
    description: ClickData,
    settings: ClickTrainingSettings,
    dice: dict[str, dict[str, float]],
    run: dict[str, Any],
) -> ModelCard:
    size = settings.size
    return ModelCard(
        format=1,
        id="click-any",
        version="1.0.0",
        title="Click to segment any structure",
        description="Segments the structure that is clicked on, in volumes of any modality; knows no anatomy by name.",
        task="click",
        network=settings.network,
        weights=UNWRITTEN_WEIGHTS,
        inputs=(InputSpec("image", normalization=Normalization("none"), description="Any modality; scaled by MedAI."),),
        licence="Apache-2.0",
        citation=tuple(f"{entry.name}: {entry.citation}" for entry in description.data) if config.dataset else (),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=(size, size, size),
        training=Training(
            description.data if config.dataset else (),
            {"validation_dice_after_clicks": dice},
            run | {"seed": settings.seed, "synthetic": settings.synthetic, "brains": settings.brains},
        ),
    )
