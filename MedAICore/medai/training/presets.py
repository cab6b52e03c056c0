"""How much effort a run spends, and the settings that follow from preset, plan and options."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from medai.augmentation import AugmentationSettings
from medai.config import from_json, to_json
from medai.config.model_card import InputSpec
from medai.config.training import Plan, TrainConfig
from medai.dataset.cache import Cache
from medai.dataset.plan import CPU_BUDGET, GPU_BUDGET, Budget, NetworkStyle, make_plan
from medai.dataset.split import split_for
from medai.networks import encoder_weights
from medai.training.precision import Compute
from medai.training.settings import TrainingSettings

_FRAME = re.compile(r"(?P<name>.*?)[ _]?t(?P<offset>[+-]\d+)?")
_MOMENTUM = 0.99
FINE_TUNING_RATE = 0.25  # of the learning rate from scratch: what was learned is to be kept
INITIAL_WEIGHTS = "initial.safetensors"
_COARSE = 3.0  # an axis so many times coarser than the finest is not rotated into the others
_LEARNING_RATES = {"adamw": 2e-3, "sgd": 1e-2}
_WEIGHT_DECAYS = {"adamw": 1e-2, "sgd": 3e-5}


@dataclass(frozen=True)
class Preset:
    """Steps on a CPU and on a GPU, and the network's width relative to the budget's."""

    cpu_steps: int
    gpu_steps: int
    width: float


PRESETS: dict[str, Preset] = {
    "quick": Preset(cpu_steps=1_500, gpu_steps=5_000, width=2 / 3),
    "standard": Preset(cpu_steps=12_000, gpu_steps=50_000, width=1.0),
    "best": Preset(cpu_steps=60_000, gpu_steps=250_000, width=1.0),
}
"""``best`` also takes the GPU's full network on a CPU, and trains an ensemble of five folds (`TrainConfig.folds`)."""


def budget_for(config: TrainConfig, device: torch.device) -> Budget:
    """What a preset may use on a device; free GPU memory bounds the batch."""
    if device.type == "cpu":
        budget = CPU_BUDGET
    else:
        free_mb = torch.cuda.mem_get_info(device)[0] / 2**20 if device.type == "cuda" else GPU_BUDGET.memory_mb
        budget = replace(GPU_BUDGET, memory_mb=min(GPU_BUDGET.memory_mb, 0.6 * free_mb))
    width = config.width or max(8, round(budget.width * PRESETS[config.preset].width / 8) * 8)
    return replace(
        budget, width=width, lean=budget.lean and config.preset != "best", stages=config.depth or budget.stages
    )


def plan_for(cache: Cache, config: TrainConfig, device: torch.device) -> Plan:
    """The plan of a cache for a device, with the options that replace parts of it."""
    card = cache.card
    plan = make_plan(
        card.fingerprint,
        card.inputs,
        card.spacing_mm,
        budget_for(config, device),
        crop=card.crop,
        planar=card.planar,
        network=config.network or "unet",
        patch=config.patch,
        style=NetworkStyle(config.blocks, config.fusion, frames_of(card.inputs) if config.blocks == "dynamic" else 1),
    )
    return replace(plan, batch_size=config.batch_size or plan.batch_size)


def frames_of(inputs: Sequence[InputSpec]) -> int:
    """How many of the inputs are frames of one sequence: all of them where they are named so, else 1.

    Frames are named after one another in time, with the frame that is labelled in the middle: ``cine t-1``,
    ``cine t``, ``cine t+1``.
    """
    named = [_FRAME.fullmatch(spec.name) for spec in inputs]
    if len(inputs) < 3 or len(inputs) % 2 == 0 or any(match is None for match in named):
        return 1
    found = [(match["name"], int(match["offset"] or 0)) for match in named if match is not None]
    around = len(inputs) // 2
    return len(inputs) if found == [(found[0][0], n) for n in range(-around, around + 1)] else 1


def augmentation_for(plan: Plan, config: TrainConfig) -> AugmentationSettings:
    """The augmentation of the plan's data with what the options say about it."""
    settings = _default_augmentation(plan)
    if config.augmentation:
        settings = from_json(AugmentationSettings, {**to_json(settings), **config.augmentation}, "augmentation:")
    if config.rotation_degrees is None:
        return settings
    allowed = [degrees > 0 for degrees in settings.rotation_degrees]
    about = tuple(config.rotation_degrees if use else 0.0 for use in allowed)
    return replace(settings, rotation_degrees=(about[0], about[1], about[2]))


def _default_augmentation(plan: Plan) -> AugmentationSettings:
    """The default augmentation, without rotation out of the plane where the slices are far apart or single."""
    settings = AugmentationSettings()
    finest = min(plan.spacing_mm)
    if plan.patch[0] == 1:
        return replace(settings, rotation_degrees=(180.0, 0.0, 0.0), mirror=(False, True, True))
    coarse = [axis for axis in range(3) if plan.spacing_mm[axis] >= _COARSE * finest]
    if not coarse:
        return settings
    about = tuple(settings.rotation_degrees[axis] if axis in coarse else 0.0 for axis in range(3))
    return replace(settings, rotation_degrees=(about[0], about[1], about[2]))


def _steps(config: TrainConfig, plan: Plan, cases: int, compute: Compute) -> int:
    if config.steps is not None:
        return config.steps
    if config.epochs is not None:
        return max(1, math.ceil(config.epochs * cases / (plan.batch_size * config.gpus)))
    return preset_steps(config.preset, compute.device)


def preset_steps(preset: str, device: torch.device) -> int:
    """Steps of one network in a preset."""
    return PRESETS[preset].cpu_steps if device.type == "cpu" else PRESETS[preset].gpu_steps


def settings_for(cache: Cache, plan: Plan, config: TrainConfig, fold: int, compute: Compute) -> TrainingSettings:
    """The settings of one fold's run."""
    split = split_for(cache, config.folds, fold, config.validation_fraction, config.seed)
    optimizer = config.optimizer or "adamw"
    return TrainingSettings(
        network=plan.network,
        label_names=tuple(spec.name for spec in cache.card.labels),
        patch=plan.patch,
        spacing_mm=plan.spacing_mm,
        training_cases=split.training,
        validation_cases=split.validation,
        steps=_steps(config, plan, len(split.training), compute),
        batch_size=plan.batch_size,
        max_minutes=config.max_minutes / config.folds if config.max_minutes else None,
        optimizer=optimizer,
        learning_rate=config.learning_rate
        or _LEARNING_RATES[optimizer] * (FINE_TUNING_RATE if config.finetune_from else 1.0),
        initial_weights=INITIAL_WEIGHTS if config.finetune_from else "",
        frozen=encoder_weights(plan.network.name, plan.network.arguments) if config.freeze_encoder else (),
        processes=config.gpus,
        weight_decay=_WEIGHT_DECAYS[optimizer] if config.weight_decay is None else config.weight_decay,
        momentum=_MOMENTUM if config.momentum is None else config.momentum,
        loss=config.loss or "dice_ce",
        foreground_fraction=0.4 if config.foreground_fraction is None else config.foreground_fraction,
        augmentation=augmentation_for(plan, config),
        checkpoint_minutes=config.checkpoint_minutes,
        seed=config.seed,
        fold=fold,
    )
