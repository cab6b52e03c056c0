"""What a fine-tuned model takes over: rows of the last layer by code and name, licences, parents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medai.config.model_card import ClassSpec, InputSpec, ModelCard, NetworkSpec
from medai.errors import ConfigError, ModelError
from medai.labels import Code, Label, Terminology
from medai.models import UNWRITTEN_WEIGHTS, ModelPackage, write_package
from medai.models.inheritance import licence_after, network_after, open_parent, parents_after, starting_weights
from medai.networks import available, build_network, encoder_weights, output_weights

RED = (1.0, 0.0, 0.0)
TISSUE = Code("SCT", "123037004", "Anatomical Structure")


def coded(value: int, name: str, code: str) -> Label:
    return Label(value, name, RED, Terminology(TISSUE, Code("SCT", code, name)))


PARENT_LABELS = (coded(1, "liver", "10200004"), coded(2, "spleen", "78961009"), Label(3, "lesion", RED))
ARGUMENTS = {"in_channels": 1, "out_channels": 4, "channels": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]]}


def card(licence: str = "CC-BY-SA-4.0") -> ModelCard:
    return ModelCard(
        format=1, id="parent", version="1.2.0", title="Parent", task="segment", network=NetworkSpec("unet", ARGUMENTS),
        weights=UNWRITTEN_WEIGHTS, inputs=(InputSpec("CT", "CT"),), licence=licence, spacing_mm=(1.0, 1.0, 1.0),
        patch=(8, 8, 8), labels=PARENT_LABELS, parents=("grandparent 0.9",),
    )  # fmt: skip


@pytest.fixture
def parent(tmp_path: Path) -> ModelPackage:
    torch.manual_seed(1)
    weights = [build_network("unet", ARGUMENTS).state_dict() for _ in range(2)]
    write_package(tmp_path / "parent.medai", card(), weights, dtype="float32")
    return open_parent(str(tmp_path / "parent.medai"), "segmentation")


def test_rows_follow_codes_then_names_and_the_rest_starts_anew(parent: ModelPackage) -> None:
    labels = (
        Label(1, "Lesion", RED),
        coded(2, "Milz", "78961009"),
        coded(3, "liver", "64033007"),
        Label(4, "new", RED),
    )
    network = network_after(parent.card, 5)
    start = starting_weights(parent, network, labels, fold=1, seed=0)
    assert network.arguments["out_channels"] == 5
    assert network.arguments["deep_supervision"] is True
    old = parent.weights(1)
    for name in ("heads.0.weight", "heads.0.bias"):
        assert torch.equal(start.state[name][0], old[name][0])  # background
        assert torch.equal(start.state[name][1], old[name][3])  # by name, whatever the case
        assert torch.equal(start.state[name][2], old[name][2])  # by code, under another name
    # Called liver, but coded as the kidney: another structure, with a row of its own.
    assert not torch.equal(start.state["heads.0.weight"][3], old["heads.0.weight"][1])
    assert start.outputs == ("Lesion", "Milz")
    assert all(torch.equal(start.state[n], old[n]) for n in old if not n.startswith("heads."))
    assert start.copied == sum(t.numel() for n, t in old.items() if not n.startswith("heads.")) + 3 * (4 + 1)


def test_equal_labels_in_another_order_are_laid_out_anew(parent: ModelPackage) -> None:
    labels = tuple(replace(label, value=n) for n, label in enumerate(reversed(PARENT_LABELS), start=1))
    state = starting_weights(parent, network_after(parent.card, 4), labels, 0, 0).state
    assert torch.equal(state["heads.0.weight"], parent.weights(0)["heads.0.weight"][[0, 3, 2, 1]])


def test_other_tasks_and_networks_are_refused(parent: ModelPackage) -> None:
    with pytest.raises(ConfigError, match="is for segmentation, the training for classification"):
        open_parent(str(parent.root), "classification")
    other = NetworkSpec("segresnet", {"in_channels": 1, "out_channels": 4})
    with pytest.raises(ModelError, match="No weight of 'parent' fits"):
        starting_weights(parent, other, PARENT_LABELS, 0, 0)


@pytest.mark.parametrize(
    ("parents_licence", "wanted", "of_data", "result"),
    [
        ("CC-BY-SA-4.0", "", "", "CC-BY-SA-4.0"),
        ("CC-BY-SA-4.0", "", "CC-BY-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-4.0", "CC-BY-SA-4.0", "", "CC-BY-SA-4.0"),
        ("CC-BY-SA-4.0", "MIT", "", None),
        ("CC-BY-4.0", "MIT", "", "MIT"),
        ("CC-BY-4.0", "", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-4.0", "", "CC-BY-NC-SA-4.0", None),
        ("CC-BY-NC-4.0", "Apache-2.0", "", None),
        ("Apache-2.0", "", "", "Apache-2.0"),
        ("GPL-3.0-only", "MIT", "", None),
    ],
)
def test_licences(parents_licence: str, wanted: str, of_data: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(ConfigError, match="parent"):
            licence_after(card(parents_licence), wanted, of_data)
    else:
        assert licence_after(card(parents_licence), wanted, of_data) == result


def test_what_may_not_be_changed_is_no_parent(tmp_path: Path) -> None:
    write_package(tmp_path / "m.medai", card("CC-BY-ND-4.0"), [build_network("unet", ARGUMENTS).state_dict()])
    with pytest.raises(ConfigError, match="forbids"):
        open_parent(str(tmp_path / "m.medai"), "segmentation")


def test_parents_are_named_from_the_nearest() -> None:
    assert parents_after(card()) == ("parent 1.2.0", "grandparent 0.9")


def test_classes_of_a_classifier(tmp_path: Path) -> None:
    arguments = {"classes": 2, "dims": 2, "in_channels": 1, "widths": [4], "grid": 2}
    old = replace(
        card(), task="classify", labels=(), classes=(ClassSpec("benign"), ClassSpec("malignant")),
        network=NetworkSpec("seed_cnn_any", arguments), patch=(1, 8, 8),
    )  # fmt: skip
    state = build_network("seed_cnn_any", arguments).state_dict()
    package = write_package(tmp_path / "c.medai", old, [state], dtype="float32")
    classes = (ClassSpec("normal"), ClassSpec("Malignant"))
    start = starting_weights(package, network_after(old, 2), classes, 0, 5)
    assert torch.equal(start.state["fc.weight"][1], state["fc.weight"][1])
    assert not torch.equal(start.state["fc.weight"][0], state["fc.weight"][0])
    assert start.outputs == ("Malignant",)


SEGMENT = {
    "unet": ARGUMENTS | {"deep_supervision": True},
    "dynunet": {"in_channels": 1, "out_channels": 3, "filters": [4, 8, 8], "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                "kernel_sizes": [[3, 3, 3]] * 3},
    "segresnet": {"in_channels": 1, "out_channels": 3, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
}  # fmt: skip


@pytest.mark.parametrize("name", available("segment"))
def test_every_segmentation_network_has_an_encoder_and_outputs(name: str) -> None:
    names = [n for n, _ in build_network(name, SEGMENT[name]).named_parameters()]
    encoder = [n for n in names if n.startswith(encoder_weights(name, SEGMENT[name]))]
    outputs = output_weights(name, SEGMENT[name])
    assert 0.2 * len(names) < len(encoder) < len(names)
    assert outputs
    assert not set(outputs) & set(encoder)
