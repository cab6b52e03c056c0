"""What turns prompts on a grid into a mask: a network, or grow-cut where there is none."""

from __future__ import annotations

from typing import Protocol

from medai.click.grid import Floats
from medai.click.grow_cut import GrowCutEngine
from medai.click.model import LoadedClickModel
from medai.click.prompts import PromptMaps
from medai.progress import CancelCheck


class ClickEngine(Protocol):
    """Segments a cubic grid of `size` voxels along each side."""

    @property
    def name(self) -> str:
        """What computes, for a person."""
        ...

    @property
    def size(self) -> int:
        """Side of the grid in voxels."""
        ...

    @property
    def refines(self) -> bool:
        """Whether a second pass at a finer grid, with the first result as previous mask, betters it."""
        ...

    def warm_up(self, cancelled: CancelCheck) -> None:
        """Do now what would make the first prompt slow."""
        ...

    def rate(self, image: Floats, values: Floats, cut_off: bool, first: bool) -> float:
        """How good a result is; one below 1 makes a wider cube be tried, and the best of all is taken.

        `cut_off`: it reaches the cube's border; `first`: nothing is known of its size yet.
        """
        ...

    def steadied(self, image: Floats, values: Floats, maps: PromptMaps) -> Floats:
        """The result of a first prompt once more, with the look that was chosen: what is doubtful gets decided."""
        ...

    def predict(self, image: Floats, previous: Floats, maps: PromptMaps, cancelled: CancelCheck) -> Floats:
        """Probability of the object on the grid; `image` is normalised to about 0..1, `previous` is the mask so far."""
        ...


def make_engine(model: LoadedClickModel | None) -> ClickEngine:
    """The engine of a model; grow-cut for None."""
    return GrowCutEngine() if model is None else model.engine()
