"""Use case: train a segmentation model on images that are painted from label maps, and package it.

A run goes on until it is stopped or its cooldown is over; every checkpoint can be packaged.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medai.config import from_json, read_json, to_json
from medai.config.label_maps import MapsRecord
from medai.config.model_card import InputSpec, ModelCard, NetworkSpec, Normalization, Training, TrainingData
from medai.config.synthetic import SyntheticTrainConfig
from medai.config.training import ModelDescription
from medai.errors import ConfigError
from medai.progress import CancelCheck, ProgressCallback, never_cancelled, no_progress
from medai.train.interruption import stopped_by_sigterm

if TYPE_CHECKING:
    from medai.dataset.label_map_folder import LabelMapFolder
    from medai.training.run_folder import RunFolder
    from medai.training.synthetic import SyntheticSettings, SyntheticTrainer

_log = logging.getLogger(__name__)
_MANY_STEPS = 10_000_000
RECORD_NAME = "label_maps.json"
"""In the run folder: a `MapsRecord`, so that a checkpoint can be packaged without reading the maps again."""
_UNKNOWN_LICENCE = "LicenseRef-unknown"


@dataclass(frozen=True)
class SyntheticResult:
    """What a run came to so far: the package of its averaged weights, and the last validation's Dice by label."""

    output: Path
    run_folder: Path
    dice: dict[str, float]
    mean_dice: float
    steps: int
    minutes: float
    finished: bool


def run(
    config: SyntheticTrainConfig,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> SyntheticResult:
    """Train as `config` says (or only package the newest checkpoint) and write the model package.

    Stops at a cancel, at SIGTERM or after `max_minutes` with a checkpoint and a package; the same call with `resume`
    goes on. Raises DatasetError (label maps that cannot be used), ConfigError and OutputError.
    """
    from medai.training.precision import choose_compute
    from medai.training.run_folder import RunFolder
    from medai.training.synthetic import SyntheticTrainer

    folder = RunFolder(Path(config.run_folder) if config.run_folder else Path(config.output + ".run"))
    _check_folder(folder.checkpoint, config)
    described = _described(config)
    record_file = folder.root / RECORD_NAME
    if config.package_only:
        data, record = None, from_json(MapsRecord, read_json(record_file), f"{record_file}:")
    else:
        data = _maps(config, described, progress)
        record = MapsRecord(tuple(volume.name for volume in data.volumes), data.held_out, data.labels)
    compute = choose_compute(config.device)
    with folder.locked(), stopped_by_sigterm(cancelled) as stopped:
        settings = _settings(config, record, folder)
        trainer = SyntheticTrainer(settings, compute, folder)
        if config.resume or config.package_only:
            trainer.restore()
            if config.cooldown_steps and settings.cooldown_from is None:
                settings = replace(settings, cooldown_from=trainer.step, cooldown_steps=config.cooldown_steps)
                trainer.settings = settings
        else:
            folder.start()
            if config.start_from:
                _start_from(Path(config.start_from), trainer)
        finished = trainer.step >= settings.last_step
        if data is not None:
            folder.write_settings(settings)
            record_file.write_text(json.dumps(to_json(record)), encoding="utf-8")
            finished = _fit(trainer, data, config, progress, stopped)
    return _packaged(config, described, record, trainer, finished)


def _maps(config: SyntheticTrainConfig, described: ModelDescription, progress: ProgressCallback) -> LabelMapFolder:
    from medai.dataset.label_map_folder import read_description, read_label_maps

    maps = Path(config.maps)
    description = read_description(maps, Path(config.maps_description) if config.maps_description else None)
    if described.labels and not description.labels:
        description = replace(description, labels=described.labels)
    return _with_held_out(read_label_maps(maps, description, progress), config)


def _fit(
    trainer: SyntheticTrainer,
    data: LabelMapFolder,
    config: SyntheticTrainConfig,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> bool:
    from medai.training.synthetic import SyntheticSampler

    end_s = time.monotonic() + 60 * config.max_minutes if config.max_minutes is not None else None

    def over() -> bool:
        return cancelled() or (end_s is not None and time.monotonic() > end_s)

    held = [volume for volume in data.volumes if volume.name in data.held_out]
    trained = [volume for volume in data.volumes if volume.name not in data.held_out]
    sampler = SyntheticSampler(trained, data.table, trainer.settings)
    watched = SyntheticSampler(held, data.table, trainer.settings) if held else None
    return trainer.fit(sampler, watched, progress, over)


def _start_from(earlier: Path, trainer: SyntheticTrainer) -> None:
    """Give network and average the earlier training's averaged weights, where names and shapes are equal."""
    from medai.models import open_model
    from medai.training.checkpoint import load_checkpoint
    from medai.training.run_folder import RunFolder

    checkpoint = RunFolder(earlier).checkpoint
    if checkpoint.is_file():
        weights = load_checkpoint(checkpoint, trainer.compute.device)["average"]
    else:
        weights = dict(open_model(earlier).weights(0))
    own = trainer.network.state_dict()
    fitting = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise ConfigError(f"No layer of '{earlier}' fits the network.", "Give channels and labels as there.")
    _log.info("%d of %d tensors are taken from '%s'.", len(fitting), len(own), earlier)
    for network in (trainer.network, trainer.average.network):
        network.load_state_dict({**own, **fitting})


def _check_folder(checkpoint: Path, config: SyntheticTrainConfig) -> None:
    if config.package_only or config.resume:
        if not checkpoint.is_file():
            raise ConfigError(f"There is no checkpoint '{checkpoint}'.", "Start without --resume first.")
    elif checkpoint.is_file():
        raise ConfigError(
            f"'{checkpoint.parent.parent}' holds an earlier run.", "Go on with it by --resume, or remove that folder."
        )


def _described(config: SyntheticTrainConfig) -> ModelDescription:
    if not config.description:
        return ModelDescription()
    path = Path(config.description)
    return from_json(ModelDescription, read_json(path), f"{path}:")


def _with_held_out(data: LabelMapFolder, config: SyntheticTrainConfig) -> LabelMapFolder:
    """The folder with maps drawn for validation where its description names none; at least one is trained on."""
    import numpy as np

    names = [volume.name for volume in data.volumes]
    if data.held_out or not config.hold_out:
        held = data.held_out
    else:
        drawn = np.random.default_rng(config.seed).permutation(len(names))[: config.hold_out]
        held = tuple(sorted(names[n] for n in drawn))
    if len(held) >= len(names):
        raise ConfigError(f"All {len(names)} label maps are held out.", "Hold out fewer, or add maps.")
    return replace(data, held_out=held)


def _settings(config: SyntheticTrainConfig, record: MapsRecord, folder: RunFolder) -> SyntheticSettings:
    """The settings of the run; what must not change on resuming is taken from where it was started."""
    from medai.synthesis.scans import ScanSettings
    from medai.training.synthetic import SyntheticSettings

    classes = len(record.labels) + 1
    stages = len(config.channels)
    network = NetworkSpec(
        "unet",
        {
            "in_channels": 1,
            "out_channels": classes,
            "channels": list(config.channels),
            "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
            "blocks_per_stage": [1] + [2] * (stages - 1),
            "decoder_blocks_per_stage": [1] * (stages - 1),
            "normalization": "group",
            "residual": True,
            "deep_supervision": True,
        },
    )
    wanted = SyntheticSettings(
        network=network,
        label_names=tuple(spec.name for spec in record.labels),
        patch=config.patch,
        spacing_mm=config.spacing_mm,
        training_cases=tuple(name for name in record.names if name not in record.held_out),
        validation_cases=record.held_out,
        steps=config.steps or _MANY_STEPS,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        checkpoint_minutes=config.checkpoint_minutes,
        validation_minutes=config.validation_minutes,
        seed=config.seed,
        scans=from_json(ScanSettings, config.scans or {}, "scans:"),
    )
    if not (config.resume or config.package_only):
        return wanted
    stored = from_json(SyntheticSettings, read_json(folder.config), f"{folder.config}:")
    fixed = ("label_names", "spacing_mm", "training_cases")
    changed = [name for name in fixed if getattr(stored, name) != getattr(wanted, name)]
    if changed:
        raise ConfigError(
            f"The run in '{folder.root}' was started with other {', '.join(changed)}.",
            "Give the label maps and options that it was started with, or start a new run.",
        )
    return replace(
        wanted, network=stored.network, cooldown_from=stored.cooldown_from, cooldown_steps=stored.cooldown_steps
    )


def _packaged(
    config: SyntheticTrainConfig,
    described: ModelDescription,
    record: MapsRecord,
    trainer: SyntheticTrainer,
    finished: bool,
) -> SyntheticResult:
    from medai.models import write_package
    from medai.networks import build_network, without_deep_supervision

    mean = round(sum(trainer.dice.values()) / len(trainer.dice), 4) if trainer.dice else 0.0
    result = SyntheticResult(
        Path(config.output),
        trainer.folder.root,
        trainer.dice,
        mean,
        trainer.step,
        round(trainer.seconds / 60, 1),
        finished,
    )
    spec = trainer.settings.network
    arguments = without_deep_supervision(spec.name, spec.arguments)
    needed = build_network(spec.name, arguments).state_dict()
    averaged = trainer.average.network.state_dict()
    card = _card(config, described, record, trainer.settings, NetworkSpec(spec.name, arguments), result)
    write_package(Path(config.output), card, [{name: averaged[name] for name in needed}])
    return result


def _card(
    config: SyntheticTrainConfig,
    described: ModelDescription,
    record: MapsRecord,
    settings: SyntheticSettings,
    network: NetworkSpec,
    result: SyntheticResult,
) -> ModelCard:
    from medai.models import UNWRITTEN_WEIGHTS

    licence = described.licence or _UNKNOWN_LICENCE
    name = described.id or "synthetic"
    sources = described.data or (TrainingData("label maps", licence, "", len(record.names)),)
    facts = {
        "source": "painted from label maps (domain randomisation)",
        "label_maps": len(settings.training_cases),
        "held_out": list(settings.validation_cases),
        "seed": config.seed,
        "steps": result.steps,
        "minutes": result.minutes,
        "cooled_down": result.finished and settings.cooldown_from is not None,
    }
    metrics = {"painted_validation": {"dice": result.dice, "mean_dice": result.mean_dice}}
    return ModelCard(
        format=1,
        id=name,
        version=described.version,
        title=described.title or name,
        description=described.description,
        task="segment",
        network=network,
        weights=UNWRITTEN_WEIGHTS,
        inputs=described.inputs or (InputSpec("image", "", Normalization("percentile")),),
        licence=licence,
        spacing_mm=settings.spacing_mm,
        patch=settings.patch,
        labels=record.labels,
        postprocessing=described.postprocessing,
        totals=described.totals,
        quality=described.quality,
        plausibility=described.plausibility,
        training=Training(sources, metrics, facts),
        citation=described.citation,
    )
