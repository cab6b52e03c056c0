"""Evaluations that make the predictions themselves: a model on a data set, a training on the cases it held back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medai.config import from_json, read_json
from medai.config.segment import SegmentConfig
from medai.config.training import TrainConfig
from medai.config.training_run import RunFiles
from medai.errors import Cancelled, ConfigError, DatasetError, MedAIError, OutputError
from medai.evaluate.label_maps import compare_label_maps, mean_of
from medai.evaluate.reports import write_report
from medai.image import Image
from medai.imageio import read_image, read_label_map, write_image, write_label_map
from medai.labels import Label, LabelScheme, distinct_color
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

if TYPE_CHECKING:
    from medai.dataset.cache import Cache
    from medai.dataset.layouts import Case, Listing
    from medai.segment.loading import LoadedModel

PREDICTIONS = "predictions"


def run_model(
    dataset: Path | str,
    model: Path | str,
    output: Path | str,
    device: str = "auto",
    cases: Sequence[str] = (),
    tolerance_mm: float = 1.0,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> dict[str, Any]:
    """Segment the labelled cases of a data set (those named in `cases`, or all) and compare them with their labels.

    Writes the report and the predictions (``predictions/CASE.seg.nrrd``) into the new or empty folder `output` and
    returns the report: that of `medai.evaluate.run`, whose cases also have ``images``, ``reference`` and ``prediction``
    (files; the last one relative to `output`). Cases that cannot be read are left out and listed in ``warnings``.
    """
    from medai.dataset.layouts import list_dataset
    from medai.models import open_model
    from medai.segment import load_model

    listing = list_dataset(Path(dataset))
    chosen = [case for case in listing.cases if not cases or case.name in cases]
    missing = sorted(set(cases) - {case.name for case in chosen})
    if missing:
        raise DatasetError(f"'{dataset}' has no case '{missing[0]}'.", "Name cases as their files are named.")
    loaded = load_model(open_model(str(model)), device)
    folder = _new_folder(Path(output))
    jobs: list[tuple[Case, tuple[int, ...]]] = [(case, ()) for case in chosen]
    found = _segment_all(jobs, listing, loaded, folder, tolerance_mm, progress, cancelled)
    return _finished(found, folder, tolerance_mm, str(model), [])


def run_folder(
    root: Path | str,
    device: str = "auto",
    tolerance_mm: float = 1.0,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> dict[str, Any]:
    """Evaluate a finished training on its own validation cases, each by the network that was not trained on it.

    A run that was trained from images is measured on their own grids with its package; one that was trained from a
    prepared cache on the cache's grid, as its images are not known. Writes into ``evaluation/`` of the run folder, in
    place of an earlier one, what `run_model` writes. ConfigError where the run is not finished.
    """
    from medai.dataset.cache import is_cache, open_cache
    from medai.dataset.layouts import list_dataset
    from medai.models import open_model
    from medai.segment import load_model

    files = RunFiles(Path(root))
    if not files.options.is_file():
        raise ConfigError(f"'{root}' holds no run.", "Give the run folder of a training.")
    config = from_json(TrainConfig, read_json(files.options), f"{files.options}:")
    if config.task != "segmentation":
        raise ConfigError(f"The run in '{root}' trains a classifier.", "Its figures are on the model's card.")
    if not Path(config.output).exists():
        raise ConfigError(f"The run in '{root}' has written no model yet.", "Let it finish, or stop it early.")
    loaded = load_model(open_model(config.output), device)
    held = _held_back(files, config, loaded.folds)
    folder = _new_folder(files.evaluation, replace=True)
    dataset = Path(config.dataset)
    if is_cache(dataset):
        cache = open_cache(dataset)
        found = _predict_all(held, files, cache, loaded, folder, tolerance_mm, progress, cancelled)
        notes = ["The figures are on the grid of the prepared cache."]
    else:
        listing = list_dataset(dataset)
        by_name = {case.name: case for case in listing.cases}
        jobs = [(by_name[name], (fold,)) for fold, names in held.items() for name in names if name in by_name]
        found = _segment_all(jobs, listing, loaded, folder, tolerance_mm, progress, cancelled)
        gone = [name for names in held.values() for name in names if name not in by_name]
        notes = [f"{name} is no longer in '{dataset}'." for name in gone]
    return _finished(found, folder, tolerance_mm, config.output, notes)


def _held_back(files: RunFiles, config: TrainConfig, trained: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Names of the validation cases by the fold of the package whose network did not see them."""
    folders = files.folds() if config.folds > 1 else [files]
    held = {}
    for number, fold in zip(trained, folders, strict=False):  # a run that was stopped early has begun one more
        held[number] = tuple(read_json(fold.config).get("validation_cases", ()))
    if not any(held.values()):
        raise DatasetError(f"The run in '{files.root}' held no cases back.", "Evaluate its model on other cases.")
    return held


def _segment_all(
    jobs: Sequence[tuple[Case, tuple[int, ...]]],
    listing: Listing,
    loaded: LoadedModel,
    folder: Path,
    tolerance_mm: float,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> Iterable[dict[str, Any] | str]:
    from medai import segment

    scheme = _scheme_of(listing)

    def measure(case: Case, folds: tuple[int, ...]) -> dict[str, Any]:
        images = [read_image(file) for file in case.images]
        reference, own_scheme = read_label_map(case.labels)
        device = str(loaded.device)
        result = segment.run(SegmentConfig(device=device, folds=folds), images, loaded, cancelled=cancelled)
        file = folder / PREDICTIONS / f"{case.name}.seg.nrrd"
        write_label_map(file, result.label_map, result.scheme)
        labels = compare_label_maps(reference, result.label_map, own_scheme or scheme, result.scheme, tolerance_mm)
        return {
            "case": case.name,
            "labels": {name: values for name, values in labels.items() if name not in case.unknown},
            "images": [str(path.absolute()) for path in case.images],
            "reference": str(case.labels.absolute()),
            "prediction": file.relative_to(folder).as_posix(),
        }

    named = [(case.name, partial(measure, case, folds)) for case, folds in jobs]
    return _each(named, progress, cancelled)


def _predict_all(
    held: dict[int, tuple[str, ...]],
    files: RunFiles,
    cache: Cache,
    loaded: LoadedModel,
    folder: Path,
    tolerance_mm: float,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> Iterable[dict[str, Any] | str]:
    """The cases of a cache on its grid; what the network sees is written as images with axes along R, A and S."""
    from medai.training import RunFolder, choose_compute
    from medai.training.validation import predict

    compute = choose_compute(str(loaded.device))
    by_name = {case.name: case for case in cache.card.cases}
    scheme = LabelScheme(
        tuple(Label(n, spec.name, spec.color, spec.terminology) for n, spec in enumerate(cache.card.labels, 1))
    )
    folders = files.folds() or [files]
    settings = {fold: RunFolder(folders[fold].root).read_settings() for fold in held}

    def measure(name: str, fold: int) -> dict[str, Any]:
        arrays = cache.load(by_name[name])
        ijk_to_ras = np.diag([*cache.card.spacing_mm[::-1], 1.0])
        prediction = predict(loaded.networks[fold], arrays.image, settings[fold], compute)
        seen = Image(np.asarray(arrays.image[:1], np.float32), ijk_to_ras, name)
        reference = Image(np.asarray(arrays.labels, np.int16)[None], ijk_to_ras, name)
        predicted = Image(prediction[None], ijk_to_ras, name)
        write_image(folder / PREDICTIONS / f"{name}.image.nrrd", seen)
        write_label_map(folder / PREDICTIONS / f"{name}.reference.seg.nrrd", reference, scheme)
        write_label_map(folder / PREDICTIONS / f"{name}.seg.nrrd", predicted, scheme)
        unknown = {cache.card.labels[n - 1].name for n in by_name[name].unknown_labels}
        labels = compare_label_maps(reference, predicted, scheme, scheme, tolerance_mm)
        return {
            "case": name,
            "labels": {label: values for label, values in labels.items() if label not in unknown},
            "images": [f"{PREDICTIONS}/{name}.image.nrrd"],
            "reference": f"{PREDICTIONS}/{name}.reference.seg.nrrd",
            "prediction": f"{PREDICTIONS}/{name}.seg.nrrd",
        }

    named = [(n, partial(measure, n, fold)) for fold, names in held.items() for n in names]
    return _each(named, progress, cancelled)


def _each(
    jobs: Sequence[tuple[str, Callable[[], dict[str, Any]]]], progress: ProgressCallback, cancelled: CancelCheck
) -> Iterable[dict[str, Any] | str]:
    """The figures of each case, or a text why it was left out."""
    stage = Stage(progress, "Evaluating")
    for number, (name, job) in enumerate(jobs):
        check_cancelled(cancelled)
        try:
            yield job()
        except Cancelled:
            raise
        except MedAIError as error:
            yield f"{name} was left out: {error}"
        stage((number + 1) / len(jobs))


def _finished(
    found: Iterable[dict[str, Any] | str], folder: Path, tolerance_mm: float, model: str, notes: list[str]
) -> dict[str, Any]:
    cases: list[dict[str, Any]] = []
    for entry in found:
        if isinstance(entry, str):
            notes.append(entry)
        else:
            cases.append(entry)
    if not cases:
        raise DatasetError(f"No case can be evaluated. {' '.join(notes)}", "Check the data set and the model.")
    report = {"cases": cases, "mean": mean_of(cases), "tolerance_mm": tolerance_mm, "warnings": notes, "model": model}
    write_report(folder, report)
    return report


def _scheme_of(listing: Listing) -> LabelScheme | None:
    """What the data set calls its label values; None where it does not say."""
    if not listing.labels:
        return None
    return LabelScheme(
        tuple(Label(value, name, distinct_color(value)) for value, name in listing.labels.items() if value)
    )


def _new_folder(folder: Path, replace: bool = False) -> Path:
    if folder.exists() and not replace and (folder.is_file() or any(folder.iterdir())):
        raise OutputError(f"'{folder}' exists already.", "Give a new folder, or remove that one.")
    try:
        (folder / PREDICTIONS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be made: {error.strerror or error}.", "Choose another folder.") from error
    return folder
