"""The panel's values as a `TrainConfig`, and as the arguments of the command line."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from medai.config.training import TrainConfig
from medai.errors import ConfigError

# Fields of TrainConfig that are not options of `medai plan`.
_NOT_PLANNED = (
    "dataset", "output", "task", "run_folder", "resume", "augmentation", "fold", "checkpoint_minutes", "model_id",
    "title", "licence", "validation_fraction",
)  # fmt: skip


def trainConfig(parameters: Any, output: Path, startModel: str = "") -> TrainConfig:
    """What the panel asks for; ConfigError names the value that cannot be used.

    `startModel` is the package that the training starts from, by its path.
    """
    classification = parameters.task.value == "classification"
    values: dict[str, Any] = {
        "dataset": parameters.dataset,
        "output": str(output),
        "task": parameters.task.value,
        "preset": parameters.preset.value,
        "model_id": modelId(parameters.modelName),
        "title": parameters.modelName.strip(),
        "licence": parameters.licence,
        "device": parameters.device,
        "seed": parameters.seed,
        "folds": parameters.folds,
        "max_minutes": parameters.maxMinutes or None,
        "spacing_mm": _three(parameters.spacing, float, _("spacing")),
        "patch": _three(parameters.patch, int, _("patch")),
        "width": parameters.width or None,
        "batch_size": parameters.batchSize or None,
        "loss": parameters.loss.value or None,
        "optimizer": parameters.optimizer.value or None,
        "learning_rate": parameters.learningRate or None,
        "epochs": parameters.epochs or None,
        "steps": parameters.steps or None,
        "normalization": parameters.normalization or None,
        "rotation_degrees": parameters.rotation if parameters.rotation >= 0 else None,
        "crop": parameters.crop or None,
        "finetune_from": startModel,
        "freeze_encoder": parameters.freezeEncoder and bool(startModel),
        "gpus": parameters.gpus,
    }
    if not classification:  # what a classifier has not
        values |= {
            "depth": parameters.depth or None,
            "blocks": parameters.blocks.value or None,
            "fusion": parameters.fusion.value or None,
        }
    return TrainConfig(**values)


def planArguments(config: TrainConfig) -> list[str]:
    """``plan DATASET ... --json``: every option that differs from its default."""
    arguments = ["plan", config.dataset]
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _NOT_PLANNED or value in (None, "", field.default):
            continue
        option = "--" + field.name.removesuffix("_mm").removesuffix("_degrees").replace("_", "-")
        if value is True:
            arguments.append(option)
        elif isinstance(value, tuple):
            arguments += [option, ",".join(f"{number:g}" for number in value)]
        else:
            arguments += [option, str(value)]
    return [*arguments, "--json"]


def modelId(name: str) -> str:
    """The id that a model of this name gets: lower case letters, digits, dots and dashes."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.casefold()).strip("-._")
    return plain[:64]


def _three(text: str, kind: Any, what: str) -> tuple[Any, Any, Any] | None:
    if not text.strip():
        return None
    parts = [part for part in re.split(r"[\s,;x]+", text.strip()) if part]
    try:
        numbers = tuple(kind(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or min(numbers) <= 0:
        raise ConfigError(
            _("The {what} '{text}' is not three numbers above 0.").format(what=what, text=text),
            _("Give it as slices, rows, columns: such as 3 1 1. Empty: the plan chooses."),
        )
    return numbers  # type: ignore[return-value]
