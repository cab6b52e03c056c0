"""What a click training is asked to do, and which volumes it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medai.config.model_card import TrainingData
from medai.errors import ConfigError


@dataclass(frozen=True)
class ClickVolume:
    """A labelled volume; `image` and `labels` are paths below the data's folder, an empty `image` is painted.

    All volumes of a patient are of one `part`. `group` is the set that it counts to in figures.
    """

    name: str
    group: str
    part: Literal["training", "validation"]
    image: str
    labels: str
    weight: float = 1.0


@dataclass(frozen=True)
class ClickData:
    """The volumes of a training, and the sources that its model names."""

    volumes: tuple[ClickVolume, ...]
    data: tuple[TrainingData, ...] = ()


@dataclass(frozen=True)
class ClickTrainConfig:
    """Options of one click training; `dataset` is the folder that holds the volumes of `description`.

    An empty `description` is the list of the shipped model. Without a data set only painted samples are drawn.
    """

    output: str
    dataset: str = ""
    description: str = ""
    run_folder: str = ""
    device: str = "auto"
    seed: int = 0
    steps: int | None = None
    cooldown_steps: int = 0
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    width: int = 8
    size: int = 48
    synthetic: float | None = None
    brains: float | None = None
    checkpoint_minutes: float = 5.0
    validation_minutes: float = 15.0
    resume: bool = False
    package_only: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "minutes", "batch_size", "learning_rate", "width", "checkpoint_minutes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}.", "Give a number above 0.")
        if self.size < 16 or self.size % 8:
            raise ConfigError(f"size is {self.size}.", "Give a multiple of 8 from 16 up.")
