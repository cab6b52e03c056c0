"""What a labelled data set asks for: the network's input and the settings of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medai.augmentation import AugmentationSettings
from medai.config import from_json, to_json
from medai.config.model_card import FramingSpec, InputSpec, NetworkSpec, Normalization
from medai.config.training import ClassificationRecipe, ModelDescription, TrainConfig
from medai.dataset.classification import LabelledSet
from medai.dataset.framed import FramedSet, image_of
from medai.errors import ConfigError
from medai.models import ModelPackage
from medai.networks import available, encoder_weights, size_divisor
from medai.preprocessing.framing import MASK, Framing
from medai.training.classification import ClassificationSettings, balanced_weights, with_steps
from medai.training.presets import FINE_TUNING_RATE, INITIAL_WEIGHTS

_LOOKED_AT = 12
_LARGEST_2D, _LARGEST_3D = 128, 48
_EPOCHS = {"quick": 8.0, "standard": 30.0, "best": 100.0}
_LEARNING_RATES = {"adamw": 2e-3, "sgd": 1e-2}
_WEIGHT_DECAYS = {"adamw": 2e-2, "sgd": 1e-4}
_MOMENTUM = 0.9


def recipe_for(config: TrainConfig, description: ModelDescription) -> ClassificationRecipe:
    """The description's recipe, with the options of the command line in place of its entries."""
    recipe = description.recipe or ClassificationRecipe()
    options: dict[str, Any] = {
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "optimizer": config.optimizer,
        "learning_rate": config.learning_rate,
        "patch": config.patch,
        "label_smoothing": config.label_smoothing,
        "class_weights": config.class_weights,
        "early_stopping": config.early_stopping,
        "threshold": config.threshold,
        "weight_decay": config.weight_decay,
        "spacing_mm": config.spacing_mm,
    }
    recipe = replace(recipe, **{name: value for name, value in options.items() if value is not None})
    recipe = replace(recipe, augmentation={**recipe.augmentation, **_augmentation_options(config)})
    if config.network is None:
        return recipe
    if config.network not in available("classify"):
        raise ConfigError(
            f"'{config.network}' is no network for classification.", f"Use one of {', '.join(available('classify'))}."
        )
    same = recipe.network is not None and recipe.network.name == config.network
    patch = (1, 24, 24) if config.network == "seed_cnn" else recipe.patch
    return replace(recipe, network=recipe.network if same else NetworkSpec(config.network), patch=patch)


def _augmentation_options(config: TrainConfig) -> dict[str, Any]:
    options = dict(config.augmentation)
    if config.rotation_degrees is not None:
        options["rotation_degrees"] = [config.rotation_degrees] * 3
    return options


def framing_for(found: LabelledSet, recipe: ClassificationRecipe, description: ModelDescription) -> Framing:
    """The network's input: as the recipe says, else by the images' sizes (the median, not above 128 or 48 voxels)."""
    images = [image_of(found, item) for item in found.items[:: max(1, len(found.items) // _LOOKED_AT)][:_LOOKED_AT]]
    shapes = np.array([image.shape for image in images])
    flat = bool((shapes.min(axis=1) == 1).any())
    structures = any(item.segments is not None for item in found.items)
    inputs = description.inputs or (
        (InputSpec("image"), InputSpec("structure", MASK)) if structures else (InputSpec("image"),)
    )
    patch = recipe.patch
    if patch is None:
        limit = _LARGEST_2D if flat else _LARGEST_3D
        k, j, i = (int(min(limit, n)) for n in np.median(shapes, axis=0))
        patch = (1, max(j, 16), max(i, 16)) if flat else (max(k, 16), max(j, 16), max(i, 16))
    spacing = recipe.spacing_mm or (1.0, 1.0, 1.0)
    return Framing(inputs, spacing, patch, recipe.framing or FramingSpec("resize", 0.25 if structures else 0.0))


def normalized(framing: Framing, config: TrainConfig, parent: ModelPackage | None) -> Framing:
    """The framing with the normalisation that was asked for; a model to fine-tune brings its own."""
    name = config.normalization
    if name is None:
        return framing
    if parent is not None:
        raise ConfigError(f"normalization {name} was asked for, but '{parent.card.id}' has its own.", "Leave it out.")
    if name == "ct_window":
        raise ConfigError(
            "ct_window needs the window's numbers.", "Give them in the inputs of the --description, or choose another."
        )
    inputs = tuple(
        spec if spec.modality == MASK else replace(spec, normalization=Normalization(name)) for spec in framing.inputs
    )
    return replace(framing, inputs=inputs)


def network_for(framing: Framing, recipe: ClassificationRecipe, classes: int) -> NetworkSpec:
    """The recipe's network with the arguments that follow from the data; by default a small ResNet.

    A structure with its surroundings gets `structure_cnn`.
    """
    dims = 2 if framing.planar else 3
    both = {spec.modality == MASK for spec in framing.inputs} == {True, False}
    if recipe.network is None:
        widths = [16, 32, 64, 128] if dims == 2 else [8, 16, 32, 64]
        spec = (
            NetworkSpec("structure_cnn")
            if both
            else NetworkSpec("resnet", {"small": True, "blocks": [1, 1, 1, 1], "widths": widths})
        )
    else:
        spec = recipe.network
    if spec.name not in available("classify"):
        raise ConfigError(
            f"'{spec.name}' is no network for classification.", f"Use one of {', '.join(available('classify'))}."
        )
    fixed = {"classes": classes, "dims": dims, "in_channels": len(framing.inputs)}
    arguments = {**spec.arguments, **fixed}
    for side, least in zip(framing.patch[3 - dims :], size_divisor(spec.name, arguments), strict=True):
        if side < least:
            raise ConfigError(
                f"The input {framing.patch} (k, j, i) is too small for '{spec.name}', which needs {least} voxels.",
                "Give a larger patch, or another network.",
            )
    return NetworkSpec(spec.name, arguments)


def settings_for(
    config: TrainConfig,
    recipe: ClassificationRecipe,
    framing: Framing,
    data: FramedSet,
    rows: tuple[Sequence[int], Sequence[int]],
    fold: int,
) -> ClassificationSettings:
    """The settings of one network's training on the rows (training, validation)."""
    training, validation = rows
    labels = data.labels
    classes = data.card.classes
    optimizer = recipe.optimizer or "adamw"
    weighted = recipe.class_weights == "balanced"
    settings = ClassificationSettings(
        network=network_for(framing, recipe, len(classes)),
        label_names=classes,
        patch=framing.patch,
        spacing_mm=framing.spacing_mm,
        training_cases=tuple(data.card.cases[n].name for n in training),
        validation_cases=tuple(data.card.cases[n].name for n in validation),
        steps=config.steps or 1,
        batch_size=min(recipe.batch_size or (64 if framing.planar else 16), len(training)),
        max_minutes=config.max_minutes / config.folds if config.max_minutes else None,
        optimizer=optimizer,
        learning_rate=recipe.learning_rate
        or _LEARNING_RATES[optimizer] * (FINE_TUNING_RATE if config.finetune_from else 1.0),
        weight_decay=_WEIGHT_DECAYS[optimizer] if recipe.weight_decay is None else recipe.weight_decay,
        momentum=_MOMENTUM if config.momentum is None else config.momentum,
        initial_weights=INITIAL_WEIGHTS if config.finetune_from else "",
        frozen=_frozen(config, framing, recipe, len(classes)),
        ema_decay=recipe.ema_decay,
        augmentation=augmentation_for(framing, recipe),
        checkpoint_minutes=config.checkpoint_minutes,
        seed=config.seed,
        fold=fold,
        label_smoothing=recipe.label_smoothing,
        class_weights=balanced_weights(labels[list(training)].tolist(), len(classes)) if weighted else (),
        mixup=recipe.mixup,
        early_stopping=recipe.early_stopping,
        masks=tuple(spec.modality == MASK for spec in framing.inputs),
    )
    return settings if config.steps else with_steps(settings, recipe.epochs or _EPOCHS[config.preset])


def _frozen(config: TrainConfig, framing: Framing, recipe: ClassificationRecipe, classes: int) -> tuple[str, ...]:
    if not config.freeze_encoder:
        return ()
    network = network_for(framing, recipe, classes)
    return encoder_weights(network.name, network.arguments)


def augmentation_for(framing: Framing, recipe: ClassificationRecipe) -> AugmentationSettings:
    """The default augmentation of a classifier with the recipe's entries in place.

    Nothing is mirrored by default but left and right: up and down mean something in most images.
    """
    base = AugmentationSettings(
        rotation=0.7,
        rotation_degrees=(15.0, 0.0, 0.0) if framing.planar else (15.0, 15.0, 15.0),
        scaling=0.7,
        scale_range=(0.85, 1.2),
        mirror=(False, False, True),
        shift=0.8,
        shift_range=0.08,
    )
    wanted = {**to_json(base), **recipe.augmentation}
    if framing.planar:  # single slices turn in their plane only
        wanted["rotation_degrees"] = [wanted["rotation_degrees"][0], 0.0, 0.0]
    return from_json(AugmentationSettings, wanted, "recipe.augmentation:")
