"""A model package made ready to compute, to be kept for many cases."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medai.config.model_card import ModelCard
from medai.errors import ModelError
from medai.models import ModelPackage
from medai.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from medai.inference import Predictor
    from medai.inference.anomaly import FeatureDistance


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """The networks of all folds of a package, on `device`; `networks[n]` belongs to ``folds[n]``.

    `engines` keeps what was compiled from them, by arithmetic, folds and tile; None: it cannot be compiled.
    `anomaly` is None where the package stores nothing about the features of its training data.
    """

    package: ModelPackage
    device: torch.device
    folds: tuple[int, ...]
    networks: nn.ModuleList
    engines: dict[Hashable, Predictor | None] = field(default_factory=dict)
    anomaly: FeatureDistance | None = None

    @property
    def card(self) -> ModelCard:
        """The package's model.json."""
        return self.package.card

    @property
    def planar(self) -> bool:
        """Whether the network sees single slices."""
        return self.card.patch[0] == 1

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

    def networks_of(self, folds: tuple[int, ...]) -> list[nn.Module]:
        """The networks of these folds (all, where none is named); ModelError for a fold that there is not."""
        missing = sorted(set(folds) - set(self.folds))
        if missing:
            raise ModelError(f"Model '{self.card.id}' has no fold {missing[0]}.", f"Its folds are {list(self.folds)}.")
        return [net for fold, net in zip(self.folds, self.networks, strict=True) if not folds or fold in folds]


def load_model(package: ModelPackage, device: str | torch.device = "auto") -> LoadedModel:
    """Build the package's networks with their weights on `device` (a name for `choose_device`, or a device).

    Raises ModelError (other task, weights that do not fit) and InputError (device that is not there).
    """
    from torch import nn

    from medai.inference import choose_device
    from medai.inference.anomaly import load_anomaly
    from medai.networks import build_network, load_weights, without_deep_supervision

    card = package.card
    if card.task != "segment":
        raise ModelError(f"Model '{card.id}' is for '{card.task}'.", "Give a segmentation model.")
    target = choose_device(str(device))
    arguments = without_deep_supervision(card.network.name, card.network.arguments)
    networks = nn.ModuleList()
    for fold in package.folds:
        network = build_network(card.network.name, arguments)
        load_weights(network, package.weights(fold))
        networks.append(network.eval().requires_grad_(False).to(target))
    return LoadedModel(package, target, package.folds, networks, anomaly=load_anomaly(package))
