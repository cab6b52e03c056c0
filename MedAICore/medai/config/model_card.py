"""model.json: the card of a model package (docs/model-format.md), as dataclasses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medai.config.label_rules import PlausibilitySpec, PostprocessingStep, QualitySpec, TotalSpec, check_names
from medai.config.validation import from_json, read_json
from medai.errors import ConfigError
from medai.labels import Code, Label, LabelScheme

CARD_NAME = "model.json"
Task = Literal["segment", "click", "classify"]
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class NetworkSpec:
    """Which network of the registry, and its arguments as plain data."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightFile:
    """One set of weights: a safetensors file beside model.json, its hash, and the fold that it was trained on."""

    file: str
    sha256: str
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    fold: int = 0

    def __post_init__(self) -> None:
        _check_plain_file_name(self.file)
        if not _SHA256.fullmatch(self.sha256):
            raise ConfigError(f"'{self.sha256}' is not a sha256 of '{self.file}'.", "Give 64 hexadecimal digits.")


@dataclass(frozen=True)
class Normalization:
    """How an input's intensities are scaled; the meaning of the numbers depends on `name` (docs/model-format.md)."""

    name: Literal["zscore", "percentile", "ct_window", "minmax", "none"] = "zscore"
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    nonzero_only: bool = False


@dataclass(frozen=True)
class InputSpec:
    """One input channel: its name, modality (DICOM's code where there is one: MR, CT, PT) and normalisation."""

    name: str
    modality: str = ""
    normalization: Normalization = Normalization()
    description: str = ""


# A label of a card is a label of the label maps that the model makes.
LabelSpec = Label


@dataclass(frozen=True)
class ClassSpec:
    """One class of a classification model."""

    name: str
    code: Code | None = None
    description: str = ""


@dataclass(frozen=True)
class Calibration:
    """Softmax temperature and decision thresholds, chosen on validation data."""

    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AnomalySpec:
    """Feature distance beyond which an image is unlike the training data; `file` holds mean and covariance only."""

    file: str
    sha256: str
    method: Literal["mahalanobis"] = "mahalanobis"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        _check_plain_file_name(self.file)


@dataclass(frozen=True)
class FramingSpec:
    """How what is classified (a volume, a region, a structure) becomes the network's input of `patch` voxels.

    ``spacing``: a box of `patch` voxels of `spacing_mm` around its centre, whatever its size. ``resize``: its box
    stretched onto the patch. ``proportional``: the largest central part of its box with the patch's proportions,
    scaled. Boxes of structures are first widened by `margin`, a part of their size, on every side. `mirror` (k, j, i):
    axes over whose mirrored copies the prediction is averaged.
    """

    method: Literal["spacing", "resize", "proportional"] = "spacing"
    margin: float = 0.0
    mirror: tuple[bool, bool, bool] = (False, False, False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.margin <= 10.0:
            raise ConfigError(f"framing.margin is {self.margin}.", "Give a number from 0 to 10.")


@dataclass(frozen=True)
class CascadeStage:
    """One stage of a cascade: the package that finds the region for the next stage."""

    model: str
    labels: tuple[str, ...] = ()
    margin_mm: float = 10.0


@dataclass(frozen=True)
class TrainingData:
    """One data set that a model was trained on: name, SPDX licence, citation, number of cases."""

    name: str
    licence: str
    citation: str
    cases: int


@dataclass(frozen=True)
class Training:
    """Where the weights come from: data, validation figures, and how the training was run."""

    data: tuple[TrainingData, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """The whole of model.json. `spacing_mm` and `patch` have the axes (k, j, i); 2D models have a patch of k = 1."""

    format: int
    id: str
    version: str
    title: str
    task: Task
    network: NetworkSpec
    weights: tuple[WeightFile, ...]
    inputs: tuple[InputSpec, ...]
    licence: str
    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    orientation: str = "RAS"
    crop: Literal["none", "nonzero", "body"] = "none"
    description: str = ""
    labels: tuple[Label, ...] = ()
    classes: tuple[ClassSpec, ...] = ()
    calibration: Calibration | None = None
    anomaly: AnomalySpec | None = None
    framing: FramingSpec | None = None
    stages: tuple[CascadeStage, ...] = ()
    postprocessing: tuple[PostprocessingStep, ...] = ()
    totals: tuple[TotalSpec, ...] = ()
    quality: QualitySpec | None = None
    plausibility: PlausibilitySpec | None = None
    training: Training = Training()
    citation: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.format != 1:
            raise ConfigError(f"format is {self.format}.", "This version reads format 1: update MedAI.")
        if not _ID.fullmatch(self.id):
            raise ConfigError(
                f"id is '{self.id}'.", "Use up to 64 of a-z, 0-9, '.', '_', '-', starting with a-z or 0-9."
            )
        if self.orientation != "RAS":
            raise ConfigError(f"orientation is '{self.orientation}'.", "Format 1 knows only 'RAS'.")
        if min(self.spacing_mm) <= 0 or min(self.patch) < 1:
            raise ConfigError(f"spacing_mm {self.spacing_mm} or patch {self.patch} is not positive.", "Correct it.")
        if not self.weights or not self.inputs:
            raise ConfigError("weights or inputs is empty.", "A package has at least one of each.")
        if self.task == "segment" and not self.labels:
            raise ConfigError("labels is empty.", "A segmentation model names its labels.")
        if self.task == "classify" and len(self.classes) < 2:
            raise ConfigError("classes has fewer than two entries.", "A classification model names its classes.")
        names = self.label_scheme().names  # doubled values or names are refused here
        totals = [total.name for total in self.totals]
        for step in self.postprocessing:
            check_names(f"postprocessing step '{step.step}'", step.labels, names)
        for total in self.totals:
            check_names(f"total '{total.name}'", total.labels, names)
        if len({*names, *totals}) < len(names) + len(totals):
            raise ConfigError(f"The totals {totals} have names twice, or those of labels.", "Give each its own name.")
        if self.plausibility is not None:
            check_names("plausibility", self.plausibility.volumes_ml, (*names, *totals))

    def label_scheme(self) -> LabelScheme:
        """The labels as the values and names of the label map that the model makes."""
        return LabelScheme(self.labels)


def load_card(path: Path) -> ModelCard:
    """Read and check the model.json at `path` (the file, or the folder that holds it). Raises ConfigError."""
    path = Path(path)
    file = path / CARD_NAME if path.is_dir() else path
    return from_json(ModelCard, read_json(file), f"{file}:")


def _check_plain_file_name(name: str) -> None:
    # A package is data from somewhere: a name with a folder in it could reach outside of the package.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"'{name}' is not a plain file name.", "Files lie beside model.json, without folders.")
