"""The table of networks: a name and plain-data arguments make a module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from medai.config import from_json, to_json
from medai.errors import ConfigError, ModelError
from medai.networks.classifiers import (
    SeedCNN,
    SeedCNNAny,
    SeedCNNAnyArguments,
    SeedCNNArguments,
    StructureCNN,
    StructureCNNArguments,
)
from medai.networks.monai_classifiers import (
    DenseNetArguments,
    EfficientNetArguments,
    ResNetArguments,
    SEResNetArguments,
    build_densenet,
    build_efficientnet,
    build_resnet,
    build_seresnet,
)
from medai.networks.monai_networks import DynUNetArguments, SegResNetArguments, build_dynunet, build_segresnet
from medai.networks.shape_net import ShapeNet, ShapeNetArguments
from medai.networks.unet import UNet, UNetArguments


@dataclass(frozen=True)
class NetworkEntry:
    """One network of the registry: the dataclass that checks its arguments, the function that builds it, its task.

    `encoder` are the beginnings of the names of the weights that find features, which fine-tuning may leave as they
    are; of a classifier they are all but the last layer.
    """

    arguments: type
    build: Callable[[Any], nn.Module]
    task: Literal["segment", "classify"] = "segment"
    encoder: tuple[str, ...] = ()


NETWORKS: dict[str, NetworkEntry] = {
    "unet": NetworkEntry(UNetArguments, UNet, encoder=("encoder.", "encoders.", "fusions.")),
    "dynunet": NetworkEntry(
        DynUNetArguments,
        build_dynunet,
        encoder=("network.input_block.", "network.downsamples.", "network.bottleneck."),
    ),
    "segresnet": NetworkEntry(SegResNetArguments, build_segresnet, encoder=("convInit.", "down_layers.")),
    "seed_cnn": NetworkEntry(SeedCNNArguments, SeedCNN, "classify"),
    "seed_cnn_any": NetworkEntry(SeedCNNAnyArguments, SeedCNNAny, "classify"),
    "structure_cnn": NetworkEntry(StructureCNNArguments, StructureCNN, "classify"),
    "shape_net": NetworkEntry(ShapeNetArguments, ShapeNet, "classify"),
    "densenet": NetworkEntry(DenseNetArguments, build_densenet, "classify"),
    "resnet": NetworkEntry(ResNetArguments, build_resnet, "classify"),
    "seresnet": NetworkEntry(SEResNetArguments, build_seresnet, "classify"),
    "efficientnet": NetworkEntry(EfficientNetArguments, build_efficientnet, "classify"),
}
"""Name -> entry; a network of your own is one more entry (docs/add-a-network.md)."""


def available(task: Literal["segment", "classify"] | None = None) -> tuple[str, ...]:
    """Names of the networks that can be built, of one task or of all."""
    return tuple(name for name, entry in NETWORKS.items() if task in (None, entry.task))


def parse_arguments(name: str, arguments: Mapping[str, Any]) -> Any:
    """The checked arguments of a network as its dataclass; ConfigError names the argument that is wrong."""
    if name not in NETWORKS:
        raise ConfigError(f"There is no network '{name}'.", f"Use one of {', '.join(NETWORKS)}.")
    return from_json(NETWORKS[name].arguments, dict(arguments), f"network '{name}'")


def build_network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network: (b, channels, k, j, i) -> logits (b, labels + 1, k, j, i), or (b, classes).

    In training mode with deep supervision it returns a list of logits, highest resolution first.
    """
    checked = parse_arguments(name, arguments)
    network = NETWORKS[name].build(checked)
    network.__dict__["built_from"] = (name, to_json(dict(arguments)))
    return network


def built_from(network: nn.Module) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments that `build_network` made `network` from, as plain data; None for any other network."""
    found = network.__dict__.get("built_from")
    return found if isinstance(found, tuple) else None


def size_divisor(name: str, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """What an input's size must be a multiple of, per spatial axis."""
    divisor: tuple[int, ...] = parse_arguments(name, arguments).divisor
    return divisor


def without_deep_supervision(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for a network that only predicts: the same weights, less the heads that training alone uses."""
    known = {field.name for field in dataclasses.fields(NETWORKS[name].arguments)}
    return {**arguments, **({"deep_supervision": False} if "deep_supervision" in known else {})}


def output_weights(name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the weights whose first axis is the labels (with background) or classes: what one more would change."""
    key = "classes" if NETWORKS[name].task == "classify" else "out_channels"
    more = {**arguments, key: arguments[key] + 1}
    with torch.device("meta"):  # shapes without memory
        now, then = (build_network(name, these).state_dict() for these in (arguments, more))
    return tuple(weight for weight, tensor in now.items() if tensor.shape != then[weight].shape)


def encoder_weights(name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Beginnings of the names of the weights that find features, see `NetworkEntry.encoder`."""
    entry = NETWORKS[name]
    if entry.encoder:
        return entry.encoder
    if entry.task != "classify":
        raise ConfigError(f"It is not known which part of the network '{name}' is its encoder.", "Train all of it.")
    last = output_weights(name, arguments)
    with torch.device("meta"):
        weights = build_network(name, arguments).named_parameters()
    return tuple(weight for weight, _ in weights if weight not in last)


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy `weights` into `network`; ModelError where names or shapes differ."""
    try:
        network.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"The weights do not fit the network: {error}", "The package is damaged, or made for another version."
        ) from error
