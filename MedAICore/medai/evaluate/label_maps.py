"""Compare predicted label maps with reference label maps: files, or folders paired by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medai.errors import DatasetError, FileFormatError, GeometryError, InputError, MedAIError
from medai.image import Image
from medai.imageio import read_label_map
from medai.imageio.suffixes import image_suffix, stem
from medai.labels import LabelScheme
from medai.metrics import Comparison, compare
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

_METRICS = ("dice", "hd95_mm", "assd_mm", "nsd", "reference_ml", "prediction_ml")


@dataclass(frozen=True)
class _Pair:
    """One label: the name it is reported under and its value in either label map (None: that map does not have it)."""

    name: str
    reference: int | None
    prediction: int | None


def run(
    reference: Path | str,
    prediction: Path | str,
    tolerance_mm: float = 1.0,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> dict[str, Any]:
    """The JSON object of ``medai evaluate``: `cases`, `mean`, `tolerance_mm`, `warnings`.

    Two files make one case; two folders are paired by file name without suffix. In folders, files without a partner,
    and cases that cannot be compared, are listed in `warnings` and left out; with two files, or where no case is left,
    the error is raised. Numbers that do not exist are None (null): of a label that is in neither map everything but the
    volumes; of a label that is in one of them only the distances (Dice and NSD are 0 then).
    """
    pairs, warnings = _paired(Path(reference), Path(prediction))
    stage = Stage(progress, "Evaluating")
    cases = []
    for n, (name, reference_file, prediction_file) in enumerate(pairs):
        check_cancelled(cancelled)
        try:
            cases.append({"case": name, "labels": _compare_files(reference_file, prediction_file, tolerance_mm)})
        except MedAIError as error:
            if len(pairs) == 1 and not Path(reference).is_dir():
                raise
            warnings.append(f"{name} was left out: {error}")
        stage((n + 1) / len(pairs))
    if not cases:
        raise DatasetError(
            f"No case of '{reference}' and '{prediction}' can be compared: {' '.join(warnings)}",
            "Give label maps of the same grid under the same names.",
        )
    return {"cases": cases, "mean": mean_of(cases), "tolerance_mm": tolerance_mm, "warnings": warnings}


def compare_label_maps(
    reference: Image,
    prediction: Image,
    reference_scheme: LabelScheme | None = None,
    prediction_scheme: LabelScheme | None = None,
    tolerance_mm: float = 1.0,
) -> dict[str, dict[str, float | None]]:
    """Label name (or value as text) -> metrics of two label maps on one grid; GeometryError where they are not.

    Where both have schemes that share names, labels are paired by name, as two files may number them differently; else
    by value.
    """
    if not reference.same_grid(prediction, tolerance_voxels=0.05):
        raise GeometryError(
            f"'{prediction.name}' {prediction.shape} does not lie on the grid of '{reference.name}' {reference.shape}.",
            "Resample the prediction to the reference's grid.",
        )
    a, b = reference.channel(0), prediction.channel(0)
    result = {}
    for pair in _label_pairs(_values(a), _values(b), reference_scheme, prediction_scheme):
        masks = (
            np.zeros(a.shape, bool) if pair.reference is None else a == pair.reference,
            np.zeros(a.shape, bool) if pair.prediction is None else b == pair.prediction,
        )
        result[pair.name] = _row(compare(*masks, reference.spacing_mm, tolerance_mm))
    return result


def mean_of(cases: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Per label the mean of each metric over the cases where it exists, and ``overall``: the mean over the labels.

    A missed label counts with Dice and NSD 0; it has no distance, so read the distances beside the Dice.
    """
    names = list(dict.fromkeys(name for case in cases for name in case["labels"]))
    mean = {name: _mean_row([c["labels"][name] for c in cases if name in c["labels"]]) for name in names}
    if mean:
        mean["overall"] = _mean_row(list(mean.values()))
    return mean


def _mean_row(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for metric in _METRICS:
        numbers = [value for row in rows if (value := row[metric]) is not None]
        result[metric] = sum(numbers) / len(numbers) if numbers else None
    return result


def _row(comparison: Comparison) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in asdict(comparison).items()}


def _values(labels: Any) -> set[int]:
    return {int(value) for value in np.unique(labels)} - {0}


def _label_pairs(
    in_reference: set[int], in_prediction: set[int], first: LabelScheme | None, second: LabelScheme | None
) -> list[_Pair]:
    if first is not None and second is not None:
        by_name = {name.casefold() for name in first.names} & {name.casefold() for name in second.names}
        if by_name:
            pairs = _pairs_by_name(first, second)
        else:
            pairs = [_Pair(label.name, label.value, label.value) for label in first]
    else:
        pairs = [_Pair(label.name, label.value, label.value) for label in first or second or ()]
    known_reference = {pair.reference for pair in pairs}
    known_prediction = {pair.prediction for pair in pairs}
    for value in sorted(in_reference | in_prediction):
        has = (value in in_reference - known_reference, value in in_prediction - known_prediction)
        if any(has):
            pairs.append(_Pair(str(value), value if has[0] else None, value if has[1] else None))
    return pairs


def _pairs_by_name(first: LabelScheme, second: LabelScheme) -> list[_Pair]:
    values = {label.name.casefold(): label.value for label in second}
    pairs = [_Pair(label.name, label.value, values.get(label.name.casefold())) for label in first]
    known = {name.casefold() for name in first.names}
    return pairs + [_Pair(label.name, None, label.value) for label in second if label.name.casefold() not in known]


def _compare_files(reference: Path, prediction: Path, tolerance_mm: float) -> dict[str, dict[str, float | None]]:
    first, first_scheme = read_label_map(reference)
    second, second_scheme = read_label_map(prediction)
    return compare_label_maps(first, second, first_scheme, second_scheme, tolerance_mm)


def _paired(reference: Path, prediction: Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    for path in (reference, prediction):
        if not path.exists():
            raise FileFormatError(f"There is no file or folder '{path}'.", "Check the path.")
    if reference.is_dir() != prediction.is_dir():
        raise InputError(f"'{reference}' and '{prediction}' are a file and a folder.", "Give two files or two folders.")
    if not reference.is_dir():
        return [(stem(reference), reference, prediction)], []
    warnings: list[str] = []
    references, predictions = _files(reference, warnings), _files(prediction, warnings)
    warnings += [f"'{references[name]}' has no prediction." for name in references if name not in predictions]
    warnings += [f"'{predictions[name]}' has no reference." for name in predictions if name not in references]
    return [(name, file, predictions[name]) for name, file in references.items() if name in predictions], warnings


def _files(folder: Path, warnings: list[str]) -> dict[str, Path]:
    """Case name -> file, in order of the names."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not image_suffix(file) or not file.is_file():
            continue
        name = stem(file)
        if name in files:
            warnings.append(f"'{file}' was left out: '{files[name].name}' has the same name.")
            continue
        files[name] = file
    return files
