"""Labelled volumes prepared for training of click models: memory-mapped arrays and what their objects are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from medai.config import from_json, read_json
from medai.errors import DatasetError

INDEX_NAME = "click-cases.json"


@dataclass(frozen=True)
class ClickObject:
    """One structure: its label `value`, `voxels`, and its box (k0, k1, j0, j1, i0, i1), ends excluded."""

    value: int
    voxels: int
    box: tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class ClickCaseCard:
    """One volume: `image` and `labels` are .npy files (k, j, i) beside the index; without an image it is painted.

    `group` is the set that it counts to in figures; sets are drawn equally often, by `weight`.
    """

    name: str
    group: str
    part: Literal["training", "validation"]
    image: str
    labels: str
    spacing_mm: tuple[float, float, float]
    objects: tuple[ClickObject, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class ClickIndex:
    """All prepared volumes."""

    cases: tuple[ClickCaseCard, ...]


@dataclass(frozen=True, eq=False)
class ClickCase:
    """A prepared volume; arrays are mapped when they are first needed."""

    card: ClickCaseCard
    folder: Path

    @cached_property
    def image(self) -> npt.NDArray[np.float32]:
        """Intensities (k, j, i)."""
        return np.load(self.folder / self.card.image, mmap_mode="r")

    @cached_property
    def labels(self) -> npt.NDArray[np.uint8]:
        """Label values (k, j, i)."""
        return np.load(self.folder / self.card.labels, mmap_mode="r")

    @property
    def spacing(self) -> npt.NDArray[np.float64]:
        """Millimetres along (k, j, i)."""
        return np.array(self.card.spacing_mm)


def open_cases(folder: Path) -> list[ClickCase]:
    """The volumes prepared in `folder`; DatasetError where there are none."""
    index = folder / INDEX_NAME
    if not index.is_file():
        raise DatasetError(f"'{folder}' holds no prepared click cases.", "Prepare them: medai train-click --prepare.")
    return [ClickCase(card, folder) for card in from_json(ClickIndex, read_json(index), f"{index}:").cases]
