"""How much effort a run spends, and the settings that follow from preset, plan and options."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from medai.augmentation import AugmentationSettings
from medai.config.training import Plan, TrainConfig
from medai.dataset.cache import Cache
from medai.dataset.plan import CPU_BUDGET, GPU_BUDGET, Budget, make_plan
from medai.dataset.split import split_by_patient
from medai.training.precision import Compute
from medai.training.settings import TrainingSettings

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
"""``best`` also takes the GPU's full network on a CPU."""


def budget_for(config: TrainConfig, device: torch.device) -> Budget:
    """What a preset may use on a device; free GPU memory bounds the batch."""
    if device.type == "cpu":
        budget = CPU_BUDGET
    else:
        free_mb = torch.cuda.mem_get_info(device)[0] / 2**20 if device.type == "cuda" else GPU_BUDGET.memory_mb
        budget = replace(GPU_BUDGET, memory_mb=min(GPU_BUDGET.memory_mb, 0.6 * free_mb))
    width = config.width or max(8, round(budget.width * PRESETS[config.preset].width / 8) * 8)
    return replace(budget, width=width, lean=budget.lean and config.preset != "best")


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
    )
    return replace(plan, batch_size=config.batch_size or plan.batch_size)


def augmentation_for(plan: Plan) -> AugmentationSettings:
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


def settings_for(cache: Cache, plan: Plan, config: TrainConfig, fold: int, compute: Compute) -> TrainingSettings:
    """The settings of one fold's run."""
    split = split_by_patient(cache.card.cases, config.folds, fold, config.validation_fraction, config.seed)
    preset = PRESETS[config.preset]
    optimizer = config.optimizer or "adamw"
    return TrainingSettings(
        network=plan.network,
        label_names=tuple(spec.name for spec in cache.card.labels),
        patch=plan.patch,
        spacing_mm=plan.spacing_mm,
        training_cases=split.training,
        validation_cases=split.validation,
        steps=config.steps or (preset.cpu_steps if compute.device.type == "cpu" else preset.gpu_steps),
        batch_size=plan.batch_size,
        max_minutes=config.max_minutes / config.folds if config.max_minutes else None,
        optimizer=optimizer,
        learning_rate=config.learning_rate or _LEARNING_RATES[optimizer],
        weight_decay=_WEIGHT_DECAYS[optimizer],
        augmentation=augmentation_for(plan),
        checkpoint_minutes=config.checkpoint_minutes,
        seed=config.seed,
        fold=fold,
    )
