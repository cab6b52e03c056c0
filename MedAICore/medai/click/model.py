"""A click model made ready to compute, to be kept for many sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medai.config.model_card import ModelCard
from medai.errors import ModelError
from medai.models import ModelPackage, load_networks

if TYPE_CHECKING:
    import torch
    from torch import nn

    from medai.click.engine import ClickEngine


@dataclass(frozen=True, eq=False)
class LoadedClickModel:
    """The network of a click package on `device`; `engines` keeps what was compiled from it."""

    package: ModelPackage
    device: torch.device
    network: nn.Module
    engines: dict[str, ClickEngine] = field(default_factory=dict)

    @property
    def card(self) -> ModelCard:
        """The package's model.json."""
        return self.package.card

    def engine(self) -> ClickEngine:
        """What computes on this machine, made once."""
        from medai.click.network_engine import make_network_engine

        if "click" not in self.engines:
            self.engines["click"] = make_network_engine(self)
        return self.engines["click"]


def load_model(package: ModelPackage, device: str | torch.device = "auto") -> LoadedClickModel:
    """Build the package's network with its weights on `device` (a name for `choose_device`, or a device).

    Raises ModelError (other task, weights that do not fit) and InputError (device that is not there).
    """
    from medai.inference import choose_device

    target = choose_device(str(device))
    (network,) = load_networks(package, "click", target, package.folds[:1])
    if len(set(package.card.patch)) != 1:
        raise ModelError(f"Model '{package.card.id}' has the patch {package.card.patch}.", "A click model sees a cube.")
    return LoadedClickModel(package, target, network)
