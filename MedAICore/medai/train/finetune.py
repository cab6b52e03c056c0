"""Fine-tuning: how a training starts from a model package, and what its result takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from medai.config.model_card import ClassSpec, LabelSpec, ModelCard, TrainingData
from medai.config.training import ClassificationRecipe, ModelDescription, Plan, TrainConfig
from medai.dataset.cache import Cache
from medai.errors import ConfigError
from medai.models import ModelPackage
from medai.models.inheritance import licence_after, network_after, open_parent, parents_after, starting_weights

if TYPE_CHECKING:
    from medai.training import RunFolder, TrainingSettings

_BATCH = 2
_OF_THE_PARENT = ("network", "width", "depth", "blocks", "fusion")


def parent_of(config: TrainConfig) -> ModelPackage | None:
    """The package that `config` fine-tunes; None for a training from scratch."""
    return open_parent(config.finetune_from, config.task) if config.finetune_from else None


def recipe_after(parent: ModelPackage, config: TrainConfig, recipe: ClassificationRecipe) -> ClassificationRecipe:
    """A classifier's recipe with the parent's network, input and framing. ConfigError where options differ."""
    card = parent.card
    if config.network is not None and config.network != card.network.name:
        raise ConfigError(
            f"network {config.network} was asked for, but '{card.id}' brings its own network.", "Leave network out."
        )
    for name, found in (("patch", card.patch), ("spacing_mm", card.spacing_mm)):
        wanted = getattr(config, name)
        if wanted is not None and wanted != found:
            raise ConfigError(
                f"{name} {wanted} was asked for, but '{card.id}' was trained with {found}.", f"Leave {name} out."
            )
    return replace(recipe, network=card.network, patch=card.patch, spacing_mm=card.spacing_mm, framing=card.framing)


def as_the_parent(
    config: TrainConfig, description: ModelDescription, parent: ModelPackage | None
) -> tuple[TrainConfig, ModelDescription]:
    """Options and description with the parent's inputs, spacing and crop: its weights know images like these only.

    ConfigError for an option that asks for something else, or for another network.
    """
    if parent is None:
        return config, description
    card = parent.card
    for name in _OF_THE_PARENT:
        if getattr(config, name) is not None:
            raise ConfigError(
                f"{name} {getattr(config, name)} was asked for, but '{card.id}' brings its own network.",
                f"Leave {name} out, or train from scratch.",
            )
    made = "/".join(sorted({spec.normalization.name for spec in card.inputs}))
    for name, found in (("spacing_mm", card.spacing_mm), ("crop", card.crop), ("normalization", made)):
        wanted = getattr(config, name)
        if wanted is not None and wanted != found:
            raise ConfigError(
                f"{name} {wanted} was asked for, but '{card.id}' was trained with {found}.",
                f"Leave {name} out, or train from scratch.",
            )
    config = replace(config, spacing_mm=card.spacing_mm, crop=card.crop, normalization=None)
    return config, replace(description, inputs=card.inputs)


def plan_after(parent: ModelPackage, cache: Cache, config: TrainConfig) -> Plan:
    """The parent's network for the data set's labels, with its patch unless `config` names one."""
    from medai.networks import size_divisor

    card = parent.card
    if (card.patch[0] == 1) != cache.card.planar:
        kinds = ("2D images", "volumes")
        raise ConfigError(
            f"'{card.id}' is for {kinds[card.patch[0] != 1]}, the data set has {kinds[not cache.card.planar]}.",
            "Start from another model.",
        )
    network = network_after(card, len(cache.card.labels) + 1)
    patch = config.patch or card.patch
    divisor = size_divisor(network.name, network.arguments)
    if any(n % step for n, step in zip(patch[3 - len(divisor) :], divisor, strict=True)):
        raise ConfigError(
            f"The patch {list(patch)} does not suit the network of '{card.id}'.", f"Use multiples of {list(divisor)}."
        )
    sides = [round(n * step) for n, step in zip(patch, cache.card.spacing_mm, strict=True)]
    return Plan(
        inputs=cache.card.inputs,
        spacing_mm=cache.card.spacing_mm,
        patch=patch,
        batch_size=config.batch_size or _BATCH,
        network=network,
        crop=cache.card.crop,
        notes=(f"fine-tuned from {card.id} {card.version}, a patch of {sides} mm (k, j, i)",),
    )


def write_start(
    parent: ModelPackage, outputs: Sequence[LabelSpec | ClassSpec], settings: TrainingSettings, folder: RunFolder
) -> tuple[str, ...]:
    """Put the weights that `settings` start from into the run folder; the names of those `outputs` that came along."""
    from safetensors.torch import save_file

    start = starting_weights(parent, settings.network, outputs, settings.fold, settings.seed)
    folder.root.mkdir(parents=True, exist_ok=True)
    # Tensors that share memory are refused: every one gets its own.
    state = {name: tensor.clone().contiguous() for name, tensor in start.state.items()}
    save_file(state, folder.root / settings.initial_weights)
    return start.outputs


def card_after(
    card: ModelCard, parent: ModelPackage, wanted_licence: str, data_licence: str
) -> tuple[ModelCard, dict[str, bytes]]:
    """The card with parents, licence, citations and data of the parent, and the licence's text as a file to pack."""
    old = parent.card
    licence = licence_after(old, wanted_licence, data_licence)
    data = _joined([*old.training.data, *card.training.data])
    card = replace(
        card,
        licence=licence,
        parents=parents_after(old),
        citation=tuple(dict.fromkeys([*old.citation, *card.citation])),
        training=replace(card.training, data=data),
    )
    text = parent.licence_text()
    return card, {"LICENSE": text.encode("utf-8")} if text and licence == old.licence else {}


def _joined(data: Sequence[TrainingData]) -> tuple[TrainingData, ...]:
    return tuple(dict.fromkeys(data))
