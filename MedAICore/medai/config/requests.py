"""What the worker can be asked to do: arguments and values of its operations (docs/protocol.md) as dataclasses.

Standard library and numpy only: both sides of the pipe import it. `medai.config.messages` makes lines of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from medai.config.classify import ClassifyConfig
from medai.config.segment import SegmentConfig
from medai.config.validation import from_json
from medai.errors import ConfigError
from medai.image import Roi
from medai.labels import Label

Operation = Literal[
    "device.info",
    "models.list",
    "segment",
    "click.open",
    "click.prompt",
    "click.undo",
    "click.redo",
    "click.reset",
    "click.close",
    "classify",
    "evaluate",
]
OPERATIONS: tuple[str, ...] = get_args(Operation)
DType = Literal[
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"
]
Matrix = tuple[
    float, float, float, float, float, float, float, float, float, float, float, float, float, float, float, float
]
Point = tuple[float, float, float]
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ArrayRef:
    """An image in the session folder: raw little-endian C-order voxels (c, k, j, i); row-major `ijk_to_ras`, RAS mm."""

    file: str
    dtype: DType
    shape: tuple[int, int, int, int]
    ijk_to_ras: Matrix
    name: str = ""
    modality: str = ""

    def __post_init__(self) -> None:
        # A name with a folder in it could reach outside of the session folder.
        if not _PLAIN_NAME.fullmatch(self.file):
            raise ConfigError(f"'{self.file}' is not a plain file name.", "Array files lie in the session folder.")
        if min(self.shape) < 1:
            raise ConfigError(f"'{self.file}' has the shape {list(self.shape)}.", "Every axis needs one voxel or more.")

    @property
    def itemsize(self) -> int:
        """Bytes of one voxel."""
        return int(re.sub(r"\D", "", self.dtype)) // 8

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return math.prod(self.shape) * self.itemsize


@dataclass(frozen=True)
class Device:
    """Something that computes. `id` is what a request names (cpu, cuda:0, mps); memory in MiB, None where unknown."""

    id: str
    kind: Literal["cpu", "cuda", "mps", "xpu"]
    name: str
    total_mb: float | None = None
    free_mb: float | None = None


@dataclass(frozen=True)
class WarmModel:
    """A model that the worker has loaded."""

    id: str
    version: str
    device: str
    memory_mb: float


@dataclass(frozen=True)
class WorkerInfo:
    """The worker's process: its memory, and what it may keep in loaded models, in MiB."""

    pid: int
    memory_mb: float | None
    model_budget_mb: float
    python: str
    torch: str | None = None


@dataclass(frozen=True)
class ModelEntry:
    """One installed model package."""

    id: str
    version: str
    title: str
    task: Literal["segment", "click", "classify"]
    location: str
    shipped: bool = False


@dataclass(frozen=True)
class Prompt:
    """One hint of a person, RAS world mm: `point` (one point), `box` (`roi`), `scribble` (line), `lasso` (polygon)."""

    kind: Literal["point", "box", "scribble", "lasso"]
    positive: bool = True
    points_ras: tuple[Point, ...] = ()
    roi: Roi | None = None
    radius_mm: float = 0.0

    def __post_init__(self) -> None:
        fewest = {"point": 1, "box": 0, "scribble": 1, "lasso": 3}[self.kind]
        if len(self.points_ras) < fewest or (self.kind == "point" and len(self.points_ras) > 1):
            raise ConfigError(
                f"A {self.kind} prompt has {len(self.points_ras)} points.", f"It needs {fewest} point(s) in RAS mm."
            )
        if (self.kind == "box") != (self.roi is not None):
            raise ConfigError(f"A {self.kind} prompt, and roi is {self.roi}.", "Only a box prompt has a roi.")


@dataclass(frozen=True)
class AnomalyFound:
    """How unlike the training data an item is: `flag` where the distance `score` is beyond the `threshold`."""

    score: float
    threshold: float
    flag: bool


@dataclass(frozen=True)
class Classified:
    """What one item is: the volume, an ROI, or a label (`value`). `probabilities` by class name sum to 1.

    `anomaly` is None where the model knows nothing about the features of its training data.
    """

    name: str
    probabilities: dict[str, float]
    predicted: str
    value: int | None = None
    anomaly: AnomalyFound | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoArgs:
    """Arguments, or value, of an operation that has none."""


@dataclass(frozen=True)
class DeviceInfo:
    """Value of device.info."""

    devices: tuple[Device, ...]
    worker: WorkerInfo
    models: tuple[WarmModel, ...] = ()
    ops: tuple[Operation, ...] = ()


@dataclass(frozen=True)
class ModelsList:
    """Value of models.list."""

    models: tuple[ModelEntry, ...]


@dataclass(frozen=True)
class SegmentArgs:
    """Arguments of segment. `images` are the channels' images in the model's order, on one grid."""

    model: str
    images: tuple[ArrayRef, ...]
    config: SegmentConfig = field(default_factory=SegmentConfig)

    def __post_init__(self) -> None:
        if not self.images:
            raise ConfigError("images is empty.", "Give one image per input channel of the model.")


@dataclass(frozen=True)
class LabelFound:
    """Size, place and intensity of one label in a result.

    `box` is [k0, k1, j0, j1, i0, i1], ends excluded, in the index of the label map; None where the label is empty, as
    are the intensities (of the first channel, in its own units). `quality`: the Dice coefficient to expect, where the
    model tells; `usual_ml`: the lowest and highest volume in images that the model was made for, where that is known.
    """

    value: int
    name: str
    voxels: int
    volume_ml: float
    mean: float | None = None
    standard_deviation: float | None = None
    box: tuple[int, int, int, int, int, int] | None = None
    quality: float | None = None
    usual_ml: tuple[float, float] | None = None


@dataclass(frozen=True)
class TotalFound:
    """A sum of labels that the model's card names, as the intracranial volume."""

    name: str
    voxels: int
    volume_ml: float
    usual_ml: tuple[float, float] | None = None


@dataclass(frozen=True)
class ProbabilityMap:
    """Where the network sees the label of this `value`: float32, 0 to 1, on the grid of the label map."""

    value: int
    array: ArrayRef


@dataclass(frozen=True)
class SegmentValue:
    """Value of segment. `label_map` lies on the grid of the first image; `labels` are what its values mean.

    `statistics` has one entry for each of `labels`, so that Slicer's main thread need not count voxels.
    `probabilities` and `entropy` (float32, 0: certain, 1: all classes alike) are there where `SegmentConfig.outputs`
    asked for them. `totals` are sums of labels that the model's card names. `unlike`: the image, or what was found in
    it, is not what the model was made for; the warnings say why.
    """

    label_map: ArrayRef
    labels: tuple[Label, ...]
    model: WarmModel
    seconds: dict[str, float]
    peak_memory_mb: float | None
    engine: str
    precision: str
    statistics: tuple[LabelFound, ...] = ()
    warnings: tuple[str, ...] = ()
    probabilities: tuple[ProbabilityMap, ...] = ()
    entropy: ArrayRef | None = None
    totals: tuple[TotalFound, ...] = ()
    unlike: bool = False


@dataclass(frozen=True)
class ClickOpenArgs:
    """Arguments of click.open: one image; an empty `model` is the best that is there, grow-cut where none is.

    `mask` is an existing segment to start from (not 0: inside; a part of the image's grid is enough); `prompts`
    replays, after that, a session that was lost with its worker.
    """

    model: str
    images: tuple[ArrayRef, ...]
    device: str = "auto"
    prompts: tuple[Prompt, ...] = ()
    mask: ArrayRef | None = None

    def __post_init__(self) -> None:
        if len(self.images) != 1:
            raise ConfigError(f"images has {len(self.images)} entries.", "A click session works on one image.")


@dataclass(frozen=True)
class ClickUpdate:
    """Value of click.prompt, undo, redo and reset: the changed part; `box` is (k0, k1, j0, j1, i0, i1), ends excluded.

    `label_map` (uint8, 0 or 1) has the voxels of that box alone, and its own `ijk_to_ras`.
    """

    label_map: ArrayRef
    box: tuple[int, int, int, int, int, int]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClickOpened:
    """Value of click.open: the session's name for the following requests, and what computes.

    `update` is there where prompts were replayed or a mask was given: the box that holds the whole mask.
    """

    click: str
    engine: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    update: ClickUpdate | None = None


@dataclass(frozen=True)
class ClickPromptArgs:
    """Arguments of click.prompt."""

    click: str
    prompt: Prompt


@dataclass(frozen=True)
class ClickArgs:
    """Arguments of click.undo, click.redo and click.close."""

    click: str


@dataclass(frozen=True)
class ClickResetArgs:
    """Arguments of click.reset: an empty mask, or `mask` to start from, as in click.open."""

    click: str
    mask: ArrayRef | None = None


@dataclass(frozen=True)
class ClassifyArgs:
    """Arguments of classify: the whole volume, each of `rois`, or each label of `label_map`, with one model load.

    `images` are the model's image channels; a model that looks at masks alone needs none beside a label map. `labels`
    names those labels of the map that are to be classified (empty: all, named by their values).
    """

    model: str
    images: tuple[ArrayRef, ...] = ()
    rois: tuple[Roi, ...] = ()
    label_map: ArrayRef | None = None
    labels: tuple[Label, ...] = ()
    config: ClassifyConfig = field(default_factory=ClassifyConfig)

    def __post_init__(self) -> None:
        if not self.images and self.label_map is None:
            raise ConfigError("images is empty.", "Give one image per image input of the model, or a label map.")
        if self.rois and self.label_map is not None:
            raise ConfigError("Both rois and label_map are given.", "Classify regions or segments, one at a time.")


@dataclass(frozen=True)
class ClassifyValue:
    """Value of classify, items in the order of the request.

    `heat_map` (float32, 0..1, on the grid of the first image; absent where none was asked for) shows what spoke for
    the classes, the maximum over all items. `warnings` has those of the items too.
    """

    items: tuple[Classified, ...]
    model: WarmModel
    heat_map: ArrayRef | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluateArgs:
    """Arguments of evaluate: two label maps on one grid; `labels` names values (as text, JSON keys are texts)."""

    reference: ArrayRef
    prediction: ArrayRef
    labels: dict[str, str] = field(default_factory=dict)
    tolerance_mm: float = 1.0
    case: str = "case"


@dataclass(frozen=True)
class EvaluateValue:
    """Value of evaluate: the JSON object of ``medai evaluate``."""

    report: dict[str, Any]


ARGUMENTS: dict[str, type] = {
    "device.info": NoArgs,
    "models.list": NoArgs,
    "segment": SegmentArgs,
    "click.open": ClickOpenArgs,
    "click.prompt": ClickPromptArgs,
    "click.undo": ClickArgs,
    "click.redo": ClickArgs,
    "click.reset": ClickResetArgs,
    "click.close": ClickArgs,
    "classify": ClassifyArgs,
    "evaluate": EvaluateArgs,
}
VALUES: dict[str, type] = {
    "device.info": DeviceInfo,
    "models.list": ModelsList,
    "segment": SegmentValue,
    "click.open": ClickOpened,
    "click.prompt": ClickUpdate,
    "click.undo": ClickUpdate,
    "click.redo": ClickUpdate,
    "click.reset": ClickUpdate,
    "click.close": NoArgs,
    "classify": ClassifyValue,
    "evaluate": EvaluateValue,
}


def array_refs(data: Any) -> list[ArrayRef]:
    """Every array that a message's arguments or value name (typed or plain data), in order."""
    if isinstance(data, ArrayRef):
        return [data]
    if hasattr(data, "__dataclass_fields__"):
        return [ref for name in data.__dataclass_fields__ for ref in array_refs(getattr(data, name))]
    if isinstance(data, dict):
        if {"file", "dtype", "shape", "ijk_to_ras"} <= data.keys():
            return [from_json(ArrayRef, data)]
        return [ref for value in data.values() for ref in array_refs(value)]
    if isinstance(data, list | tuple):
        return [ref for value in data for ref in array_refs(value)]
    return []
