"""What a fine-tuned model takes over from its parent: weights, the input's preprocessing, the licence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medai.config.model_card import ClassSpec, ModelCard, NetworkSpec
from medai.errors import ConfigError, ModelError
from medai.labels import Label
from medai.models.library import open_model
from medai.models.package import ModelPackage

if TYPE_CHECKING:
    import torch

TASKS = {"segmentation": "segment", "classification": "classify"}
_OUTPUTS = ("out_channels", "classes")
# Licences that ask for the same licence of what is made from them, and ones that forbid a use or making anything.
_SHARE_ALIKE = re.compile(r"-SA-|\bA?GPL-|\bMPL-|\bODbL-", re.IGNORECASE)
_RESTRICTED = re.compile(r"-NC-", re.IGNORECASE)
_NO_DERIVATIVES = re.compile(r"-ND-", re.IGNORECASE)


@dataclass(frozen=True)
class StartingWeights:
    """The state that a network starts from, and where it is not random: `copied` of `total` weights, `outputs` kept.

    `outputs` names the labels (or classes) whose rows of the last layer came along.
    """

    state: dict[str, torch.Tensor]
    copied: int
    total: int
    outputs: tuple[str, ...]


def open_parent(path_or_id: str, task: str) -> ModelPackage:
    """The model to fine-tune; ModelError or ConfigError where it is not there, or has another task."""
    parent = open_model(path_or_id)
    card = parent.card
    if card.task != TASKS[task]:
        known = {value: key for key, value in TASKS.items()}.get(card.task, card.task)
        raise ConfigError(
            f"The model '{card.id}' is for {known}, the training for {task}.",
            f"Fine-tune a model for {task}, or train with --task {known}.",
        )
    if _NO_DERIVATIVES.search(card.licence):
        raise ConfigError(
            f"The licence of '{card.id}', {card.licence}, forbids to change it.", "Start from another model."
        )
    return parent


def licence_after(parent: ModelCard, wanted: str, of_data: str) -> str:
    """The licence of a model that was fine-tuned from `parent`: `wanted` where that is allowed, "" for no wish.

    A licence that asks for itself (share-alike) or forbids commercial use stays; ConfigError for a wish, or a data set,
    that contradicts it.
    """
    bound = bool(_SHARE_ALIKE.search(parent.licence))
    if wanted and wanted != parent.licence:
        if bound or (_RESTRICTED.search(parent.licence) and not _RESTRICTED.search(wanted)):
            raise ConfigError(
                f"'{parent.id}' is under {parent.licence}, so what is fine-tuned from it cannot be under {wanted}.",
                f"Leave the licence out, or give {parent.licence}.",
            )
        return wanted
    if _SHARE_ALIKE.search(of_data) and of_data != parent.licence:
        if bound:
            raise ConfigError(
                f"The model '{parent.id}' ({parent.licence}) and the data set ({of_data}) each ask for their licence.",
                "Start from another model.",
            )
        return of_data
    return parent.licence


def parents_after(parent: ModelCard) -> tuple[str, ...]:
    """Ids with versions of the models that a fine-tuned one comes from, the nearest first."""
    return (f"{parent.id} {parent.version}", *parent.parents)


def network_after(parent: ModelCard, outputs: int) -> NetworkSpec:
    """The parent's network with so many outputs (background included), to be trained with deep supervision."""
    from medai.networks import NETWORKS

    arguments = dict(parent.network.arguments)
    known = {field.name for field in dataclasses.fields(NETWORKS[parent.network.name].arguments)}
    for name in _OUTPUTS:
        if name in known:
            arguments[name] = outputs
    if "deep_supervision" in known:
        arguments["deep_supervision"] = True
    return NetworkSpec(parent.network.name, arguments)


def starting_weights(
    parent: ModelPackage, network: NetworkSpec, outputs: Sequence[Label | ClassSpec], fold: int, seed: int
) -> StartingWeights:
    """The parent's weights where their shapes fit `network`, random ones elsewhere.

    The last layer is laid out anew: each label or class has the row of the parent's one with the same code, else the
    same name, and random weights where there is none. `fold` chooses among the parent's networks. ModelError where
    nothing fits.
    """
    import torch

    from medai.networks import build_network, output_weights

    torch.manual_seed(seed)
    state = build_network(network.name, network.arguments).state_dict()
    theirs = parent.weights(parent.folds[fold % len(parent.folds)])
    rows = _rows(parent.card, outputs)
    heads = output_weights(network.name, network.arguments)
    copied = 0
    for name, tensor in state.items():
        old = theirs.get(name)
        if old is None:
            continue
        if name in heads and old.shape[1:] == tensor.shape[1:]:
            for mine, other in rows.items():
                tensor[mine] = old[other]
                copied += tensor[mine].numel()
        elif name not in heads and old.shape == tensor.shape:
            state[name] = old
            copied += tensor.numel()
    total = sum(tensor.numel() for tensor in state.values())
    if copied == 0:
        raise ModelError(
            f"No weight of '{parent.card.id}' fits the network '{network.name}'.", "Start from another model."
        )
    first = 1 if parent.card.task == "segment" else 0
    kept = tuple(outputs[mine - first].name for mine in rows if mine >= first)
    return StartingWeights(state, copied, total, kept)


def _rows(parent: ModelCard, outputs: Sequence[Label | ClassSpec]) -> dict[int, int]:
    """Row of the new last layer -> row of the parent's; row 0 of a segmentation is the background."""
    segments = parent.task == "segment"
    known: Sequence[Label | ClassSpec] = parent.labels if segments else parent.classes
    first = 1 if segments else 0
    rows = {0: 0} if segments else {}
    taken: set[int] = set()
    for same in (_same_code, _same_name):
        for mine, wanted in enumerate(outputs):
            if mine + first in rows:
                continue
            found = next((n for n, old in enumerate(known) if n not in taken and same(wanted, old)), None)
            if found is not None:
                rows[mine + first] = found + first
                taken.add(found)
    return dict(sorted(rows.items()))


def _same_code(one: Label | ClassSpec, other: Label | ClassSpec) -> bool:
    mine, theirs = _codes(one), _codes(other)
    return mine is not None and mine == theirs


def _codes(of: Label | ClassSpec) -> tuple[tuple[str, str] | None, ...] | None:
    """Scheme and value of the codes that make a structure what it is; meanings are texts for people."""
    if isinstance(of, ClassSpec):
        return ((of.code.scheme, of.code.value),) if of.code is not None else None
    if of.terminology is None:
        return None
    t = of.terminology
    return tuple(
        (code.scheme, code.value) if code is not None else None
        for code in (t.category, t.type, t.type_modifier, t.region, t.region_modifier)
    )


def _same_name(one: Label | ClassSpec, other: Label | ClassSpec) -> bool:
    # Two structures whose codes differ are not the same, whatever they are called.
    codes = _codes(one), _codes(other)
    return (None in codes or codes[0] == codes[1]) and one.name.casefold() == other.name.casefold()
