"""Everything that determines a training run, as plain data: stored as config.json of the run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medai.augmentation import AugmentationSettings
from medai.config.model_card import NetworkSpec
from medai.config.training import LossName
from medai.errors import ConfigError


@dataclass(frozen=True)
class TrainingSettings:
    """Hyper-parameters of one run; `patch` and `spacing_mm` have the axes (k, j, i), 2D networks a patch of k = 1."""

    network: NetworkSpec
    label_names: tuple[str, ...]
    patch: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    training_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    steps: int
    batch_size: int = 2
    max_minutes: float | None = None
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    momentum: float = 0.99  # of SGD only
    warmup_fraction: float = 0.03
    poly_power: float = 0.9
    gradient_clip: float = 12.0
    foreground_fraction: float = 0.4
    overhang: float = 0.125
    ema_decay: float = 0.999
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    validations: int = 20
    validation_case_limit: int = 40
    checkpoint_minutes: float = 3.0
    seed: int = 0
    fold: int = 0
    loss: LossName = "dice_ce"
    initial_weights: str = ""
    """Name of a safetensors file in the run folder with the weights to start from; "" for random ones."""
    frozen: tuple[str, ...] = ()
    """Beginnings of the names of weights that are not trained."""
    processes: int = 1
    """So many processes train together, each on `batch_size` patches a step."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming a value that cannot be trained with."""
        for name in ("steps", "batch_size", "learning_rate", "checkpoint_minutes", "validations", "processes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}.", "Give a number above 0.")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ConfigError(f"max_minutes is {self.max_minutes}.", "Give a number above 0.")
        for name in ("foreground_fraction", "ema_decay", "warmup_fraction", "overhang", "momentum"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}.", "Give a number from 0 to below 1.")
        if not self.training_cases:
            raise ConfigError("There are no training cases.", "Add cases to the data set.")
