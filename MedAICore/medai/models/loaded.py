"""The networks of a model package, built and kept for many cases; the part that all tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medai.config.model_card import ModelCard, Task
from medai.errors import ModelError
from medai.models.package import ModelPackage

if TYPE_CHECKING:
    import torch
    from torch import nn

_TASKS: dict[Task, str] = {"segment": "segmentation", "click": "click", "classify": "classification"}


@dataclass(frozen=True, eq=False)
class LoadedPackage:
    """The networks of all folds of a package, on `device`; `networks[n]` belongs to ``folds[n]``."""

    package: ModelPackage
    device: torch.device
    folds: tuple[int, ...]
    networks: nn.ModuleList

    @property
    def card(self) -> ModelCard:
        """The package's model.json."""
        return self.package.card

    @property
    def planar(self) -> bool:
        """Whether the network sees single slices."""
        return self.card.patch[0] == 1

    def networks_of(self, folds: tuple[int, ...]) -> list[nn.Module]:
        """The networks of these folds (all, where none is named); ModelError for a fold that there is not."""
        missing = sorted(set(folds) - set(self.folds))
        if missing:
            raise ModelError(f"Model '{self.card.id}' has no fold {missing[0]}.", f"Its folds are {list(self.folds)}.")
        return [net for fold, net in zip(self.folds, self.networks, strict=True) if not folds or fold in folds]


def load_networks(
    package: ModelPackage, task: Task, device: torch.device, folds: tuple[int, ...] = ()
) -> nn.ModuleList:
    """One network for each of these folds (none named: all of the package), with its weights, to predict on `device`.

    Raises ModelError (a package for another task, weights that do not fit).
    """
    from torch import nn

    from medai.networks import build_network, load_weights, without_deep_supervision

    card = package.card
    if card.task != task:
        raise ModelError(f"Model '{card.id}' is for '{card.task}'.", f"Give a {_TASKS[task]} model.")
    arguments = without_deep_supervision(card.network.name, card.network.arguments)
    networks = nn.ModuleList()
    for fold in folds or package.folds:
        network = build_network(card.network.name, arguments)
        load_weights(network, package.weights(fold))
        networks.append(network.eval().requires_grad_(False).to(device))
    return networks
