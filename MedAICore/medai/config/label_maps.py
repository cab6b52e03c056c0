"""What the values of label maps mean where a training paints its images from them (`medai train --synthetic-from`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medai.config.model_card import LabelSpec
from medai.errors import ConfigError

Tissue = Literal["white", "grey", "fluid", "other"]


@dataclass(frozen=True)
class MapLabel:
    """One value of the label maps, beside 0, the background.

    `label` is the value that the model is taught for it: its own by default, another one's to merge them, 0 where it is
    painted but not segmented. `mirror` is the value of the same structure on the other side of the body (default: its
    own). `tissue` groups structures that often look alike, ``other`` ones look like nothing else. `removable`
    structures (skull, skin, eyes) are left out of a part of the images, as if they had been stripped.
    """

    value: int
    name: str = ""
    label: int | None = None
    mirror: int | None = None
    tissue: Tissue = "other"
    removable: bool = False

    def __post_init__(self) -> None:
        for name in ("value", "label", "mirror"):
            number = getattr(self, name)
            if number is not None and number < 0:
                raise ConfigError(f"{name} {number} of a label is below 0.", "Label values are 1 and above.")
        if self.value == 0:
            raise ConfigError("A label has the value 0.", "0 is the background and needs no entry.")

    @property
    def target(self) -> int:
        """The value that the model is taught for it; 0 for none."""
        return self.value if self.label is None else self.label


@dataclass(frozen=True)
class Contrast:
    """A kind of image that a part of the samples shows: per value mean and spread, each as (mean, deviation).

    Numbers are in any unit; values that are not named look random.
    """

    name: str
    weight: float
    means: dict[str, tuple[float, float]] = field(default_factory=dict)
    spreads: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelMapsDescription:
    """A folder's label maps: their values, the model's labels, known contrasts, and the maps that are held out.

    Values of the maps that `values` does not list are labels of their own with plain names. `labels` gives the model's
    labels names, colours and codes; values without an entry get plain ones. `held_out` are file names (without suffix)
    that are never trained on.
    """

    values: tuple[MapLabel, ...] = ()
    labels: tuple[LabelSpec, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        listed = [entry.value for entry in self.values]
        doubled = sorted({value for value in listed if listed.count(value) > 1})
        if doubled:
            raise ConfigError(f"The value {doubled[0]} is described twice.", "Describe every value once.")
        partners = {entry.value: entry.mirror for entry in self.values if entry.mirror is not None}
        for value, partner in partners.items():
            if partners.get(partner) != value:
                raise ConfigError(
                    f"{value} has {partner} as its mirror, but {partner} has {partners.get(partner)}.",
                    "Name each of the two as the other one's mirror.",
                )


@dataclass(frozen=True)
class MapsRecord:
    """What a run keeps of its label maps: their names, those held out, and the labels in the network's order."""

    names: tuple[str, ...]
    held_out: tuple[str, ...]
    labels: tuple[LabelSpec, ...]
