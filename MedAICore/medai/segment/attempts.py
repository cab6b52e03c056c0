"""The network's part of a segmentation: labels from a prepared image, step by step with less where memory is short."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medai.config.model_card import ModelCard
from medai.config.segment import SegmentConfig
from medai.errors import ModelError, OutOfMemoryError, is_out_of_memory
from medai.image import Array, Image
from medai.labels import LabelScheme
from medai.machine import system_memory_mb
from medai.memory import estimate_mb
from medai.preprocessing import LabelWriter, Prepared
from medai.progress import CancelCheck, Stage
from medai.segment.loading import LoadedModel
from medai.segment.map_files import MapSet

if TYPE_CHECKING:
    import torch

    from medai.inference.degradation import Attempt

_log = logging.getLogger(__name__)

EXACT_OVERLAP = 0.5
# The same: with the shipped hippocampus model on a head the Dice of `fast` against `exact` was 0.90 at an overlap of
# 0.4 and 0.77 at 0.25, since instance norms see other tiles. What `fast` saves is half precision and the coarse search.
FAST_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Inference:
    """Labels (k, j, i) on the input grid, how they were made, and how sure the network is of each label value."""

    labels: Array
    engine: str
    warnings: list[str]
    certainty: dict[int, float]


def infer(
    config: SegmentConfig,
    prepared: Prepared,
    scheme: LabelScheme,
    model: LoadedModel,
    maps: MapSet,
    stage: Stage,
    cancelled: CancelCheck,
) -> Inference:
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
            labels, engine, certainty = _attempt(attempt, config, prepared, scheme, model, maps, stage, cancelled)
            return Inference(labels, engine, warnings, certainty)
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
) -> tuple[Array, str, dict[int, float]]:
    from medai.inference.sliding_window import SlidingWindow
    from medai.segment.certainty import Certainty
    from medai.segment.engines import make_predictor

    overlap = EXACT_OVERLAP if config.precision == "exact" else FAST_OVERLAP
    predictor = make_predictor(attempt, config, model, prepared.array.shape[1:], overlap)
    window = SlidingWindow(predictor, attempt.patch, overlap, relative=True)
    axis = window.axis(prepared.array.shape[1:])
    kept = set(scheme.values)
    values = (0, *(value if value in kept else 0 for value in model.card.label_scheme().values))
    # The type follows from all of the model's labels, so that a subset of them gives the same kind of file.
    largest = max(model.card.label_scheme().values)
    temperature = 1.0 if model.card.calibration is None else model.card.calibration.temperature
    # Every attempt writes all voxels of the kept part again: what a failed one left is gone.
    targets = maps.targets(values, temperature) if maps.arrays() else None
    certainty = Certainty(values, prepared.array.shape[1:], temperature) if model.card.quality is not None else None
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
        if certainty is not None:
            certainty.add(planes)

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
    return writer.labels, predictor.engine, {} if certainty is None else certainty.by_value()


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
