"""Loaded models that stay in memory between requests, the least recently used one leaving first."""

from __future__ import annotations

import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from medai.config.requests import WarmModel

logger = logging.getLogger(__name__)
M = TypeVar("M")


@dataclass(frozen=True)
class Warm(Generic[M]):
    """A loaded model: `model`, what device.info says of it, and the seconds that loading took (0 where it was warm)."""

    model: M
    entry: WarmModel
    seconds: float = 0.0


class WarmModels(Generic[M]):
    """Keeps models within `budget_mb` MiB. A model larger than the budget is used, and is the only one kept."""

    def __init__(self, budget_mb: float) -> None:
        self.budget_mb = budget_mb
        self._models: OrderedDict[Hashable, Warm[M]] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], tuple[M, WarmModel]]) -> Warm[M]:
        """The model of `key`, loaded by `load` where it is not warm. `key` changes when the package's files change."""
        if key in self._models:
            self._models.move_to_end(key)
            return self._models[key]
        started_s = time.perf_counter()
        model, entry = load()
        seconds = time.perf_counter() - started_s
        logger.info("Loaded %s on %s: %.0f MiB, %.2f s", entry.id, entry.device, entry.memory_mb, seconds)
        self._models[key] = Warm(model, entry)
        self._make_room()
        return Warm(model, entry, seconds)

    def entries(self) -> tuple[WarmModel, ...]:
        """What is loaded, the most recently used first."""
        return tuple(warm.entry for warm in reversed(self._models.values()))

    @property
    def memory_mb(self) -> float:
        """What all loaded models take, MiB."""
        return sum(warm.entry.memory_mb for warm in self._models.values())

    def forget_all(self) -> None:
        """Give all models back, as when memory ran out."""
        self._models.clear()
        gc.collect()

    def _make_room(self) -> None:
        while self.memory_mb > self.budget_mb and len(self._models) > 1:
            _, dropped = self._models.popitem(last=False)
            logger.info("Dropped %s on %s to make room.", dropped.entry.id, dropped.entry.device)
        gc.collect()
