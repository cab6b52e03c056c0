"""Training of a segmentation model: every fold in its run folder, then the package. Classifiers are handed on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medai.config import from_json, read_json
from medai.config.model_card import LabelSpec, ModelCard, NetworkSpec, Training, TrainingData
from medai.config.model_identity import identity_of
from medai.config.training import ModelDescription, Plan, PreprocessingChoices, TrainConfig
from medai.dataset.cache import Cache, ExcludedCase, is_cache, open_cache
from medai.errors import ConfigError, DatasetError, MedAIError
from medai.progress import CancelCheck, ProgressCallback, never_cancelled, no_progress, part_of
from medai.train.finetune import as_the_parent, card_after, parent_of, plan_after, write_start
from medai.train.interruption import stopped_by_sigterm

if TYPE_CHECKING:
    import torch

    from medai.classify.training import ClassifierResult
    from medai.inference.anomaly import FeatureDistance
    from medai.models import ModelPackage
    from medai.training import Compute, Outcome, TrainingSettings
    from medai.training.run_record import RunRecord

_log = logging.getLogger(__name__)
_FEWEST_FOR_ANOMALY = 8  # training cases; with fewer any new case would look unusual
_ENOUGH_OF_A_FOLD = 0.5  # of its steps: a fold that was stopped earlier would weaken an ensemble of others


@dataclass(frozen=True)
class TrainResult:
    """What a training came to. `output` is None where it was stopped early: `run_folder` then lets it go on.

    `metrics` holds, by label name, the means over the validation cases: ``dice`` and ``hd95_mm``.
    """

    output: Path | None
    run_folder: Path
    metrics: dict[str, dict[str, float]]
    mean_dice: float
    steps: int
    minutes: float
    finished: bool
    excluded: tuple[ExcludedCase, ...] = ()


def run(
    config: TrainConfig, progress: ProgressCallback = no_progress, cancelled: CancelCheck = never_cancelled
) -> TrainResult:
    """Train as `config` says and write the model package.

    Stops at a cancel, at SIGTERM or where the run folder's control.json asks for a pause, with a checkpoint, from which
    the same call with `resume` goes on exactly; asked to stop early, it packages what there is. Raises DatasetError
    (nothing to train on), ConfigError (options that do not fit, or another run in the folder) and OutputError.
    """
    from medai.training.run_record import recorded

    if config.task != "segmentation":
        raise ConfigError(f"The task '{config.task}' is not trained here.", "Use run_classification.")
    root = run_folder_of(config)
    if not root.exists() and not Path(config.dataset).exists():
        # Nothing is made for a mistyped path; where there is a run folder, its record tells the error.
        raise DatasetError(f"There is no data set '{config.dataset}'.", "Check the path.")
    with recorded(config, root) as record, stopped_by_sigterm(record.interrupted(cancelled)) as stopped:
        result = _run(config, root, record, progress, stopped)
        if result.finished:
            record.stage("evaluating")
            _evaluate(config, root, stopped)
            record.done(
                output=str(Path(config.output).absolute()),
                metrics=result.metrics,
                mean_dice=result.mean_dice,
                steps=result.steps,
                minutes=result.minutes,
            )
    return result


def _evaluate(config: TrainConfig, root: Path, cancelled: CancelCheck) -> None:
    """Measure the model on the cases that were held back, on their own grids; it is written either way.

    Of a prepared cache nothing is written: the images are not known, and `medai evaluate --run-folder` does it.
    """
    from medai.evaluate import run_folder

    if is_cache(Path(config.dataset)):
        return
    try:
        run_folder(root, config.device, cancelled=cancelled)
    except MedAIError as error:  # also Cancelled: who asks for a pause now has a model
        _log.warning("The model was not evaluated on the held-back cases: %s", error)


def _run(
    config: TrainConfig, root: Path, record: RunRecord, progress: ProgressCallback, stopped: CancelCheck
) -> TrainResult:
    from medai.inference.anomaly import FILE_NAME, anomaly_spec
    from medai.models import UNWRITTEN_WEIGHTS, write_package
    from medai.models.inheritance import licence_after
    from medai.training import choose_compute
    from medai.training.presets import plan_for
    from medai.training.together import check_devices

    wanted, parent = config, parent_of(config)
    config, description = as_the_parent(config, description_of(config), parent)
    compute = choose_compute(config.device)
    check_devices(config.gpus, compute)
    record.stage("preparing")
    cache = _cache(config, description, root, record.told(part_of(progress, 0.0, 0.02), "preparing"), stopped)
    if parent is not None:  # what the end would refuse is refused before the work
        licence_after(parent.card, wanted.licence or description.licence, cache.card.licence)
    plan = plan_for(cache, config, compute.device) if parent is None else plan_after(parent, cache, config)
    outcomes: list[Outcome] = []
    all_settings: list[TrainingSettings] = []
    scores: list[dict[str, dict[str, float]]] = []
    for fold in range(config.fold, config.folds):
        part = part_of(progress, 0.02 + 0.98 * fold / config.folds, 0.02 + 0.98 * (fold + 1) / config.folds)
        record.stage("training", fold=fold)
        outcome, settings = _train_fold(cache, plan, config, fold, compute, root, record, parent, part, stopped)
        if outcome.stopped_early and outcomes and outcome.steps < _ENOUGH_OF_A_FOLD * settings.steps:
            _log.warning("Fold %d was hardly begun and is left out.", fold)
            break
        outcomes.append(outcome)
        all_settings.append(settings)
        if not outcome.finished:
            return _result(None, root, cache, outcomes, {})
        record.stage("evaluating", fold=fold)
        scores.append(_score(cache, settings, outcome, compute))
        if outcome.stopped_early:
            break
    record.stage("packaging")
    metrics = _mean_over_folds(scores)
    result = _result(Path(config.output), root, cache, outcomes, metrics)
    card = _card(config, description, cache, plan, result, UNWRITTEN_WEIGHTS)
    weights = [_inference_weights(plan.network, o.weights) for o in outcomes]
    files: dict[str, bytes] = {}
    if parent is not None:
        card, files = card_after(card, parent, wanted.licence or description.licence, cache.card.licence)
    distance = _fit_anomaly(cache, plan, weights[0], all_settings[0], compute)
    if distance is not None:
        files[FILE_NAME] = distance.to_bytes()
        card = replace(card, anomaly=anomaly_spec(distance, files[FILE_NAME]))
    write_package(Path(config.output), card, weights, files=files)
    return result


def run_classification(
    config: TrainConfig, progress: ProgressCallback = no_progress, cancelled: CancelCheck = never_cancelled
) -> ClassifierResult:
    """Train a classifier as `config` says and write the model package; stops and goes on as `run` does."""
    from medai.classify import training
    from medai.training.run_record import recorded

    root = run_folder_of(config)
    if not root.exists() and not Path(config.dataset).exists():
        # Nothing is made for a mistyped path; where there is a run folder, its record tells the error.
        raise DatasetError(f"There is no data set '{config.dataset}'.", "Check the path.")
    with recorded(config, root) as record, stopped_by_sigterm(record.interrupted(cancelled)) as stopped:
        result = training.run(config, description_of(config), root, progress, stopped, record)
        if result.finished:
            record.done(
                output=str(Path(config.output).absolute()),
                metrics=result.metrics,
                steps=result.steps,
                minutes=result.minutes,
            )
    return result


def run_folder_of(config: TrainConfig) -> Path:
    """Where the run keeps its state: as the configuration says, or beside the output."""
    if config.run_folder:
        return Path(config.run_folder)
    output = Path(config.output)
    return output.with_name(output.name + ".run")


def description_of(config: TrainConfig) -> ModelDescription:
    """The model's description from its file; an empty one where none was given."""
    if not config.description:
        return ModelDescription()
    path = Path(config.description)
    return from_json(ModelDescription, read_json(path), f"{path}:")


def _cache(
    config: TrainConfig, description: ModelDescription, root: Path, progress: ProgressCallback, cancelled: CancelCheck
) -> Cache:
    """The data set's cache: itself, the one that an earlier part of this run made, or a new one in the run folder."""
    from medai.dataset.prepare import prepare

    dataset = Path(config.dataset)
    if is_cache(dataset):
        return prepared_cache(dataset, config, description)
    own = root / "cache"
    if config.resume and is_cache(own):
        return _described(open_cache(own), description)
    if is_cache(own):
        raise ConfigError(
            f"'{root}' holds an earlier run.", "Go on with it by --resume, or remove that folder to start again."
        )
    if not dataset.exists():
        raise DatasetError(f"There is no data set '{dataset}'.", "Check the path.")
    root.mkdir(parents=True, exist_ok=True)
    return prepare(
        dataset,
        own,
        progress,
        cancelled,
        labels=description.labels,
        inputs=description.inputs,
        choices=choices_of(config),
    )


def choices_of(config: TrainConfig) -> PreprocessingChoices:
    """What the options say about the preprocessing."""
    return PreprocessingChoices(config.spacing_mm, config.crop, config.normalization)


def prepared_cache(path: Path, config: TrainConfig, description: ModelDescription) -> Cache:
    """The cache at `path` under the description's names; ConfigError where it was prepared otherwise than asked for."""
    cache = _described(open_cache(path), description)
    card = cache.card
    made: dict[str, tuple[Any, Any]] = {
        "spacing_mm": (config.spacing_mm, card.spacing_mm),
        "crop": (config.crop, card.crop),
        "normalization": (config.normalization, "/".join(sorted({spec.normalization.name for spec in card.inputs}))),
    }
    for name, (wanted, found) in made.items():
        if wanted is not None and wanted != found:
            raise ConfigError(
                f"{name} {wanted} was asked for, the cache '{path}' was prepared with {found}.",
                "Train from the data set itself, or prepare it again.",
            )
    return cache


def _described(cache: Cache, description: ModelDescription) -> Cache:
    """The cache with the description's names, colours and codes; values and normalisation must be the prepared ones."""
    card = cache.card
    if description.labels:
        prepared, wanted = [spec.value for spec in card.labels], [spec.value for spec in description.labels]
        if wanted != prepared:
            raise ConfigError(
                f"The description names the label values {wanted}, '{cache.root}' was prepared with {prepared}.",
                "Prepare the data set again.",
            )
        card = replace(card, labels=description.labels)
    if description.inputs:
        made = [spec.normalization for spec in card.inputs]
        if [spec.normalization for spec in description.inputs] != made:
            raise ConfigError(
                f"The inputs that are described, or that the model to fine-tune has, are normalised otherwise than "
                f"'{cache.root}' was prepared.",
                "Train from the data set itself, or prepare it again.",
            )
        card = replace(card, inputs=description.inputs)
    return replace(cache, card=card)


def _train_fold(
    cache: Cache,
    plan: Plan,
    config: TrainConfig,
    fold: int,
    compute: Compute,
    root: Path,
    record: RunRecord,
    parent: ModelPackage | None,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> tuple[Outcome, TrainingSettings]:
    from medai.training import RunFolder, Trainer
    from medai.training.presets import settings_for
    from medai.training.together import train_together

    folder = RunFolder(root if config.folds == 1 else root / f"fold-{fold}")
    settings = settings_for(cache, plan, config, fold, compute)
    with folder.locked():
        if folder.config.is_file():
            _check_same_run(folder.read_settings(), settings, config, folder.root)
        folder.write_settings(settings)
        if parent is not None and not folder.checkpoint.is_file():
            write_start(parent, cache.card.labels, settings, folder)
        if config.gpus > 1:
            outcome = train_together(
                folder, cache, compute.device.type, config.resume, record.stop_asked, progress, cancelled
            )
            return outcome, settings
        by_name = {case.name: case for case in cache.card.cases}
        trainer = Trainer(settings, compute, folder)
        trainer.stop_asked = record.stop_asked
        if config.resume and folder.checkpoint.is_file():
            trainer.restore()
        else:
            folder.start()
        outcome = trainer.run(
            [cache.load(by_name[name]) for name in settings.training_cases],
            [cache.load(by_name[name]) for name in settings.validation_cases],
            progress,
            cancelled,
        )
    return outcome, settings


def _check_same_run(stored: TrainingSettings, wanted: TrainingSettings, config: TrainConfig, folder: Path) -> None:
    if not config.resume:
        raise ConfigError(
            f"'{folder}' holds an earlier run.", "Go on with it by --resume, or remove that folder to start again."
        )
    # Time limit and checkpoint interval are what a person may change on the way.
    stored = replace(stored, max_minutes=wanted.max_minutes, checkpoint_minutes=wanted.checkpoint_minutes)
    changed = [name for name in vars(stored) if getattr(stored, name) != getattr(wanted, name)]
    if changed:
        raise ConfigError(
            f"The run in '{folder}' was started with other settings: {', '.join(changed)}.",
            "Give the options that it was started with, or start a new run.",
        )


def _score(cache: Cache, settings: TrainingSettings, outcome: Outcome, compute: Compute) -> dict[str, dict[str, float]]:
    """Mean Dice and HD95 (mm) by label over all validation cases, on the network's grid."""
    import numpy as np

    from medai.metrics import dice, hd95_mm
    from medai.networks import build_network, load_weights
    from medai.training.validation import predict

    network = build_network(settings.network.name, settings.network.arguments).to(compute.device)
    load_weights(network, outcome.weights)
    network.eval()
    by_name = {case.name: case for case in cache.card.cases}
    values: dict[str, dict[str, list[float]]] = {n: {"dice": [], "hd95_mm": []} for n in settings.label_names}
    for name in settings.validation_cases:
        arrays = cache.load(by_name[name])
        prediction = predict(network, arrays.image, settings, compute)
        for index, label in enumerate(settings.label_names, start=1):
            if index in arrays.unknown:
                continue
            masks = np.asarray(arrays.labels) == index, prediction == index
            values[label]["dice"].append(dice(*masks))
            values[label]["hd95_mm"].append(hd95_mm(*masks, settings.spacing_mm))
    return {label: {key: _finite_mean(numbers) for key, numbers in kinds.items()} for label, kinds in values.items()}


def _fit_anomaly(
    cache: Cache, plan: Plan, weights: Mapping[str, torch.Tensor], settings: TrainingSettings, compute: Compute
) -> FeatureDistance | None:
    """How far features of an image usually lie from the training cases'; None for too few cases to tell.

    Network and `settings` are the first fold's; the threshold comes from cases that it was not trained on.
    """
    import numpy as np

    from medai.inference.anomaly import FeatureDistance
    from medai.inference.tile_features import tile_features, tile_layers
    from medai.networks import build_network, load_weights, without_deep_supervision

    if len(settings.training_cases) < _FEWEST_FOR_ANOMALY or not settings.validation_cases:
        return None
    arguments = without_deep_supervision(plan.network.name, plan.network.arguments)
    network = build_network(plan.network.name, arguments).to(compute.device)
    load_weights(network, weights)
    network.eval()
    layers = tile_layers(network, len(plan.inputs), plan.patch, compute.device)
    by_name = {case.name: case for case in cache.card.cases}

    def features(names: Sequence[str]) -> Any:
        images = (cache.load(by_name[name]).image for name in names)
        return np.concatenate([tile_features(network, i, plan.patch, layers, compute.device) for i in images])

    fitted = FeatureDistance.fit(features(settings.training_cases), layers)
    return fitted.calibrated(features(settings.validation_cases))


def _finite_mean(numbers: Sequence[float]) -> float:
    """Mean of the finite numbers; a label that is in no case has a mean of 0."""
    import numpy as np

    finite = [number for number in numbers if np.isfinite(number)]
    return round(float(np.mean(finite)), 4) if finite else 0.0


def _mean_over_folds(scores: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        label: {key: round(sum(s[label][key] for s in scores) / len(scores), 4) for key in kinds}
        for label, kinds in scores[0].items()
    }


def _result(
    output: Path | None,
    root: Path,
    cache: Cache,
    outcomes: Sequence[Outcome],
    metrics: dict[str, dict[str, float]],
) -> TrainResult:
    mean = sum(kinds["dice"] for kinds in metrics.values()) / len(metrics) if metrics else 0.0
    minutes = sum(outcome.seconds for outcome in outcomes) / 60
    steps = sum(outcome.steps for outcome in outcomes)
    return TrainResult(
        output, root, metrics, round(mean, 4), steps, round(minutes, 1), output is not None, cache.card.excluded
    )


def _card(
    config: TrainConfig,
    description: ModelDescription,
    cache: Cache,
    plan: Plan,
    result: TrainResult,
    unwritten: Any,
) -> ModelCard:
    from medai.networks import without_deep_supervision

    held = cache.card
    identity = identity_of(config, description, held.licence)
    citation = description.citation or ((held.citation,) if held.citation else ())
    data = description.data or (TrainingData(held.name, identity.licence, " ".join(citation), len(held.cases)),)
    return ModelCard(
        format=1,
        id=identity.id,
        version=description.version,
        title=identity.title,
        description=description.description,
        task="segment",
        network=NetworkSpec(plan.network.name, without_deep_supervision(plan.network.name, plan.network.arguments)),
        weights=unwritten,
        inputs=held.inputs,
        licence=identity.licence,
        spacing_mm=plan.spacing_mm,
        patch=plan.patch,
        crop=plan.crop,
        labels=tuple(_as_spec(spec) for spec in held.labels),
        training=Training(
            data, {"validation": result.metrics, "mean_dice": result.mean_dice}, _run_facts(config, result)
        ),
        citation=citation,
        postprocessing=description.postprocessing,
        totals=description.totals,
        quality=description.quality,
        plausibility=description.plausibility,
    )


def _as_spec(spec: LabelSpec) -> LabelSpec:
    r, g, b = (round(part, 4) for part in spec.color)
    return replace(spec, color=(r, g, b))


def _run_facts(config: TrainConfig, result: TrainResult) -> dict[str, Any]:
    """How the training was run; no names of cases and no paths, as these could name patients."""
    return {
        "preset": config.preset,
        "seed": config.seed,
        "folds": config.folds,
        "validation_fraction": config.validation_fraction if config.folds == 1 else round(1 / config.folds, 4),
        "steps": result.steps,
        "minutes": result.minutes,
    }


def _inference_weights(network: NetworkSpec, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights without the heads that only deep supervision uses."""
    from medai.networks import build_network, without_deep_supervision

    needed = build_network(network.name, without_deep_supervision(network.name, network.arguments)).state_dict()
    return {name: weights[name] for name in needed}
