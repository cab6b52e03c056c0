"""What a segmentation model's card says of its labels: how they are tidied up, summed, and judged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from medai.errors import ConfigError


@dataclass(frozen=True)
class PostprocessingStep:
    """One step of what is done to the label map of a model, on the grid of the image.

    ``largest_component``: of each label (`together`: of all of them as one structure) stay the largest piece of
    touching voxels and those of at least `share` of its size (1: the largest alone); any other becomes what surrounds
    it most.
    ``fill_holes``: background that is enclosed by a label alone (`together`: by any of them) gets the nearest of them.
    `labels` are names; empty: all of the model's.
    """

    step: Literal["largest_component", "fill_holes"]
    labels: tuple[str, ...] = ()
    together: bool = False
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"postprocessing share is {self.share}.", "Give a number above 0, up to 1.")


@dataclass(frozen=True)
class TotalSpec:
    """A sum of labels that is worth a line of its own, as the intracranial volume. `labels` are names; empty: all."""

    name: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class QualitySpec:
    """How the network's certainty about a structure translates to the Dice coefficient that can be expected.

    Piecewise linear through the points (`certainty[n]`, `dice[n]`), which were fitted on validation data; beyond their
    ends it is constant. A person is warned of a structure whose expected Dice is below `low`.
    """

    certainty: tuple[float, ...] = (0.0, 1.0)
    dice: tuple[float, ...] = (0.0, 1.0)
    low: float = 0.6

    def __post_init__(self) -> None:
        points = len(self.certainty)
        if points < 2 or len(self.dice) != points:
            raise ConfigError(
                f"quality has {points} certainties and {len(self.dice)} Dice coefficients.",
                "Give as many of the one as of the other, two or more.",
            )
        if any(b <= a for a, b in itertools.pairwise(self.certainty)):
            raise ConfigError(f"quality certainties {list(self.certainty)} do not rise.", "Give them in rising order.")
        if any(b < a for a, b in itertools.pairwise(self.dice)):
            raise ConfigError(f"quality Dice coefficients {list(self.dice)} fall.", "More certain is never worse.")
        for name, values in (("certainty", self.certainty), ("dice", self.dice), ("low", (self.low,))):
            if not all(0.0 <= value <= 1.0 for value in values):
                raise ConfigError(f"quality {name} {list(values)} leaves 0 to 1.", "Give numbers from 0 to 1.")

    def expected_dice(self, certainty: float) -> float:
        """The Dice coefficient to expect of a structure that the network is so certain of."""
        pairs = list(zip(self.certainty, self.dice, strict=True))
        if certainty <= pairs[0][0]:
            return pairs[0][1]
        for (x0, y0), (x1, y1) in itertools.pairwise(pairs):
            if certainty <= x1:
                return y0 + (y1 - y0) * (certainty - x0) / (x1 - x0)
        return pairs[-1][1]


@dataclass(frozen=True)
class PlausibilitySpec:
    """Volumes (lowest, highest, mL) that structures and totals have in images that the model was made for.

    Where more than `share` of the structures are missing or of another size, or one of the totals is, the image is
    reported as one that does not show what the model needs.
    """

    volumes_ml: dict[str, tuple[float, float]] = field(default_factory=dict)
    share: float = 0.25

    def __post_init__(self) -> None:
        for name, (low, high) in self.volumes_ml.items():
            if not (0.0 <= low < high and math.isfinite(high)):
                raise ConfigError(
                    f"plausibility of '{name}' is {low} to {high} mL.", "Give the lowest, then the highest volume."
                )
        if not 0.0 < self.share < 1.0:
            raise ConfigError(f"plausibility share is {self.share}.", "Give a number between 0 and 1.")


def check_names(what: str, named: Iterable[str], known: Iterable[str]) -> None:
    """ConfigError where `what` of a card names something that is not `known`."""
    there = list(known)
    unknown = [name for name in named if name not in there]
    if unknown:
        raise ConfigError(
            f"{what} names '{unknown[0]}', which is none of the card's labels.", f"They are: {', '.join(there)}."
        )
