"""What a training is asked to do (`TrainConfig`), and what was derived from the data for it (`Plan`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from medai.config.label_rules import PlausibilitySpec, PostprocessingStep, QualitySpec, TotalSpec
from medai.config.model_card import ClassSpec, FramingSpec, InputSpec, LabelSpec, NetworkSpec, TrainingData
from medai.errors import ConfigError

ClassWeights = Literal["none", "balanced"]
ThresholdRule = Literal["balanced", "specific", "accuracy"]
LossName = Literal["dice_ce", "ce", "dice", "focal", "tversky"]
BlocksName = Literal["plain", "residual", "separable", "dynamic", "multiscale_attention"]
NormalizationName = Literal["zscore", "percentile", "ct_window", "minmax", "none"]
FOLDS_OF_BEST = 5


@dataclass(frozen=True)
class TrainConfig:
    """Options of one training run; every hyper-parameter that is None is taken from the plan or the preset.

    `folds` of 0 leaves the number to the preset: five for ``best`` segmentation, whose package is their ensemble, else
    one. An epoch is a pass over the training cases: as many patches as there are cases. `spacing_mm`, `crop` and
    `normalization` are of the preprocessing, so they must be those of a cache that was prepared before.
    `rotation_degrees` is the largest angle of the augmentation about any axis, 0 for no rotation; `augmentation` holds
    fields of `medai.augmentation.AugmentationSettings` and goes before it. `depth` is the number of the network's
    stages, `width` its channels at full resolution. `finetune_from` is the id or the path of a model package whose
    weights the training starts from ("" for none), `freeze_encoder` keeps its encoder as it is. `gpus` counts the
    processes that train together on this machine: each takes `batch_size` patches a step.
    """

    dataset: str
    output: str
    task: Literal["segmentation", "classification"] = "segmentation"
    preset: Literal["quick", "standard", "best"] = "standard"
    run_folder: str = ""
    model_id: str = ""
    title: str = ""
    licence: str = ""
    device: str = "auto"
    seed: int = 0
    folds: int = 0
    fold: int = 0
    validation_fraction: float = 0.2
    max_minutes: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    network: str | None = None
    width: int | None = None
    patch: tuple[int, int, int] | None = None
    checkpoint_minutes: float = 3.0
    resume: bool = False
    description: str = ""
    """Path of a JSON file with a `ModelDescription`; "" for none."""
    epochs: float | None = None
    label_smoothing: float | None = None
    class_weights: ClassWeights | None = None
    early_stopping: int | None = None
    threshold: ThresholdRule | None = None
    loss: LossName | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    normalization: NormalizationName | None = None
    spacing_mm: tuple[float, float, float] | None = None
    crop: Literal["none", "nonzero", "body"] | None = None
    rotation_degrees: float | None = None
    augmentation: dict[str, Any] = field(default_factory=dict)
    foreground_fraction: float | None = None
    depth: int | None = None
    blocks: BlocksName | None = None
    fusion: Literal["early", "attention"] | None = None
    finetune_from: str = ""
    freeze_encoder: bool = False
    gpus: int = 1

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming the option that cannot be trained with."""
        if not 0.0 < self.validation_fraction < 1.0:
            raise ConfigError(f"validation_fraction is {self.validation_fraction}.", "Give a part between 0 and 1.")
        for name in ("checkpoint_minutes", "max_minutes", "steps", "batch_size", "learning_rate", "width", "epochs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}.", "Give a number above 0.")
        if self.folds == 0:
            ensemble = self.preset == "best" and self.task == "segmentation"
            object.__setattr__(self, "folds", FOLDS_OF_BEST if ensemble else 1)
        self._check_method()
        if self.folds < 1 or not 0 <= self.fold < self.folds:
            raise ConfigError(f"fold {self.fold} of {self.folds} folds.", "Give folds >= 1 and fold in 0..folds-1.")

    def _check_method(self) -> None:
        """Check how is trained: what is taken out of the images, the network, and where its weights come from."""
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise ConfigError(f"spacing_mm is {list(self.spacing_mm)}.", "Give three numbers above 0, in k, j, i.")
        if self.patch is not None and min(self.patch) < 1:
            raise ConfigError(f"patch is {list(self.patch)}.", "Give three whole numbers from 1 up, in k, j, i.")
        if self.rotation_degrees is not None and not 0.0 <= self.rotation_degrees <= 180.0:
            raise ConfigError(f"rotation_degrees is {self.rotation_degrees}.", "Give degrees from 0 to 180.")
        for name in ("momentum", "foreground_fraction"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < 1.0:
                raise ConfigError(f"{name} is {value}.", "Give a number from 0 to below 1.")
        if self.weight_decay is not None and self.weight_decay < 0:
            raise ConfigError(f"weight_decay is {self.weight_decay}.", "Give a number from 0 up.")
        if self.depth is not None and not 2 <= self.depth <= 8:
            raise ConfigError(f"depth is {self.depth}.", "Give 2 to 8 stages.")
        if self.freeze_encoder and not self.finetune_from:
            raise ConfigError(
                "freeze_encoder keeps an encoder that was never trained.", "Name a model with finetune_from."
            )
        if self.gpus < 1:
            raise ConfigError(f"gpus is {self.gpus}.", "Give 1 or more.")
        if self.task == "classification" and self.gpus > 1:
            raise ConfigError(f"gpus is {self.gpus} for a classifier.", "Several GPUs train segmentation only.")
        if self.task == "classification":
            self._check_classification()

    def _check_classification(self) -> None:
        for name in ("blocks", "fusion", "depth", "width", "crop", "foreground_fraction"):
            if getattr(self, name) is not None:
                raise ConfigError(f"{name} is of segmentation.", "Leave it out; choose a classifier with network.")
        if self.loss not in (None, "ce"):
            raise ConfigError(f"loss is '{self.loss}'.", "Classifiers are trained with cross entropy (ce).")


@dataclass(frozen=True)
class PreprocessingChoices:
    """What a person wants otherwise than the data set suggests; None leaves it to the data. Spacing is (k, j, i)."""

    spacing_mm: tuple[float, float, float] | None = None
    crop: Literal["none", "nonzero", "body"] | None = None
    normalization: NormalizationName | None = None


@dataclass(frozen=True)
class PlanSummary:
    """What a run of a `TrainConfig` would do on this device, for a person to look at and to change.

    `spacing_mm`, `patch`, `crop`, `normalization`, `depth`, `width`, `batch_size`, `network`, `blocks`, `fusion`,
    `loss`, `optimizer`, `learning_rate`, `steps` and `folds` are values of the fields of `TrainConfig` with the same
    names. The time is of all folds, validation included; it and the memory come from timed steps on small patches.
    """

    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    crop: Literal["none", "nonzero", "body"]
    normalization: tuple[str, ...]
    """One for each input."""
    depth: int
    width: int
    batch_size: int
    network: str
    blocks: str
    fusion: str
    loss: str
    optimizer: str
    learning_rate: float
    steps: int
    folds: int
    parameters: int
    expected_memory_mb: float
    expected_minutes: float
    seconds_per_step: float
    device: str
    cases: int
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    preset_minutes: dict[str, float] = field(default_factory=dict)
    """What each preset would take with this plan's network, in minutes."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassificationRecipe:
    """How a classifier is trained, where that is not left to the defaults of its kind of data.

    `augmentation` holds fields of `medai.augmentation.AugmentationSettings`; `positive` is the class that a two-class
    model looks for ("": the last one), `threshold` the rule for the probability from which it is named.
    """

    network: NetworkSpec | None = None
    patch: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    framing: FramingSpec | None = None
    epochs: float | None = None
    batch_size: int | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    mixup: float = 0.0
    class_weights: ClassWeights = "none"
    ema_decay: float = 0.99
    early_stopping: int = 0
    positive: str = ""
    threshold: ThresholdRule = "balanced"
    augmentation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelDescription:
    """What a person knows about a model and the data set's files do not say; what is left out is taken from them.

    `labels` gives the label values their names, colours and codes, `inputs` the channels theirs, `data` names the
    source. `postprocessing`, `totals`, `quality` and `plausibility` go into the card of a segmenting model as they are.
    """

    id: str = ""
    version: str = "1.0.0"
    title: str = ""
    description: str = ""
    labels: tuple[LabelSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    licence: str = ""
    citation: tuple[str, ...] = ()
    data: tuple[TrainingData, ...] = ()
    classes: tuple[ClassSpec, ...] = ()
    recipe: ClassificationRecipe | None = None
    postprocessing: tuple[PostprocessingStep, ...] = ()
    totals: tuple[TotalSpec, ...] = ()
    quality: QualitySpec | None = None
    plausibility: PlausibilitySpec | None = None


@dataclass(frozen=True)
class Plan:
    """What the data set asks for. `spacing_mm` and `patch` have the axes (k, j, i)."""

    inputs: tuple[InputSpec, ...]
    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    batch_size: int
    network: NetworkSpec
    crop: Literal["none", "nonzero", "body"] = "none"
    expected_memory_mb: float = 0.0
    notes: tuple[str, ...] = field(default_factory=tuple)
    extra: dict[str, Any] = field(default_factory=dict)
