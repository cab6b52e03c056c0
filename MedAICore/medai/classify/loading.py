"""A classification package made ready to compute, to be kept for many images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medai.models import LoadedPackage, ModelPackage, load_networks
from medai.preprocessing.framing import MASK, Framing

if TYPE_CHECKING:
    import torch

    from medai.inference.anomaly import FeatureDistance


@dataclass(frozen=True, eq=False)
class LoadedClassifier(LoadedPackage):
    """A classification package, loaded.

    `anomaly` is None where the package stores nothing about the features of its training data.
    """

    anomaly: FeatureDistance | None = None

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


def load_model(package: ModelPackage, device: str | torch.device = "auto") -> LoadedClassifier:
    """Build the package's networks with their weights on `device` (a name for `choose_device`, or a device).

    Raises ModelError (other task, weights that do not fit) and InputError (device that is not there).
    """
    from medai.inference import choose_device
    from medai.inference.anomaly import load_anomaly

    target = choose_device(str(device))
    networks = load_networks(package, "classify", target)
    return LoadedClassifier(package, target, package.folds, networks, load_anomaly(package))
