"""A fast predictor that has to prove on the image itself that it finds the same structures."""

from __future__ import annotations

import logging

import torch

from medai.inference.predictor import Predictor
from medai.progress import CancelCheck, never_cancelled

_log = logging.getLogger(__name__)

TILES_TO_CHECK = 3
LARGEST_DISAGREEMENT = 0.005


class GatedPredictor:
    """Uses `exact` for the first three tiles with foreground and compares `fast` with it, then the one that passed.

    `fast` passes where the labels that it gives differ in at most 0.5 % of the foreground (either's) of those tiles.
    The tiles that were compared keep the exact logits, so that nothing has to be computed again when it fails. Tiles
    without foreground before that are computed exactly, too.
    """

    def __init__(self, fast: Predictor, exact: Predictor) -> None:
        self._fast = fast
        self._exact = exact
        self._tiles = 0
        self._foreground = 0
        self._different = 0
        self.device = exact.device

    @property
    def decided(self) -> bool:
        """Whether enough tiles were compared."""
        return self._tiles >= TILES_TO_CHECK

    @property
    def disagreement(self) -> float:
        """The part of the compared foreground whose label differs."""
        return self._different / max(1, self._foreground)

    @property
    def passed(self) -> bool:
        """Whether the fast predictor is in use."""
        return self.decided and self.disagreement <= LARGEST_DISAGREEMENT

    @property
    def engine(self) -> str:
        """The name of the predictor that is in use."""
        return self._fast.engine if self.passed else self._exact.engine

    def __call__(self, tile: torch.Tensor, cancelled: CancelCheck = never_cancelled) -> torch.Tensor:
        """Logits (n, k, j, i), float32, of one tile (c, k, j, i)."""
        if self.decided:
            return (self._fast if self.passed else self._exact)(tile, cancelled)
        logits = self._exact(tile, cancelled)
        labels = logits.argmax(0)
        if bool(labels.any()):
            self._compare(labels, self._fast(tile, cancelled).argmax(0))
        return logits

    def _compare(self, exact: torch.Tensor, fast: torch.Tensor) -> None:
        foreground = (exact > 0) | (fast > 0)
        self._tiles += 1
        self._foreground += int(foreground.sum())
        self._different += int((exact != fast)[foreground].sum())
        if self.decided and not self.passed:
            _log.warning(
                "Half precision disagrees in %.2f %% of the foreground; 32-bit is used.", 100 * self.disagreement
            )
