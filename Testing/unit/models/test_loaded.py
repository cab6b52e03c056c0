"""The networks of a package: one for each fold, for the right task alone, ready to predict."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec
from medai.errors import ModelError
from medai.models import UNWRITTEN_WEIGHTS, LoadedPackage, ModelPackage, load_networks, open_model, write_package
from medai.networks import build_network

CPU = torch.device("cpu")
ARGUMENTS = {
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 6, 8],
    "strides": [[1, 1], [2, 2], [2, 2]],
    "spatial_dims": 2,
    "deep_supervision": True,
}


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    """Two folds of a network that was trained with deep supervision."""
    torch.manual_seed(3)
    states = [build_network("unet", ARGUMENTS | {"deep_supervision": False}).state_dict() for _fold in range(2)]
    card = ModelCard(
        format=1,
        id="two-folds",
        version="1.0",
        title="Two folds",
        task="segment",
        network=NetworkSpec("unet", ARGUMENTS),
        weights=UNWRITTEN_WEIGHTS,
        inputs=(InputSpec("T1", "MR"),),
        licence="Apache-2.0",
        spacing_mm=(1.0, 1.0, 1.0),
        patch=(1, 16, 16),
        labels=(LabelSpec(1, "ball", (1.0, 0.5, 0.0)),),
    )
    write_package(tmp_path / "model", card, states)
    return open_model(tmp_path / "model")


def test_networks_hold_the_weights_of_their_folds_and_are_ready_to_predict(package):
    networks = load_networks(package, "segment", CPU)
    assert len(networks) == 2
    for fold, network in enumerate(networks):
        stored = package.weights(fold)
        state = network.state_dict()
        assert state.keys() == stored.keys()
        assert all(torch.equal(state[name], stored[name]) for name in stored)
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
    (second,) = load_networks(package, "segment", CPU, (1,))
    name = next(iter(second.state_dict()))
    assert torch.equal(second.state_dict()[name], package.weights(1)[name])


def test_folds_are_found_by_their_number(package):
    loaded = LoadedPackage(package, CPU, package.folds, load_networks(package, "segment", CPU))
    assert loaded.planar
    assert loaded.card.id == "two-folds"
    assert loaded.networks_of(()) == list(loaded.networks)
    assert loaded.networks_of((1,)) == [loaded.networks[1]]
    with pytest.raises(ModelError, match="no fold 2") as caught:
        loaded.networks_of((1, 2))
    assert "[0, 1]" in caught.value.remedy


@pytest.mark.parametrize(("task", "wanted"), [("click", "a click model"), ("classify", "a classification model")])
def test_a_package_for_another_task_is_refused(package, task, wanted):
    with pytest.raises(ModelError, match="'two-folds' is for 'segment'") as caught:
        load_networks(package, task, CPU)
    assert wanted in caught.value.remedy
