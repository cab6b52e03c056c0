"""Models whose right answer is known: each voxel gets the class whose intensity is nearest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec, Normalization, WeightFile
from medai.models import ModelPackage
from medai.networks import NETWORKS, NetworkEntry
from medai.segment import LoadedModel, load_model


@dataclass(frozen=True)
class NearestArguments:
    """Input channels, the channel that is looked at, one intensity per class (the background's first)."""

    in_channels: int
    means: tuple[float, ...]
    channel: int = 0
    spatial_dims: int = 3

    @property
    def divisor(self) -> tuple[int, ...]:
        return (4,) * self.spatial_dims


class Nearest(nn.Module):
    """logit of class n = 2 m x - m^2: the largest is that of the mean nearest to x."""

    def __init__(self, arguments: NearestArguments) -> None:
        super().__init__()
        kind = nn.Conv3d if arguments.spatial_dims == 3 else nn.Conv2d
        self.layer = kind(arguments.in_channels, len(arguments.means), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def nearest_state(arguments: NearestArguments) -> dict[str, torch.Tensor]:
    means = torch.tensor(arguments.means)
    weight = torch.zeros((len(means), arguments.in_channels, *(1,) * arguments.spatial_dims))
    weight[:, arguments.channel] = (2 * means).reshape(-1, *(1,) * arguments.spatial_dims)
    return {"layer.weight": weight, "layer.bias": -(means**2)}


@dataclass(frozen=True)
class MemoryPackage(ModelPackage):
    """A package that lies nowhere: its weights, one state per fold, are at hand."""

    states: tuple[dict[str, torch.Tensor], ...] = ()

    def weights(self, fold: int = 0) -> dict[str, torch.Tensor]:
        return self.states[fold]


MakeModel = Callable[..., LoadedModel]


@pytest.fixture
def make_model(monkeypatch, tmp_path) -> MakeModel:
    """make_model(spacing_mm, values=(1, 2), means=(0, 0.5, 1), patch=..., inputs=..., channel=...) -> LoadedModel."""
    monkeypatch.setitem(NETWORKS, "nearest", NetworkEntry(NearestArguments, Nearest))

    def make(
        spacing_mm=(1.0, 1.0, 1.0),
        values=(1, 2),
        means=(0.0, 0.5, 1.0),
        patch=(16, 16, 16),
        inputs=("MR",),
        channel=0,
        fold_means=(),
        **card,
    ) -> LoadedModel:
        dims = 2 if patch[0] == 1 else 3
        folds = [NearestArguments(len(inputs), tuple(m), channel, dims) for m in (fold_means or (means,))]
        arguments = {
            "in_channels": len(inputs), "means": list(means), "channel": channel, "spatial_dims": dims,
        }  # fmt: skip
        model_card = ModelCard(
            format=1,
            id="nearest",
            version="1",
            title="Nearest intensity",
            task="segment",
            network=NetworkSpec("nearest", arguments),
            weights=tuple(WeightFile(f"w{n}.safetensors", "0" * 64, fold=n) for n in range(len(folds))),
            inputs=tuple(InputSpec(f"input{n}", m, Normalization("none")) for n, m in enumerate(inputs)),
            licence="Apache-2.0",
            spacing_mm=spacing_mm,
            patch=patch,
            labels=tuple(LabelSpec(v, f"organ {v}", (1.0, 0.5, 0.0)) for v in values),
            **card,
        )
        states = tuple(nearest_state(fold) for fold in folds)
        return load_model(MemoryPackage(model_card, tmp_path, "file", states), "cpu")

    return make
