"""The feature maps of a layer and the gradient of a class score with respect to them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medai.errors import ModelError
from medai.progress import CancelCheck, check_cancelled

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_Seen = Callable[[str, int, nn.Module, Tensor], Tensor | None]


@dataclass(frozen=True)
class FeatureMaps:
    """What the maps of Grad-CAM are made of: `activations` and their `gradients`, both (c, [k,] j, i), of `layer`."""

    activations: Tensor
    gradients: Tensor
    layer: str


def feature_maps(
    network: nn.Module, inputs: Tensor, class_index: int, layer: str, cancelled: CancelCheck
) -> FeatureMaps:
    """Run `inputs` (1, c, [k,] j, i) and differentiate the logit of `class_index` by the output of `layer`.

    Only the part of the network behind the layer is differentiated; the network's parameters, their gradients and its
    training mode stay as they are, and no hook is left in it. An empty `layer` means `last_feature_layer`. Raises
    ModelError for a layer that does not exist or does not give maps, and for a class that the network does not have.
    """
    name, call = last_feature_layer(network, inputs, cancelled) if not layer else _named(network, layer)
    held: list[Tensor] = []

    def capture(seen: str, number: int, module: nn.Module, output: Tensor) -> Tensor | None:
        if seen != name or (call and number != call):
            return None
        held[:] = [output.detach().requires_grad_()]
        torch.set_grad_enabled(True)
        return held[0].clone()  # what follows may work in place

    # inference_mode is left on purpose: no gradient is possible inside of it.
    with torch.inference_mode(False), torch.no_grad(), _watched(network, cancelled, capture, name):
        logits = class_logits(network(inputs.clone()), class_index)
    if not held or held[0].ndim != inputs.ndim:
        shape = tuple(held[0].shape) if held else None
        raise ModelError(
            f"The layer '{name}' gives no feature maps for an input {tuple(inputs.shape)}: {shape}.",
            "Choose a layer before the pooling, or leave it empty for the last one.",
        )
    if logits.requires_grad:
        (gradients,) = torch.autograd.grad(logits[0, class_index], held[0], allow_unused=True)
    else:
        gradients = None
    activations = held[0].detach()
    return FeatureMaps(
        activations[0].float(), (torch.zeros_like(activations) if gradients is None else gradients)[0].float(), name
    )


def last_feature_layer(network: nn.Module, inputs: Tensor, cancelled: CancelCheck) -> tuple[str, int]:
    """(name, number of the call, from 1) of the layer that gives the last feature maps before pooling.

    That is the last convolution whose output still has an extent, or rather the last module behind it that gives maps
    of the same size: its normalisation, its activation, or the activation after a residual sum. Found by running
    `inputs` once. Raises ModelError for a network without such a convolution.
    """
    calls: list[tuple[str, int, tuple[int, ...], bool]] = []

    def note(name: str, number: int, module: nn.Module, output: Tensor) -> Tensor | None:
        calls.append((name, number, tuple(output.shape), isinstance(module, _CONVOLUTIONS)))
        return None

    with torch.no_grad(), _watched(network, cancelled, note):
        network(inputs)
    shapes = [shape for _, _, shape, is_convolution in calls if is_convolution and _has_extent(shape, inputs.ndim)]
    if not shapes:
        raise ModelError(
            f"The network has no convolution that gives maps for an input {tuple(inputs.shape)}.",
            "Choose the method 'occlusion', which works with any network.",
        )
    return next((name, number) for name, number, shape, _ in reversed(calls) if shape == shapes[-1])


@contextmanager
def _watched(network: nn.Module, cancelled: CancelCheck, seen: _Seen, wanted: str = "") -> Iterator[None]:
    """In evaluation mode, tell `seen` of every output of the leaf modules and of `wanted`; undone at the end."""
    counts: Counter[str] = Counter()
    handles = []

    def hook_of(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            check_cancelled(cancelled)
            counts[name] += 1
            return seen(name, counts[name], module, output) if isinstance(output, Tensor) else None

        return hook

    for name, module in network.named_modules():
        if name == wanted or not any(True for _ in module.children()):
            handles.append(module.register_forward_hook(hook_of(name)))
    try:
        with evaluation_mode(network):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module gets its own mode back, as a part may have been frozen."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _named(network: nn.Module, layer: str) -> tuple[str, int]:
    names = [name for name, _ in network.named_modules() if name]
    if layer not in names:
        close = [name for name in names if layer.split(".")[-1] in name][:5] or names[-5:]
        raise ModelError(f"The network has no layer '{layer}'.", f"There is, for example: {', '.join(close)}.")
    return layer, 0


def _has_extent(shape: tuple[int, ...], axes: int) -> bool:
    return len(shape) == axes and math.prod(shape[2:]) > 1


def class_logits(output: Any, class_index: int) -> Tensor:
    """What a classifier gave, (b, classes); ModelError for anything else and for a class that it does not have."""
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"The network gives {shape}, no classes.", "Heat maps are made for classifiers: (b, classes).")
    if not 0 <= class_index < output.shape[1]:
        raise ModelError(f"Class {class_index} of {output.shape[1]} is asked for.", "Count classes from 0.")
    return output
