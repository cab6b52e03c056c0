"""The use case "train a classifier": from a labelled data set to a model package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medai.classify import planning
from medai.classify.curves import curves
from medai.config.model_card import Calibration, ClassSpec, FramingSpec, ModelCard, NetworkSpec, Training, TrainingData
from medai.config.model_identity import identity_of
from medai.config.training import ClassificationRecipe, ModelDescription, TrainConfig
from medai.dataset.classification import LabelledSet, check_trainable, list_labelled
from medai.dataset.framed import FramedSet, frame_dataset
from medai.dataset.stratified import stratified_folds
from medai.errors import ConfigError, DatasetError
from medai.image import Array
from medai.inference.anomaly import FILE_NAME, FeatureDistance, anomaly_spec, feature_layers
from medai.inference.classification import mean_logits, pooled_features
from medai.metrics.calibration import choose_threshold, cross_fitted, fit_temperature, softmax
from medai.metrics.classification import brier_score, calibration_error, macro_auc
from medai.models import UNWRITTEN_WEIGHTS, ModelPackage, write_package
from medai.models.inheritance import licence_after
from medai.networks import build_network, load_weights
from medai.preprocessing.framing import Framing
from medai.progress import CancelCheck, ProgressCallback, part_of
from medai.train.finetune import card_after, parent_of, recipe_after, write_start
from medai.training import Compute, Outcome, RunFolder, choose_compute
from medai.training.classification import ClassificationSettings, ClassificationTrainer, LabelledInputs
from medai.training.run_record import RunRecord

if TYPE_CHECKING:
    import torch

_CALIBRATION_PARTS = 5
_TOGETHER = 64


@dataclass(frozen=True)
class ClassifierResult:
    """What a training came to. `output` is None where it was stopped early: `run_folder` then lets it go on.

    `metrics`: figures on the cases that no network was trained on, see `_figures`.
    """

    output: Path | None
    run_folder: Path
    metrics: dict[str, Any]
    steps: int
    minutes: float
    finished: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Data:
    """The framed cases, and who trains on what: rows of each fold (training, validation), rows to calibrate on."""

    framing: Framing
    framed: FramedSet
    folds: tuple[tuple[list[int], list[int]], ...]
    held_out: list[int]  # never trained on by any network; empty: each fold's own validation rows are


def run(
    config: TrainConfig,
    description: ModelDescription,
    root: Path,
    progress: ProgressCallback,
    cancelled: CancelCheck,
    record: RunRecord,
) -> ClassifierResult:
    """Train as `config` says and write the model package; `root` is the run folder, `record` its record.

    Raises DatasetError (nothing to learn), ConfigError (options that do not fit, another run in the folder),
    OutputError. A cancel leaves a checkpoint, from which the same call with `resume` goes on exactly.
    """
    parent = parent_of(config)
    recipe = planning.recipe_for(config, description)
    if parent is not None:
        licence_after(parent.card, config.licence or description.licence, "")  # what the end would refuse
        recipe = recipe_after(parent, config, recipe)
        description = replace(description, inputs=parent.card.inputs)
    found = list_labelled(Path(config.dataset), [spec.name for spec in description.classes])
    check_trainable(found)
    _check_positive(recipe, found)
    compute = choose_compute(config.device)
    framing = planning.normalized(planning.framing_for(found, recipe, description), config, parent)
    planning.network_for(framing, recipe, len(found.classes))  # what cannot be built is said before the files are read
    record.stage("preparing")
    framed = frame_dataset(
        found,
        framing,
        root / "framed",
        progress=record.told(part_of(progress, 0.0, 0.05), "preparing"),
        cancelled=cancelled,
    )
    folds, held_out = split_rows(framed, config)
    data = _Data(framing, framed, folds, held_out)
    outcomes: list[Outcome] = []
    settings = None
    for fold in range(config.folds):
        part = part_of(progress, 0.05 + 0.9 * fold / config.folds, 0.05 + 0.9 * (fold + 1) / config.folds)
        record.stage("training", fold=fold)
        outcome, settings = _train_fold(config, recipe, data, fold, compute, root, record, parent, part, cancelled)
        outcomes.append(outcome)
        if not outcome.finished:
            return _result(None, root, outcomes, {}, framed)
        if outcome.stopped_early:
            data = replace(data, folds=data.folds[: fold + 1])
            break
    record.stage("evaluating")
    assert settings is not None
    networks = [_network(settings.network, outcome, compute) for outcome in outcomes]
    calibrating = _held_out_logits(networks, data, compute, cancelled)
    every = _logits_outside_training(networks, data, compute, cancelled)
    calibration, metrics = _calibrate(calibrating, every, found, recipe, config.seed)
    distance = _fit_anomaly(networks[0], data, compute)
    file = distance.to_bytes()
    record.stage("packaging")
    result = _result(Path(config.output), root, outcomes, metrics, framed)
    card = replace(
        _card(config, description, recipe, found, framing, settings, result),
        calibration=calibration,
        anomaly=anomaly_spec(distance, file),
    )
    files: dict[str, bytes] = {}
    if parent is not None:
        card, files = card_after(card, parent, config.licence or description.licence, "")
    write_package(Path(config.output), card, [o.weights for o in outcomes], files={**files, FILE_NAME: file})
    return result


def split_rows(framed: FramedSet, config: TrainConfig) -> tuple[tuple[tuple[list[int], list[int]], ...], list[int]]:
    """Rows (training, validation) of each fold, and the rows that are held out of all of them.

    With a validation split in the data set it is held out, and several folds divide the training split; without one
    a share is held out, or, with several folds, each is validated on its own part. Patients stay together.
    """
    cases = framed.card.cases
    given = framed.rows("val")
    pool = framed.rows("train", "")
    _check_patients(framed, pool, given)
    labels = framed.labels
    if config.folds == 1:
        if given:
            return ((pool, given),), given
        parts = max(2, round(1 / config.validation_fraction))
        validation = _folds_of(pool, labels, [c.patient for c in cases], parts, config.seed)[0]
        return ((sorted(set(pool) - set(validation)), validation),), validation
    folds = _folds_of(pool, labels, [c.patient for c in cases], config.folds, config.seed)
    return tuple((sorted(set(pool) - set(part)), part) for part in folds), given


def _folds_of(pool: Sequence[int], labels: Array, patients: Sequence[str], folds: int, seed: int) -> list[list[int]]:
    parts = stratified_folds([int(labels[n]) for n in pool], [patients[n] for n in pool], folds, seed)
    rows = [[pool[n] for n in part] for part in parts]
    present = set(labels[list(pool)].tolist())
    for part in rows:
        rest = set(pool) - set(part)
        if set(labels[part].tolist()) != present or set(labels[sorted(rest)].tolist()) != present:
            raise DatasetError(
                f"{folds} parts cannot each hold every class: a class has too few cases or patients.",
                "Add cases of the rarest class, or train fewer folds.",
            )
    return rows


def _check_patients(framed: FramedSet, pool: Sequence[int], given: Sequence[int]) -> None:
    shared = {framed.card.cases[n].patient for n in pool} & {framed.card.cases[n].patient for n in given}
    if shared:
        raise DatasetError(
            f"Patient '{min(shared)}' is in the splits train and val ({len(shared)} patient(s) are).",
            "Put all cases of a patient into one split.",
        )


def _check_positive(recipe: ClassificationRecipe, found: LabelledSet) -> None:
    if recipe.positive and recipe.positive not in found.classes:
        raise ConfigError(
            f"The positive class '{recipe.positive}' is none of {', '.join(found.classes)}.", "Correct the recipe."
        )


def _train_fold(
    config: TrainConfig,
    recipe: ClassificationRecipe,
    data: _Data,
    fold: int,
    compute: Compute,
    root: Path,
    record: RunRecord,
    parent: ModelPackage | None,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> tuple[Outcome, ClassificationSettings]:
    folder = RunFolder(root if config.folds == 1 else root / f"fold-{fold}")
    rows = data.folds[fold]
    settings = planning.settings_for(config, recipe, data.framing, data.framed, rows, fold)
    with folder.locked():
        if folder.config.is_file():
            _check_same_run(folder, settings, config.resume)
        folder.write_settings(settings)
        if parent is not None and not folder.checkpoint.is_file():
            write_start(parent, [ClassSpec(name) for name in data.framed.card.classes], settings, folder)
        trainer = ClassificationTrainer(settings, compute, folder)
        trainer.stop_asked = record.stop_asked
        if config.resume and folder.checkpoint.is_file():
            trainer.restore()
        else:
            folder.start()
        training, validation = (_inputs(data.framed, part) for part in rows)
        return trainer.fit(training, validation, progress, cancelled), settings


def _check_same_run(folder: RunFolder, wanted: ClassificationSettings, resume: bool) -> None:
    if not resume:
        raise ConfigError(
            f"'{folder.root}' holds an earlier run.", "Go on with it by --resume, or remove that folder to start again."
        )
    stored = folder.read_settings(ClassificationSettings)
    stored = replace(stored, max_minutes=wanted.max_minutes, checkpoint_minutes=wanted.checkpoint_minutes)
    changed = [name for name in vars(stored) if getattr(stored, name) != getattr(wanted, name)]
    if changed:
        raise ConfigError(
            f"The run in '{folder.root}' was started with other settings: {', '.join(changed)}.",
            "Give the options that it was started with, or start a new run.",
        )


def _inputs(framed: FramedSet, rows: Sequence[int]) -> LabelledInputs:
    return LabelledInputs(np.asarray(framed.inputs[list(rows)]), framed.labels[list(rows)])


def _network(spec: NetworkSpec, outcome: Outcome, compute: Compute) -> torch.nn.Module:
    network = build_network(spec.name, spec.arguments).to(compute.device)
    load_weights(network, outcome.weights)
    return network.eval().requires_grad_(False)


def _tensor(data: _Data, rows: Sequence[int], compute: Compute) -> torch.Tensor:
    import torch

    x = torch.from_numpy(np.asarray(data.framed.inputs[list(rows)], dtype=np.float32)).to(compute.device)
    return x.squeeze(2) if data.framing.planar else x


def _logits(
    networks: Sequence[torch.nn.Module], rows: Sequence[int], data: _Data, compute: Compute, cancelled: CancelCheck
) -> tuple[Array, Array]:
    """Mean logits of the networks and labels of these rows, in the way that the package will be used."""
    starts = range(0, len(rows), _TOGETHER)
    parts = [
        mean_logits(
            networks, _tensor(data, rows[s : s + _TOGETHER], compute), data.framing.spec.mirror, False, cancelled
        )
        for s in starts
    ]
    return np.concatenate(parts), data.framed.labels[list(rows)]


def _logits_outside_training(
    networks: Sequence[torch.nn.Module], data: _Data, compute: Compute, cancelled: CancelCheck
) -> tuple[Array, Array]:
    """Logits and labels of all cases by networks that were not trained on them: each fold's own, then the held-out.

    A threshold needs many cases; that single networks are a little less sure than all together matters less.
    """
    groups = [_logits([net], rows[1], data, compute, cancelled) for net, rows in zip(networks, data.folds, strict=True)]
    if data.held_out and len(networks) > 1:
        groups.append(_logits(networks, data.held_out, data, compute, cancelled))
    return np.concatenate([group[0] for group in groups]), np.concatenate([group[1] for group in groups])


def _held_out_logits(
    networks: Sequence[torch.nn.Module], data: _Data, compute: Compute, cancelled: CancelCheck
) -> tuple[Array, Array]:
    """Logits and labels by which probabilities are calibrated: of the whole ensemble where cases were held out."""
    if data.held_out:
        return _logits(networks, data.held_out, data, compute, cancelled)
    return _logits_outside_training(networks, data, compute, cancelled)


def _calibrate(
    held_out: tuple[Array, Array],
    every: tuple[Array, Array],
    found: LabelledSet,
    recipe: ClassificationRecipe,
    seed: int,
) -> tuple[Calibration, dict[str, Any]]:
    """Temperature and threshold, and the figures with a temperature that was fitted on other cases."""
    logits, labels = held_out
    names = [str(n) for n in range(len(labels))]
    smallest = int(np.bincount(labels).min())
    parts = stratified_folds(labels.tolist(), names, min(_CALIBRATION_PARTS, smallest), seed)
    probabilities = cross_fitted(logits, labels, parts) if len(parts) > 1 else softmax(logits)
    temperature = fit_temperature(logits, labels)
    thresholds = {}
    if len(found.classes) == 2:
        positive = found.classes.index(recipe.positive) if recipe.positive else 1
        chances = softmax(every[0] / temperature)[:, positive]
        chosen = choose_threshold(chances, every[1] == positive, recipe.threshold)
        thresholds = {found.classes[positive]: round(chosen, 4)}
    before = softmax(logits)
    metrics = {
        "cases": len(labels),
        "auc": round(macro_auc(probabilities, labels), 4),
        "brier": round(brier_score(probabilities, labels), 4),
        "brier_uncalibrated": round(brier_score(before, labels), 4),
        "ece": round(calibration_error(probabilities, labels), 4),
        "ece_uncalibrated": round(calibration_error(before, labels), 4),
        **curves(probabilities, labels, found.classes, next(iter(thresholds), None)),
    }
    if len(every[1]) > len(labels):
        # Single networks on their own parts, and all together on the held-out cases.
        area = round(macro_auc(softmax(every[0]), every[1]), 4)
        metrics |= {"cross_validation_cases": len(every[1]), "cross_validation_auc": area}
    return Calibration(round(temperature, 4), thresholds), metrics


def _fit_anomaly(network: torch.nn.Module, data: _Data, compute: Compute) -> FeatureDistance:
    """Mean and covariance of the first network's features; the threshold from cases that it was not trained on."""
    training, validation = data.folds[0]
    validation = data.held_out or validation
    layers = feature_layers(network, _tensor(data, training[:2], compute))

    def features(rows: Sequence[int]) -> Array:
        starts = range(0, len(rows), _TOGETHER)
        return np.concatenate(
            [pooled_features(network, layers, _tensor(data, rows[s : s + _TOGETHER], compute)) for s in starts]
        )

    return FeatureDistance.fit(features(training), layers).calibrated(features(validation))


def _result(
    output: Path | None, root: Path, outcomes: Sequence[Outcome], metrics: dict[str, Any], framed: FramedSet
) -> ClassifierResult:
    minutes = round(sum(outcome.seconds for outcome in outcomes) / 60, 1)
    steps = sum(outcome.steps for outcome in outcomes)
    return ClassifierResult(output, root, metrics, steps, minutes, output is not None, framed.card.warnings)


def _card(
    config: TrainConfig,
    description: ModelDescription,
    recipe: ClassificationRecipe,
    found: LabelledSet,
    framing: Framing,
    settings: ClassificationSettings,
    result: ClassifierResult,
) -> ModelCard:
    identity = identity_of(config, description)
    source = TrainingData(identity.id, identity.licence, " ".join(description.citation), len(found.items))
    data = description.data or (source,)
    return ModelCard(
        format=1,
        id=identity.id,
        version=description.version,
        title=identity.title,
        description=description.description,
        task="classify",
        network=settings.network,
        weights=UNWRITTEN_WEIGHTS,
        inputs=framing.inputs,
        licence=identity.licence,
        spacing_mm=framing.spacing_mm,
        patch=framing.patch,
        classes=description.classes or tuple(ClassSpec(name) for name in found.classes),
        framing=FramingSpec(framing.spec.method, framing.spec.margin, framing.spec.mirror),
        training=Training(data, {"validation": result.metrics}, _run_facts(config, recipe, settings, result)),
        citation=description.citation,
    )


def _run_facts(
    config: TrainConfig, recipe: ClassificationRecipe, settings: ClassificationSettings, result: ClassifierResult
) -> dict[str, Any]:
    """How the training was run; no names of cases and no paths, as these could name patients."""
    return {
        "seed": config.seed,
        "folds": config.folds,
        "steps": result.steps,
        "minutes": result.minutes,
        "batch_size": settings.batch_size,
        "optimizer": settings.optimizer,
        "learning_rate": settings.learning_rate,
        "threshold": recipe.threshold,
    }
