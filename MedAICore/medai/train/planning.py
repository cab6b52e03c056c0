"""What a training would do on this device, said before it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medai.config.training import FOLDS_OF_BEST, ModelDescription, Plan, PlanSummary, TrainConfig
from medai.dataset.cache import Cache, CachedCase, is_cache
from medai.errors import ConfigError, DatasetError
from medai.progress import CancelCheck, ProgressCallback, never_cancelled, no_progress
from medai.train.finetune import as_the_parent, parent_of, plan_after
from medai.train.segmentation import choices_of, description_of, prepared_cache

if TYPE_CHECKING:
    from medai.training import Compute, TrainingSettings
    from medai.training.estimate import Cost


def plan_summary(
    config: TrainConfig, progress: ProgressCallback = no_progress, cancelled: CancelCheck = never_cancelled
) -> PlanSummary:
    """The plan of a segmentation run and what it costs on this device; nothing is written.

    A data set that was not prepared yet is read and measured first. What a person changes in the summary is given back
    as the fields of `TrainConfig` with the same names. Raises what `run` would raise.
    """
    from medai.training import choose_compute
    from medai.training.estimate import measure
    from medai.training.presets import plan_for, settings_for

    if config.task != "segmentation":
        raise ConfigError(f"There is no plan for the task '{config.task}'.", "Plans are made for segmentation.")
    compute = choose_compute(config.device)
    parent = parent_of(config)
    config, description = as_the_parent(config, description_of(config), parent)
    cache = _surveyed(config, description, progress, cancelled)
    plan = plan_for(cache, config, compute.device) if parent is None else plan_after(parent, cache, config)
    settings = settings_for(cache, plan, config, config.fold, compute)
    return _summary(config, cache, plan, settings, measure(settings, compute), compute)


def _surveyed(
    config: TrainConfig, description: ModelDescription, progress: ProgressCallback, cancelled: CancelCheck
) -> Cache:
    """The cache, or what it would be: cases of the median size stand for those that are not prepared yet."""
    from medai.dataset.prepare import survey

    dataset = Path(config.dataset)
    if is_cache(dataset):
        return prepared_cache(dataset, config, description)
    if not dataset.exists():
        raise DatasetError(f"There is no data set '{dataset}'.", "Check the path.")
    card = survey(
        dataset, progress, cancelled, labels=description.labels, inputs=description.inputs, choices=choices_of(config)
    )
    sizes = zip(card.fingerprint.median_size_mm, card.spacing_mm, strict=True)
    k, j, i = (max(1, round(size / step)) for size, step in sizes)
    names = [f"case {number}" for number in range(card.fingerprint.cases)]
    cases = tuple(CachedCase(name, name, (1 if card.planar else k, j, i)) for name in names)
    return Cache(dataset, replace(card, cases=cases))


def _summary(
    config: TrainConfig, cache: Cache, plan: Plan, settings: TrainingSettings, cost: Cost, compute: Compute
) -> PlanSummary:
    from medai.training.estimate import validation_seconds
    from medai.training.presets import PRESETS, preset_steps

    by_name = {case.name: case.shape for case in cache.card.cases}
    validation_s = validation_seconds(settings, cost, [by_name[name] for name in settings.validation_cases])

    def minutes(steps: int, folds: int) -> float:
        return round(folds * (steps * cost.seconds_per_step + validation_s) / 60, 1)

    expected = minutes(settings.steps, config.folds)
    if config.max_minutes is not None:
        expected = min(expected, config.max_minutes)
    arguments = plan.network.arguments
    channels = arguments.get("channels") or arguments.get("filters") or [arguments.get("init_filters", 0)]
    of_presets = {
        name: minutes(preset_steps(name, compute.device), FOLDS_OF_BEST if name == "best" else 1) for name in PRESETS
    }
    return PlanSummary(
        spacing_mm=plan.spacing_mm,
        patch=plan.patch,
        crop=plan.crop,
        normalization=tuple(spec.normalization.name for spec in plan.inputs),
        depth=len(arguments.get("strides") or arguments.get("blocks_down") or channels),
        width=max(channels[0], channels[1] // 2) if len(channels) > 1 else channels[0],
        batch_size=plan.batch_size,
        network=plan.network.name,
        blocks=config.blocks or "plain",
        fusion=config.fusion or "early",
        loss=settings.loss,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        steps=settings.steps,
        folds=config.folds,
        parameters=cost.parameters,
        expected_memory_mb=round(cost.memory_mb),
        expected_minutes=expected,
        seconds_per_step=round(cost.seconds_per_step, 4),
        device=str(compute.device),
        cases=len(cache.card.cases),
        inputs=tuple(spec.name for spec in plan.inputs),
        labels=tuple(spec.name for spec in cache.card.labels),
        preset_minutes=of_presets,
        notes=plan.notes,
    )
