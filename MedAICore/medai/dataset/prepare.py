"""`medai prepare`: checks a data set, measures it, and writes the cache that training reads."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from medai.case_checks import CaseSummary
from medai.case_report import report_of
from medai.config.model_card import InputSpec, LabelSpec, Normalization
from medai.config.training import PreprocessingChoices
from medai.dataset.cache import Cache, CacheCard, CachedCase, ExcludedCase, is_cache, write_card, write_case
from medai.dataset.checks import ReadCase, read_case
from medai.dataset.fingerprint import (
    CaseFacts,
    ChannelStatistics,
    Fingerprint,
    case_facts,
    default_normalization,
    fingerprint,
)
from medai.dataset.layouts import Case, Listing, explain, list_dataset
from medai.dataset.plan import target_spacing
from medai.dataset.report import dataset_findings, splits_folder, summarize
from medai.dataset.split import (
    SPLITS_NAME,
    USUAL_FOLDS,
    Split,
    StoredSplits,
    draw_splits,
    read_splits,
    require_sound,
    write_splits,
)
from medai.errors import DatasetError, OutputError
from medai.image import Array
from medai.labels import distinct_color
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

_log = logging.getLogger(__name__)
_AS_THE_DATA = PreprocessingChoices()
_MOSTLY_EMPTY = 0.4  # share of zero voxels from which cropping to the rest pays


def prepare(
    dataset: Path,
    output: Path,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
    *,
    labels: Sequence[LabelSpec] = (),
    inputs: Sequence[InputSpec] = (),
    choices: PreprocessingChoices = _AS_THE_DATA,
    folds: int = USUAL_FOLDS,
    split_seed: int = 0,
) -> Cache:
    """Write the cache of the data set `dataset` to the new folder `output`.

    Cases that cannot be used are left out and listed with the reason in the cache's card. `labels` and `inputs`
    describe the label values and the channels where the data set does not, or better than it does; `choices` replace
    parts of the preprocessing. The data set's own splits.json is kept with the cache; where it has none, `folds` folds
    are drawn by patient with `split_seed`. Raises DatasetError where no case is left or the data set's own splits have
    a patient on both sides, OutputError where the folder cannot be written.
    """
    listing = list_dataset(dataset)
    given = read_splits(splits_folder(dataset))
    if given is not None:  # before the long work; checked again below, as cases may be left out
        listed = {case.name: case.patient for case in listing.cases} | {case.name: "" for case in listing.excluded}
        require_sound(given, listed, splits_folder(dataset))
    _start_folder(output)
    card, read = _survey(dataset, listing, labels, inputs, choices, Stage(progress, "checking", 0.0, 0.4), cancelled)
    cases = tuple(_preprocess(listing, read, card, output, Stage(progress, "preprocessing", 0.4, 1.0), cancelled))
    card = replace(card, cases=cases)
    splits = _usable_splits(given, cases, splits_folder(dataset)) or draw_splits(cases, folds, split_seed)
    if splits is not None:
        write_splits(output, splits)
    write_card(output, card)
    return Cache(output, card)


def _usable_splits(given: StoredSplits | None, cases: Sequence[CachedCase], where: Path) -> StoredSplits | None:
    """The data set's own folds without the cases that were left out."""
    if given is None:
        return None
    kept = {case.name: case.patient for case in cases}
    folds = tuple(
        Split(tuple(n for n in split.training if n in kept), tuple(n for n in split.validation if n in kept))
        for split in given.folds
    )
    splits = replace(given, folds=folds)
    require_sound(splits, kept, where)
    return splits


def survey(
    dataset: Path,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
    *,
    labels: Sequence[LabelSpec] = (),
    inputs: Sequence[InputSpec] = (),
    choices: PreprocessingChoices = _AS_THE_DATA,
) -> CacheCard:
    """The card that `prepare` would write, without its cases: every case is read and measured, nothing is written."""
    listing = list_dataset(dataset)
    card, _ = _survey(dataset, listing, labels, inputs, choices, Stage(progress, "checking", 0.0, 1.0), cancelled)
    return card


def _survey(
    dataset: Path,
    listing: Listing,
    labels: Sequence[LabelSpec],
    inputs: Sequence[InputSpec],
    choices: PreprocessingChoices,
    stage: Stage,
    cancelled: CancelCheck,
) -> tuple[CacheCard, list[_Usable]]:
    if inputs and len(inputs) != len(listing.channels):
        raise DatasetError(
            f"The data set '{dataset}' has {len(listing.channels)} channel(s), {len(inputs)} are described "
            f"({', '.join(spec.name for spec in inputs)}).",
            "Give a data set and a description (or a model to fine-tune) of the same channels.",
        )
    values = tuple(spec.value for spec in labels) or tuple(listing.labels)
    facts, read, excluded, warnings = _measure(listing, values, stage, cancelled)
    if not read:
        raise DatasetError(
            f"No case of the data set '{dataset}' can be used.{explain(excluded)}", "Repair or replace the files."
        )
    found = tuple(sorted({value for case in read for value in case.values}))
    specs = tuple(labels) or listing.details or _label_specs(values or found, listing)
    if not specs:
        raise DatasetError(f"No label map of '{dataset}' has a labelled voxel.", "Check the label maps.")
    order = tuple(spec.value for spec in specs)
    whole = fingerprint([_in_order(fact, found, order) for fact in facts])
    crop: Literal["none", "nonzero"] = "nonzero" if whole.zero_fraction > _MOSTLY_EMPTY else "none"
    card = CacheCard(
        name=listing.name,
        labels=specs,
        inputs=tuple(inputs) or _input_specs(listing, whole, choices),
        spacing_mm=choices.spacing_mm or target_spacing(whole),
        crop=choices.crop or crop,
        planar=round(whole.median_shape[0]) == 1,
        fingerprint=whole,
        cases=(),
        excluded=tuple(excluded),
        warnings=tuple(warnings),
        licence=listing.licence,
        citation=listing.citation,
    )
    return card, read


@dataclass(frozen=True)
class _Usable:
    """A case that passed the checks, and the label values in it. Its voxels are read again when they are needed."""

    case: Case
    values: tuple[int, ...]


def _start_folder(output: Path) -> None:
    """Make the folder; an unfinished cache of an earlier try is replaced, anything else is not touched."""
    unfinished = output.is_dir() and {p.name for p in output.iterdir()} <= {
        "cases",
        ".dataset.json.part",
        SPLITS_NAME,
        f".{SPLITS_NAME}.part",
    }
    if output.exists() and not unfinished:
        what = "a finished cache" if is_cache(output) else "something else"
        raise OutputError(f"'{output}' is there already, and is {what}.", "Give the name of a new folder.")
    try:
        if unfinished:
            shutil.rmtree(output)
        (output / "cases").mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"The cache '{output}' cannot be made: {error}.", "Choose another folder.") from error


def _measure(
    listing: Listing, values: Sequence[int], stage: Stage, cancelled: CancelCheck
) -> tuple[list[CaseFacts], list[_Usable], list[ExcludedCase], list[str]]:
    """Facts about every usable case, by the label values that occur anywhere, the cases that are left out, warnings."""
    measured: list[tuple[_Usable, CaseFacts]] = []
    excluded = list(listing.excluded)
    summaries: list[CaseSummary] = []
    for number, case in enumerate(listing.cases):
        check_cancelled(cancelled)
        try:
            read = read_case(case, len(listing.channels), values)
        except DatasetError as error:
            excluded.append(ExcludedCase(case.name, str(error)))
        else:
            present = tuple(int(v) for v in np.unique(read.labels.array) if v != 0)
            measured.append((_Usable(case, present), _facts(read, present)))
            summaries.append(summarize(case, read, listing))
        stage((number + 1) / len(listing.cases))
    report = report_of(dataset_findings(summaries, excluded))
    left_out = {case.name for case in excluded}
    for finding in report.errors:
        if finding.case and finding.case not in left_out:
            left_out.add(finding.case)
            excluded.append(ExcludedCase(finding.case, f"{finding.message} {finding.remedy}".strip()))
    for lost in excluded:
        _log.warning("Case '%s' is left out: %s", lost.name, lost.reason)
    # What concerns the whole set (one case only) does not stop the preparation: more may be added; a training refuses.
    told = [finding for finding in report.findings if finding.severity != "note" and finding.case not in left_out]
    warnings = [f"{f.case}: {f.message} {f.remedy}" if f.case else f"{f.message} {f.remedy}" for f in told]
    measured = [(usable, fact) for usable, fact in measured if usable.case.name not in left_out]
    found = tuple(sorted({value for usable, _ in measured for value in usable.values}))
    facts = [_in_order(fact, usable.values, found) for usable, fact in measured]
    return facts, [usable for usable, _ in measured], excluded, warnings


def _facts(read: ReadCase, values: Sequence[int]) -> CaseFacts:
    """Shape, spacing and intensities of one case in the orientation that preprocessing will bring it to."""
    from medai.preprocessing.cropping import crop_box
    from medai.preprocessing.orientation import closest_to_ras

    image = read.image
    flat = image.shape.index(1) if min(image.shape) == 1 else None
    orientation = closest_to_ras(image.ijk_to_ras, first_axis=flat)
    oriented = orientation.apply(image.array)
    empty = float((oriented == 0).all(axis=0).mean())
    box = crop_box(oriented, "nonzero" if empty > _MOSTLY_EMPTY else "none")
    spacing = tuple(image.spacing_mm[axis] for axis in orientation.order)
    labels = orientation.apply(read.labels.channel(0))[box]
    facts = case_facts(image.name, oriented[(slice(None), *box)], (spacing[0], spacing[1], spacing[2]), labels, values)
    return replace(facts, zero_fraction=empty)


def _in_order(facts: CaseFacts, values: Sequence[int], order: Sequence[int]) -> CaseFacts:
    counts = dict(zip(values, facts.label_voxels, strict=True))
    return replace(facts, label_voxels=tuple(counts.get(value, 0) for value in order))


def _label_specs(values: Sequence[int], listing: Listing) -> tuple[LabelSpec, ...]:
    return tuple(
        LabelSpec(value, listing.labels.get(value, f"label {value}"), distinct_color(index))
        for index, value in enumerate(values)
    )


def _input_specs(listing: Listing, whole: Fingerprint, choices: PreprocessingChoices) -> tuple[InputSpec, ...]:
    return tuple(
        InputSpec(channel.name, channel.modality, _normalization(channel.modality, statistics, choices))
        for channel, statistics in zip(listing.channels, whole.channels, strict=True)
    )


def _normalization(modality: str, statistics: ChannelStatistics, choices: PreprocessingChoices) -> Normalization:
    """The normalisation that was asked for, its statistics from the data set; by default what suits the modality."""
    if choices.normalization is None:
        return default_normalization(modality, statistics)
    if choices.normalization == "ct_window":
        return default_normalization("CT", statistics)
    return Normalization(choices.normalization)


def _preprocess(
    listing: Listing, usable: Sequence[_Usable], card: CacheCard, output: Path, stage: Stage, cancelled: CancelCheck
) -> Iterator[CachedCase]:
    from medai.preprocessing import Preprocessing

    preprocessing = Preprocessing.from_plan(card.inputs, card.spacing_mm, card.crop, planar=card.planar)
    values = tuple(spec.value for spec in card.labels)
    for number, item in enumerate(usable):
        check_cancelled(cancelled)
        read = read_case(item.case, len(listing.channels), values)
        prepared = preprocessing.apply(read.image)
        labels = _as_indices(preprocessing.apply_labels(read.labels, prepared.record), values)
        try:
            cached = write_case(output, item.case.name, prepared.array, labels, len(values))
        except OSError as error:
            raise OutputError(
                f"The cache '{output}' cannot be written: {error}.", "Free space on that disk."
            ) from error
        stage((number + 1) / len(usable))
        named = [spec.name for spec in card.labels]
        unknown = tuple(named.index(name) + 1 for name in _unknown_names(item.case, listing, card) if name in named)
        yield replace(cached, patient=item.case.patient, unknown_labels=unknown)


def _unknown_names(case: Case, listing: Listing, card: CacheCard) -> list[str]:
    """The unknown labels of a case by their names in the card, which a description may have given other names."""
    value_of = {name: value for value, name in listing.labels.items()}
    return [spec.name for name in case.unknown for spec in card.labels if spec.value == value_of.get(name)]


def _as_indices(labels: Array, values: Sequence[int]) -> Array:
    """Label values -> 0 for the background, n for the n-th of `values`."""
    table = np.zeros(max(int(labels.max(initial=0)), *values) + 1, np.int16)
    table[list(values)] = np.arange(1, len(values) + 1)
    indices: Array = table[labels]
    return indices
