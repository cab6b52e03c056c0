"""What a training on images painted from label maps is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medai.errors import ConfigError

_MULTIPLE = 16


@dataclass(frozen=True)
class SyntheticTrainConfig:
    """Options of one training on painted images; `maps` is the folder of label maps.

    `maps_description` is the path of a JSON file with a `LabelMapsDescription` ("" for the folder's own
    label_maps.json, or none), `description` one with a `ModelDescription` for the card. Without `steps` the run goes on
    until it is stopped; `cooldown_steps` on resuming lets the learning rate fall to zero over so many steps and ends
    the run. `scans` holds fields of `medai.synthesis.scans.ScanSettings`. `hold_out` maps are drawn by `seed` for
    validation where the description names none. `start_from`, the run folder or package of an earlier training, gives
    the weights of all layers whose names and shapes are equal.
    """

    maps: str
    output: str
    maps_description: str = ""
    description: str = ""
    run_folder: str = ""
    device: str = "auto"
    seed: int = 0
    steps: int | None = None
    cooldown_steps: int = 0
    max_minutes: float | None = None
    batch_size: int = 1
    learning_rate: float = 1e-3
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    patch: tuple[int, int, int] = (64, 64, 64)
    channels: tuple[int, ...] = (8, 24, 48, 96, 192)
    start_from: str = ""
    hold_out: int = 0
    scans: dict[str, Any] | None = None
    checkpoint_minutes: float = 5.0
    validation_minutes: float = 35.0
    resume: bool = False
    package_only: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the option that cannot be trained with."""
        names = ("steps", "max_minutes", "batch_size", "learning_rate", "checkpoint_minutes", "validation_minutes")
        for name in names:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}.", "Give a number above 0.")
        if min(self.spacing_mm) <= 0:
            raise ConfigError(f"spacing_mm is {list(self.spacing_mm)}.", "Give three numbers above 0, in k, j, i.")
        divisor = min(2 ** (len(self.channels) - 1), _MULTIPLE)
        if any(n < 2 * divisor or n % divisor for n in self.patch):
            raise ConfigError(f"patch is {list(self.patch)}.", f"Give multiples of {divisor} from {2 * divisor} up.")
        for name in ("cooldown_steps", "hold_out", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}.", "Give 0 or more.")
