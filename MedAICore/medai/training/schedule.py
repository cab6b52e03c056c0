"""How far a run is, and the learning rate that belongs to it."""

from __future__ import annotations

from medai.training.settings import TrainingSettings


def run_fraction(step: int, elapsed_s: float, settings: TrainingSettings) -> float:
    """Part of the run that is done, 0..1: by steps, or by time where that is further.

    With a time limit the learning rate so reaches zero at the limit whatever the machine's speed is; such a run cannot
    be repeated to the last bit. Without one the fraction depends on the step alone.
    """
    fraction = step / settings.steps
    if settings.max_minutes is not None:
        fraction = max(fraction, elapsed_s / (60.0 * settings.max_minutes))
    return min(fraction, 1.0)


def learning_rate(fraction: float, settings: TrainingSettings) -> float:
    """Linear warm-up, then polynomial decay to zero: lr (1 - fraction)^power (Chen et al. 2017, as in nnU-Net)."""
    warmup = settings.warmup_fraction
    rising = min(1.0, (fraction + 0.02 * warmup) / warmup) if warmup > 0 else 1.0
    return settings.learning_rate * rising * (1.0 - fraction) ** settings.poly_power
