"""Probabilities of a batch: all networks of an ensemble, mirrored and shifted copies, temperature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medai.config.classify import ClassifyConfig
from medai.config.model_card import ModelCard
from medai.inference.anomaly import FeatureDistance, FeatureTap
from medai.progress import CancelCheck, check_cancelled

Numbers = npt.NDArray[np.float64]
# Shifts of the copies that `ClassifyConfig.tta` adds, as a part of each side.
_SHIFT = 0.04


class Ensemble(Protocol):
    """What a vote needs of a loaded classifier."""

    @property
    def card(self) -> ModelCard:
        """The package's card."""

    @property
    def device(self) -> torch.device:
        """Where the networks lie."""

    @property
    def anomaly(self) -> FeatureDistance | None:
        """Statistics of the training data's features."""

    def networks_of(self, folds: tuple[int, ...]) -> list[nn.Module]:
        """The networks of these folds, or all."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Calibrated `probabilities` (b, classes), mean `logits` before calibration, anomaly `scores` (b,) or None."""

    probabilities: Numbers
    logits: Numbers
    scores: Numbers | None


@torch.no_grad()
def vote(inputs: torch.Tensor, model: Ensemble, config: ClassifyConfig, cancelled: CancelCheck) -> Votes:
    """The ensemble's mean logits over `inputs` (b, c, [k,] j, i) and their copies, as calibrated probabilities."""
    card = model.card
    mirror = card.framing.mirror if card.framing is not None else (False, False, False)
    x = inputs.to(model.device)
    logits = mean_logits(model.networks_of(config.folds), x, mirror, config.tta, cancelled)
    temperature = card.calibration.temperature if card.calibration is not None else 1.0
    probabilities = softmax(logits / temperature)
    scores = None
    if model.anomaly is not None:
        # The features are those of the first network, whatever folds vote: the statistics were taken there.
        scores = model.anomaly.scores(pooled_features(model.networks_of(())[0], model.anomaly.layers, x))
    return Votes(probabilities, logits, scores)


@torch.no_grad()
def mean_logits(
    networks: Sequence[nn.Module],
    x: torch.Tensor,
    mirror: Sequence[bool],
    shifted: bool,
    cancelled: CancelCheck,
) -> Numbers:
    """Logits (b, classes) averaged over networks, mirrored and, where asked for, shifted copies of `x`."""
    total, count = None, 0
    for copy in _copies(x, mirror, shifted):
        for network in networks:
            check_cancelled(cancelled)
            part = network(copy).double()
            total = part if total is None else total + part
            count += 1
    assert total is not None
    mean: Numbers = (total / count).cpu().numpy()
    return mean


def pooled_features(network: nn.Module, layers: Sequence[str], x: torch.Tensor) -> Numbers:
    """Features (b, d) of `x` in these layers."""
    tap = FeatureTap(network, layers)
    with torch.no_grad(), tap.listening():
        network(x)
    return tap.take()


def softmax(logits: Numbers) -> Numbers:
    """Probabilities (b, classes) of logits."""
    z = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Numbers = z / z.sum(axis=1, keepdims=True)
    return result


def _copies(x: torch.Tensor, mirror: Sequence[bool], shifted: bool) -> Iterator[torch.Tensor]:
    axes = range(2, x.ndim)
    allowed = list(mirror)[3 - len(axes) :]
    flips = [axis for axis, may in zip(axes, allowed, strict=True) if may and x.shape[axis] > 1]
    for chosen in product((False, True), repeat=len(flips)):
        flipped = [axis for axis, use in zip(flips, chosen, strict=True) if use]
        copy = torch.flip(x, flipped) if flipped else x
        yield copy
        if shifted:
            for axis in axes:
                step = max(1, round(_SHIFT * x.shape[axis]))
                yield from (_shifted(copy, axis, step), _shifted(copy, axis, -step))


def _shifted(x: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """`x` moved along an axis; the border is repeated."""
    size = x.shape[axis]
    index = (torch.arange(size, device=x.device) - step).clamp(0, size - 1)
    return x.index_select(axis, index)
