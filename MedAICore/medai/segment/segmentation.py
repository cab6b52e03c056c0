"""One case through one model: from images as they came to labels on their grid."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medai.config.model_card import ModelCard
from medai.config.segment import SegmentConfig
from medai.errors import ModelError, OutOfMemoryError, is_out_of_memory
from medai.image import Array, Image
from medai.labels import LabelScheme
from medai.machine import system_memory_mb
from medai.memory import estimate_mb
from medai.preprocessing import LabelWriter, Prepared
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress
from medai.segment import unusual
from medai.segment.channels import check_not_constant, combine_channels
from medai.segment.coarse_search import search, worthwhile
from medai.segment.loading import LoadedModel
from medai.segment.map_files import MapPlace, MapSet
from medai.segment.postprocessing import clear_outside, context_box, keep_largest_components

if TYPE_CHECKING:
    import torch

    from medai.inference.anomaly import Anomaly
    from medai.inference.degradation import Attempt

_log = logging.getLogger(__name__)

EXACT_OVERLAP = 0.5
# The same: with the shipped hippocampus model on a head the Dice of `fast` against `exact` was 0.90 at an overlap of
# 0.4 and 0.77 at 0.25, since instance norms see other tiles. What `fast` saves is half precision and the coarse search.
FAST_OVERLAP = 0.5
# What the network sees around an ROI, as a part of its patch.
_ROI_CONTEXT = 0.25


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """Labels on the grid of the first image, uint8 or uint16, with the model's values; how they came about.

    `probabilities` (label value, map) and `entropy` are there where `SegmentConfig.outputs` asked for them: float32
    (1, k, j, i) from 0 to 1 on the same grid, memory-mapped files. A label's map is its share of the softmax over all
    classes; the entropy of these shares is divided by the logarithm of the number of classes (0: certain). `anomaly`:
    how unlike the training data the image is, None where the model cannot tell.
    """

    label_map: Image
    scheme: LabelScheme
    seconds: dict[str, float]
    peak_memory_mb: float | None
    engine: str
    precision: str
    warnings: tuple[str, ...]
    probabilities: tuple[tuple[int, Image], ...] = ()
    entropy: Image | None = None
    anomaly: Anomaly | None = None


@dataclass(frozen=True, eq=False)
class _Inference:
    labels: Array
    engine: str
    warnings: list[str]


def run(
    config: SegmentConfig,
    images: Sequence[Image],
    model: LoadedModel,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
    map_place: MapPlace | None = None,
) -> SegmentResult:
    """Segment one case. `images` are its channels in the model's order; other grids than the first's are resampled.

    `map_place` is where the maps that `SegmentConfig.outputs` asks for are written (default: unnamed temporary files).
    Raises InputError, GeometryError, ModelError, OutOfMemoryError, OutputError (no space for the maps), and Cancelled
    within a second of the request (on a CPU: after the layer that is being computed).
    """
    from medai.inference.peak_memory import PeakMemory

    scheme = model.card.label_scheme()
    if config.labels:
        scheme = scheme.subset(config.labels)
    peak = PeakMemory()
    started_s = time.perf_counter()
    stage = Stage(progress, "Preparing", 0.0, 0.05)
    image, warnings = combine_channels(images, model.card)
    check_not_constant(image)
    check_cancelled(cancelled)
    stage(0.3)
    region = None if config.roi is None else context_box(config.roi, image, _context_mm(model))
    prepared = model.preprocessing.apply(image, region, cancelled)
    check_cancelled(cancelled)
    prepared_s = time.perf_counter()

    found, begin = None, 0.05
    if worthwhile(config, prepared.record.shape, model, scheme.values, FAST_OVERLAP):
        begin = 0.2
        looking = Stage(progress, "Searching", 0.05, begin)
        found = search(config, image, model, prepared.record, scheme.values, FAST_OVERLAP, looking, cancelled)
    maps = _new_maps(config, scheme, image, map_place or MapPlace())
    try:
        part = prepared if found is None else prepared.only(found.box)
        stage = Stage(progress, "Segmenting", begin, 0.95 if found is None else 0.6)
        inference = _infer(config, part, scheme, model, maps, stage, cancelled)
        if found is not None and not found.confirmed_by(inference.labels):
            stage = Stage(progress, "Segmenting", 0.6, 0.95)
            inference = _infer(config, prepared, scheme, model, maps, stage, cancelled)
        check_cancelled(cancelled)
    except BaseException:
        maps.remove()
        raise
    inferred_s = time.perf_counter()
    anomaly = unusual.judge(model, prepared.array)

    stage = Stage(progress, "Finishing", 0.95, 1.0)
    labels = inference.labels
    if config.roi is not None:
        for array in (labels, *maps.arrays()):
            clear_outside(array, config.roi, image)
        maps.let_go()
    if config.keep_largest:
        keep_largest_components(labels)
    if not labels.any():
        inference.warnings.append(_nothing_found(config, model))
    stage(1.0)
    seconds = {
        "load_model": 0.0,
        "preprocess": prepared_s - started_s,
        "inference": inferred_s - prepared_s,
        "postprocess": time.perf_counter() - inferred_s,
    }
    label_map = Image(labels[None], images[0].ijk_to_ras, images[0].name)
    notes = tuple(warnings + inference.warnings + unusual.warning(model, anomaly))
    probabilities, entropy = maps.images(images[0].ijk_to_ras, images[0].name)
    return SegmentResult(
        label_map, scheme, seconds, peak.mb, inference.engine, config.precision, notes, probabilities, entropy, anomaly
    )


def _new_maps(config: SegmentConfig, scheme: LabelScheme, image: Image, place: MapPlace) -> MapSet:
    values = scheme.values if "probabilities" in config.outputs else ()
    return MapSet.create(place, image.shape, tuple(values), "entropy" in config.outputs)


def _infer(
    config: SegmentConfig,
    prepared: Prepared,
    scheme: LabelScheme,
    model: LoadedModel,
    maps: MapSet,
    stage: Stage,
    cancelled: CancelCheck,
) -> _Inference:
    """Labels on the input grid; falls back step by step where memory or half precision does not suffice."""
    from medai.inference.degradation import Attempt, attempts
    from medai.inference.device import half_precision

    dtype = half_precision(model.device) if config.precision == "fast" else None
    warnings: list[str] = []
    pending = list(attempts(Attempt(model.card.patch, dtype, model.device), model.divisor))
    while len(pending) > 1 and not _fits(pending[0], prepared, model.card):
        pending.pop(0)
    while pending:
        attempt = pending.pop(0)
        if attempt.change:
            warnings.append(f"Not enough memory: went on with {attempt.change}.")
            _log.warning(warnings[-1])
            _free_memory()
        try:
            labels, engine = _attempt(attempt, config, prepared, scheme, model, maps, stage, cancelled)
            return _Inference(labels, engine, warnings)
        except _NotFiniteError as error:
            if attempt.dtype is None:
                raise ModelError(
                    f"The network of model '{model.card.id}' gave values that are not finite.",
                    "The model is damaged, or the image is very unlike its training data.",
                ) from error
            warnings.append("Half precision overflowed: went on with 32-bit arithmetic.")
            pending = list(attempts(Attempt(attempt.patch, None, attempt.device), model.divisor))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("out of memory with %s", attempt)
    raise OutOfMemoryError(
        f"Segmenting {prepared.record.shape[::-1]} voxels with model '{model.card.id}' does not fit into memory, not "
        "even with the smallest tiles.",
        "Close other programs, give a region of interest, or use another computer.",
    )


def _fits(attempt: Attempt, prepared: Prepared, card: ModelCard) -> bool:
    """Whether the memory that programs can still get is enough; where the system overcommits, no error would tell."""
    available_mb = system_memory_mb()[1]
    if attempt.device.type != "cpu" or available_mb is None:
        return True
    record = prepared.record
    spacing_mm = Image(prepared.array[:1], record.ijk_to_ras).spacing_mm
    source_mm = tuple(s * n / b for s, n, b in zip(spacing_mm, record.shape, record.box_shape, strict=True))
    return estimate_mb(replace(card, patch=attempt.patch), record.box_shape, source_mm) <= available_mb


class _NotFiniteError(Exception):
    """The logits hold NaN or infinite values."""


def _attempt(
    attempt: Attempt,
    config: SegmentConfig,
    prepared: Prepared,
    scheme: LabelScheme,
    model: LoadedModel,
    maps: MapSet,
    stage: Stage,
    cancelled: CancelCheck,
) -> tuple[Array, str]:
    from medai.inference.sliding_window import SlidingWindow
    from medai.segment.engines import make_predictor

    overlap = EXACT_OVERLAP if config.precision == "exact" else FAST_OVERLAP
    predictor = make_predictor(attempt, config, model, prepared.array.shape[1:], overlap)
    window = SlidingWindow(predictor, attempt.patch, overlap, relative=True)
    axis = window.axis(prepared.array.shape[1:])
    kept = set(scheme.values)
    values = (0, *(value if value in kept else 0 for value in model.card.label_scheme().values))
    # The type follows from all of the model's labels, so that a subset of them gives the same kind of file.
    largest = max(model.card.label_scheme().values)
    calibration = model.card.calibration
    # Every attempt writes all voxels of the kept part again: what a failed one left is gone.
    targets = maps.targets(values, 1.0 if calibration is None else calibration.temperature) if maps.arrays() else None
    writer = LabelWriter(prepared.record, values, axis, largest, cancelled, targets, prepared.part)

    def check(planes: torch.Tensor) -> None:
        if planes.shape[0] != len(values):
            raise ModelError(
                f"The network of model '{model.card.id}' gives {planes.shape[0]} classes; its card lists "
                f"{len(values) - 1} labels and the background.",
                "The package is damaged.",
            )
        if not bool(planes.sum().isfinite()):
            raise _NotFiniteError

    def take(planes: torch.Tensor) -> None:
        check(planes)
        writer.add(planes)

    def take_part(part: torch.Tensor, plane: int, row: int) -> None:
        check(part)
        writer.add_part(part, plane, row)

    if writer.takes_parts:
        window.stream_blocks(prepared.array, take_part, axis, stage, cancelled)
    else:
        window.stream(prepared.array, take, axis, stage, cancelled)
    return writer.labels, predictor.engine


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _context_mm(model: LoadedModel) -> float:
    patch_mm = np.array(model.card.patch) * np.array(model.card.spacing_mm)
    return float(_ROI_CONTEXT * patch_mm.max())


def _nothing_found(config: SegmentConfig, model: LoadedModel) -> str:
    where = " inside the region of interest" if config.roi is not None else ""
    inputs = ", ".join(f"{spec.name} {spec.modality}".strip() for spec in model.card.inputs)
    return f"The model found nothing{where}. Check that the image shows what the model was made for ({inputs})."
