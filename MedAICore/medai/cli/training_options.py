"""Options of ``medai train`` and ``medai plan``: the values of their choices, and texts that must be parsed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from medai.config.training import TrainConfig


class TaskChoice(StrEnum):
    """Values of ``--task``."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"


class WeightsChoice(StrEnum):
    """Values of ``--class-weights``."""

    NONE = "none"
    BALANCED = "balanced"


class ThresholdChoice(StrEnum):
    """Values of ``--threshold``."""

    BALANCED = "balanced"
    SPECIFIC = "specific"
    ACCURACY = "accuracy"


class OptimizerChoice(StrEnum):
    """Values of ``--optimizer``."""

    SGD = "sgd"
    ADAMW = "adamw"


class PresetChoice(StrEnum):
    """Values of ``--preset``."""

    QUICK = "quick"
    STANDARD = "standard"
    BEST = "best"


class LossChoice(StrEnum):
    """Values of ``--loss``."""

    DICE_CE = "dice_ce"
    CE = "ce"
    DICE = "dice"
    FOCAL = "focal"
    TVERSKY = "tversky"


class BlocksChoice(StrEnum):
    """Values of ``--blocks``."""

    PLAIN = "plain"
    RESIDUAL = "residual"
    SEPARABLE = "separable"
    DYNAMIC = "dynamic"
    MULTISCALE_ATTENTION = "multiscale_attention"


class FusionChoice(StrEnum):
    """Values of ``--fusion``."""

    EARLY = "early"
    ATTENTION = "attention"


class NormalizationChoice(StrEnum):
    """Values of ``--normalization``."""

    ZSCORE = "zscore"
    PERCENTILE = "percentile"
    CT_WINDOW = "ct_window"
    MINMAX = "minmax"
    NONE = "none"


class CropChoice(StrEnum):
    """Values of ``--crop``."""

    NONE = "none"
    NONZERO = "nonzero"
    BODY = "body"


def parse_three(text: str | None, option: str, kind: type[int] | type[float]) -> tuple[Any, Any, Any] | None:
    """``K,J,I`` as three numbers above 0; wrong usage for anything else."""
    if text is None:
        return None
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(n) and n > 0 for n in numbers):
        raise typer.BadParameter(
            f"'{text}' is not three numbers above 0. Give K,J,I (slices, rows, columns), e.g. 32,48,32.",
            param_hint=option,
        )
    return numbers[0], numbers[1], numbers[2]


def parse_augmentation(texts: Sequence[str]) -> dict[str, Any]:
    """``name=value`` texts as fields of the augmentation's settings, values in JSON: ``noise=0``, ``mirror=[...]``."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            equals = ""
        if not equals or not name.strip():
            raise typer.BadParameter(
                f"'{text}' is not NAME=VALUE with a number, true, false or a list.", param_hint="--augmentation"
            )
    return found


def fields_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `TrainConfig` out of a command's options; options that are no field of it are passed over."""
    max_minutes = options["max_minutes"]
    if max_minutes is not None and not 0 < max_minutes < math.inf:
        raise typer.BadParameter(f"'{max_minutes}' is not a time in minutes.", param_hint="--max-minutes")
    known = TrainConfig.__dataclass_fields__
    values = {name: _plain(value) for name, value in options.items() if name in known}
    values["description"] = values["description"] or ""
    values["run_folder"] = values.get("run_folder") or ""
    values["output"] = values.get("output") or ""
    values["folds"] = values["folds"] or 0
    values["patch"] = parse_three(options["patch"], "--patch", int)
    values["spacing_mm"] = parse_three(options["spacing_mm"], "--spacing", float)
    values["augmentation"] = parse_augmentation(options["augmentation"] or ())
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, Path) else value
