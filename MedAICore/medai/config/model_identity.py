"""What a trained model is called, and under which licence it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from medai.config.training import ModelDescription, TrainConfig

UNKNOWN_LICENCE = "LicenseRef-unspecified"


@dataclass(frozen=True)
class ModelIdentity:
    """The part of a card that says which model this is."""

    id: str
    title: str
    licence: str


def identity_of(config: TrainConfig, description: ModelDescription, licence: str = "") -> ModelIdentity:
    """What the options say, else the description, else the output's file name and the data set's `licence`."""
    name = config.model_id or description.id or _as_id(Path(config.output).stem)
    return ModelIdentity(
        name,
        config.title or description.title or name,
        config.licence or description.licence or licence or UNKNOWN_LICENCE,
    )


def _as_id(name: str) -> str:
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.casefold()).strip("-._")
    return plain[:64] or "model"
