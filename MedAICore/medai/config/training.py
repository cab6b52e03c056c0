"""What a training is asked to do (`TrainConfig`), and what was derived from the data for it (`Plan`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from medai.config.model_card import ClassSpec, FramingSpec, InputSpec, LabelSpec, NetworkSpec, TrainingData
from medai.errors import ConfigError

ClassWeights = Literal["none", "balanced"]
ThresholdRule = Literal["balanced", "specific", "accuracy"]


@dataclass(frozen=True)
class TrainConfig:
    """Options of one training run; every hyper-parameter that is None is taken from the plan or the preset."""

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
    folds: int = 1
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

    def __post_init__(self) -> None:
        if not 0.0 < self.validation_fraction < 1.0:
            raise ConfigError(f"validation_fraction is {self.validation_fraction}.", "Give a part between 0 and 1.")
        for name in ("checkpoint_minutes", "max_minutes", "steps", "batch_size", "learning_rate", "width", "epochs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}.", "Give a number above 0.")
        if self.folds < 1 or not 0 <= self.fold < self.folds:
            raise ConfigError(f"fold {self.fold} of {self.folds} folds.", "Give folds >= 1 and fold in 0..folds-1.")


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
    source.
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
