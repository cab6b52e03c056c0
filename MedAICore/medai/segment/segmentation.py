"""One case through one model: from images as they came to labels on their grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medai.config.model_card import ModelCard
from medai.config.segment import SegmentConfig
from medai.image import Array, Image
from medai.label_statistics import LabelExtent, label_extents
from medai.labels import LabelScheme
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress
from medai.segment import unusual
from medai.segment.attempts import FAST_OVERLAP, infer
from medai.segment.channels import check_not_constant, combine_channels
from medai.segment.coarse_search import search, worthwhile
from medai.segment.components import postprocess
from medai.segment.loading import LoadedModel
from medai.segment.map_files import MapPlace, MapSet
from medai.segment.postprocessing import clear_outside, context_box, keep_largest_components
from medai.segment.volumes import StructureVolume, structure_volumes

if TYPE_CHECKING:
    from medai.inference.anomaly import Anomaly

# What the network sees around an ROI, as a part of its patch.
_ROI_CONTEXT = 0.25


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """Labels on the grid of the first image, uint8 or uint16, with the model's values; how they came about.

    `probabilities` (label value, map) and `entropy` are there where `SegmentConfig.outputs` asked for them: float32
    (1, k, j, i) from 0 to 1 on the same grid, memory-mapped files. A label's map is its share of the softmax over all
    classes; the entropy of these shares is divided by the logarithm of the number of classes (0: certain). `anomaly`:
    how unlike the training data the image is, None where the model cannot tell. `volumes` has a row for each label and
    for each total of the card, `extents` the voxel count and box of each label that was found. `unlike`: the image, or
    what was found in it, is not what the model was made for; the warnings say why.
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
    volumes: tuple[StructureVolume, ...] = ()
    extents: dict[int, LabelExtent] = field(default_factory=dict)
    unlike: bool = False


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
        inference = infer(config, part, scheme, model, maps, stage, cancelled)
        if found is not None and not found.confirmed_by(inference.labels):
            stage = Stage(progress, "Segmenting", 0.6, 0.95)
            inference = infer(config, prepared, scheme, model, maps, stage, cancelled)
        check_cancelled(cancelled)
    except BaseException:
        maps.remove()
        raise
    inferred_s = time.perf_counter()
    anomaly = unusual.judge(model, prepared.array)

    labels = inference.labels
    _finish(config, labels, maps, image, scheme, model.card, progress, cancelled)
    if not labels.any():
        inference.warnings.append(_nothing_found(config, model))
    label_map = Image(labels[None], images[0].ijk_to_ras, images[0].name)
    extents = label_extents(labels)
    volumes = structure_volumes(
        model.card, scheme, extents, label_map.voxel_volume_ml, inference.certainty, config.roi is None
    )
    seconds = {
        "load_model": 0.0,
        "preprocess": prepared_s - started_s,
        "inference": inferred_s - prepared_s,
        "postprocess": time.perf_counter() - inferred_s,
    }
    about = unusual.warning(model, anomaly) + unusual.volume_warnings(model.card, volumes)
    probabilities, entropy = maps.images(images[0].ijk_to_ras, images[0].name)
    return SegmentResult(
        label_map,
        scheme,
        seconds,
        peak.mb,
        inference.engine,
        config.precision,
        tuple(warnings + inference.warnings + about),
        probabilities,
        entropy,
        anomaly,
        volumes,
        extents,
        (anomaly is not None and anomaly.flag) or unusual.unusual_volumes(model.card, volumes),
    )


def _finish(
    config: SegmentConfig,
    labels: Array,
    maps: MapSet,
    image: Image,
    scheme: LabelScheme,
    card: ModelCard,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> None:
    """All that is done to labels and maps, in place, after the network; the maps' files are gone where it fails."""
    stage = Stage(progress, "Finishing", 0.95, 1.0)
    try:
        if config.roi is not None:
            for array in (labels, *maps.arrays()):
                clear_outside(array, config.roi, image)
            maps.let_go()
        if config.postprocessing and card.postprocessing:
            k, j, i = image.spacing_mm
            postprocess(labels, card.postprocessing, card.label_scheme(), scheme, (k, j, i), stage, cancelled)
        if config.keep_largest:
            keep_largest_components(labels)
    except BaseException:
        maps.remove()
        raise
    stage(1.0)


def _new_maps(config: SegmentConfig, scheme: LabelScheme, image: Image, place: MapPlace) -> MapSet:
    values = scheme.values if "probabilities" in config.outputs else ()
    return MapSet.create(place, image.shape, tuple(values), "entropy" in config.outputs)


def _context_mm(model: LoadedModel) -> float:
    patch_mm = np.array(model.card.patch) * np.array(model.card.spacing_mm)
    return float(_ROI_CONTEXT * patch_mm.max())


def _nothing_found(config: SegmentConfig, model: LoadedModel) -> str:
    where = " inside the region of interest" if config.roi is not None else ""
    inputs = ", ".join(f"{spec.name} {spec.modality}".strip() for spec in model.card.inputs)
    return f"The model found nothing{where}. Check that the image shows what the model was made for ({inputs})."
