"""Everything that determines a click training, as plain data: stored as config.json of its run folder."""

from __future__ import annotations

from dataclasses import dataclass

from medai.config.model_card import NetworkSpec
from medai.errors import ConfigError


@dataclass(frozen=True)
class ClickTrainingSettings:
    """Hyper-parameters. `size` is the side of the cube in voxels; `synthetic` and `brains` are parts of the samples.

    The learning rate is constant after the warm-up, so that a run has no end; with `cooldown_steps` it falls to zero
    over the last of them before `steps`.
    """

    network: NetworkSpec
    size: int = 48
    batch_size: int = 4
    steps: int = 1_000_000
    cooldown_steps: int = 0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 150
    gradient_clip: float = 5.0
    ema_decay: float = 0.998
    synthetic: float = 0.4
    brains: float = 0.1
    validation_minutes: float = 15.0
    checkpoint_minutes: float = 5.0
    validation_samples: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "batch_size", "steps", "learning_rate", "validation_minutes", "checkpoint_minutes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}.", "Give a number above 0.")
        if min(self.synthetic, self.brains) < 0 or self.synthetic + self.brains > 1:
            raise ConfigError(
                f"synthetic {self.synthetic} and brains {self.brains} are no parts of a whole.", "Give a sum up to 1."
            )


def rate_at(step: int, settings: ClickTrainingSettings) -> float:
    """Learning rate of a step: a linear rise, a plateau, and where asked for a linear fall at the end."""
    rising = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    left = settings.steps - step
    falling = min(1.0, left / settings.cooldown_steps) if settings.cooldown_steps else 1.0
    return settings.learning_rate * rising * falling
