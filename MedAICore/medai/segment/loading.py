"""A model package made ready to compute, to be kept for many cases."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medai.models import LoadedPackage, ModelPackage, load_networks
from medai.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from medai.inference import Predictor
    from medai.inference.anomaly import FeatureDistance


@dataclass(frozen=True, eq=False)
class LoadedModel(LoadedPackage):
    """A segmentation package, loaded.

    `engines` keeps what was compiled from the networks, by arithmetic, folds and tile; None: it cannot be compiled.
    `anomaly` is None where the package stores nothing about the features of its training data.
    """

    engines: dict[Hashable, Predictor | None] = field(default_factory=dict)
    anomaly: FeatureDistance | None = None

    @property
    def divisor(self) -> tuple[int, int, int]:
        """What the sides (k, j, i) of a tile must be multiples of."""
        from medai.networks import size_divisor

        divisor = size_divisor(self.card.network.name, self.card.network.arguments)
        return (1, divisor[0], divisor[1]) if len(divisor) == 2 else (divisor[0], divisor[1], divisor[2])

    @property
    def preprocessing(self) -> Preprocessing:
        """What has to be done to an image before the networks see it."""
        return Preprocessing.from_card(self.card)


def load_model(package: ModelPackage, device: str | torch.device = "auto") -> LoadedModel:
    """Build the package's networks with their weights on `device` (a name for `choose_device`, or a device).

    Raises ModelError (other task, weights that do not fit) and InputError (device that is not there).
    """
    from medai.inference import choose_device
    from medai.inference.anomaly import load_anomaly

    target = choose_device(str(device))
    networks = load_networks(package, "segment", target)
    return LoadedModel(package, target, package.folds, networks, anomaly=load_anomaly(package))
