"""A classification package made ready to compute, to be kept for many images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medai.config.model_card import ModelCard
from medai.errors import ModelError
from medai.models import ModelPackage
from medai.preprocessing.framing import MASK, Framing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from medai.inference.anomaly import FeatureDistance


@dataclass(frozen=True, eq=False)
class LoadedClassifier:
    """The networks of all folds of a package, on `device`; `networks[n]` belongs to ``folds[n]``.

    `anomaly` is None where the package stores nothing about the features of its training data.
    """

    package: ModelPackage
    device: torch.device
    folds: tuple[int, ...]
    networks: nn.ModuleList
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
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return tuple(spec.name for spec in self.card.classes)

    @property
    def framing(self) -> Framing:
        """What has to be done to an image before the networks see it."""
        return Framing.from_card(self.card)

    @property
    def image_inputs(self) -> int:
        """How many images a run needs; 0 for a model that looks at masks alone."""
        return sum(spec.modality != MASK for spec in self.card.inputs)

    @property
    def mask_inputs(self) -> int:
        """How many of the inputs show the mask of what is classified."""
        return len(self.card.inputs) - self.image_inputs

    def networks_of(self, folds: tuple[int, ...]) -> list[nn.Module]:
        """The networks of these folds (all, where none is named); ModelError for a fold that there is not."""
        missing = sorted(set(folds) - set(self.folds))
        if missing:
            raise ModelError(f"Model '{self.card.id}' has no fold {missing[0]}.", f"Its folds are {list(self.folds)}.")
        return [net for fold, net in zip(self.folds, self.networks, strict=True) if not folds or fold in folds]


def load_model(package: ModelPackage, device: str | torch.device = "auto") -> LoadedClassifier:
    """Build the package's networks with their weights on `device` (a name for `choose_device`, or a device).

    Raises ModelError (other task, weights that do not fit) and InputError (device that is not there).
    """
    from torch import nn

    from medai.inference import choose_device
    from medai.inference.anomaly import load_anomaly
    from medai.networks import build_network, load_weights

    card = package.card
    if card.task != "classify":
        raise ModelError(f"Model '{card.id}' is for '{card.task}'.", "Give a classification model.")
    target = choose_device(str(device))
    networks = nn.ModuleList()
    for fold in package.folds:
        network = build_network(card.network.name, card.network.arguments)
        load_weights(network, package.weights(fold))
        networks.append(network.eval().requires_grad_(False).to(target))
    return LoadedClassifier(package, target, package.folds, networks, load_anomaly(package))
