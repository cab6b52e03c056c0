"""Which engine computes a run: OpenVINO or eager torch, in which arithmetic, mirrored or not."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from medai.config.segment import SegmentConfig
from medai.config.validation import to_json
from medai.inference.device import half_precision
from medai.inference.gated import GatedPredictor
from medai.inference.openvino_engine import (
    WORTHWHILE_FLOPS,
    ConversionError,
    OpenVinoPredictor,
    flops_per_tile,
    is_available,
)
from medai.inference.predictor import MirroredPredictor, Predictor, TorchPredictor
from medai.inference.sliding_window import SlidingWindow
from medai.labels import mirrored_classes
from medai.machine import release_free_memory
from medai.models import user_folder
from medai.segment.loading import LoadedModel

if TYPE_CHECKING:
    from torch import nn

    from medai.inference.degradation import Attempt

_log = logging.getLogger(__name__)


def engine_cache_folder() -> Path:
    """Where compiled networks are kept: beside the user's models. It can be deleted at any time."""
    return user_folder().parent / "engines"


def make_predictor(
    attempt: Attempt, config: SegmentConfig, model: LoadedModel, shape: tuple[int, ...], overlap: float
) -> Predictor:
    """The predictor for a volume of `shape` (k, j, i) at the model's spacing.

    On a CPU OpenVINO computes where it is installed and the run is long enough to pay for its start. Half precision on
    a CPU is compared with 32-bit on the image's own first tiles before it is trusted.
    """
    axes, other_side = _mirrorings(model)
    predictor = _plain_predictor(attempt, config, model, shape, overlap, 2 ** len(axes) if config.tta else 1)
    return MirroredPredictor(predictor, axes, other_side) if config.tta else predictor


def _mirrorings(model: LoadedModel) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes (0: k) along which tiles may be mirrored, and the classes that left and right exchange then.

    A model with left and right structures is mirrored between them alone: upside down it has not seen any body. Where
    one side has no partner, left and right are not mirrored.
    """
    every = (1, 2) if model.planar else (0, 1, 2)
    other_side = mirrored_classes(model.card.labels)
    if other_side is None:
        return every[:-1], ()
    if other_side == tuple(range(len(other_side))):
        return every, ()
    return every[-1:], other_side


def _plain_predictor(
    attempt: Attempt, config: SegmentConfig, model: LoadedModel, shape: tuple[int, ...], overlap: float, mirrorings: int
) -> Predictor:
    networks = model.networks_of(config.folds)
    if attempt.device != model.device:
        networks = [copy.deepcopy(network).to(attempt.device) for network in networks]
    eager = TorchPredictor(networks, attempt.device, None, model.planar)
    if attempt.device.type != "cpu":
        return eager if attempt.dtype is None else TorchPredictor(networks, attempt.device, attempt.dtype, model.planar)
    tile = (1, len(model.card.inputs), *(attempt.patch[1:] if model.planar else attempt.patch))
    exact: Predictor = eager
    if is_available():
        tiles = len(SlidingWindow(eager, attempt.patch, overlap).grid(shape)) * mirrorings * len(networks)
        if _is_worthwhile(networks[0], tile, tiles):
            exact = _by_openvino(attempt, config, model, "f32") or eager
            # What counting and compiling needed for a moment is otherwise kept during the whole run.
            release_free_memory()
    if attempt.dtype is None or half_precision(attempt.device) is None:
        return exact
    fast: Predictor | None = None
    if exact is not eager:
        fast = _by_openvino(attempt, config, model, "bf16")
    return GatedPredictor(fast or TorchPredictor(networks, attempt.device, attempt.dtype, model.planar), exact)


def _is_worthwhile(network: nn.Module, tile: tuple[int, ...], tiles: int) -> bool:
    """Whether computing `tiles` tiles eagerly would take longer than OpenVINO's start."""
    weights = sum(parameter.numel() for parameter in network.parameters())
    most = tiles * 2 * weights * math.prod(tile[2:])  # if every weight were used at every voxel
    return most >= WORTHWHILE_FLOPS and tiles * flops_per_tile(network, tile) >= WORTHWHILE_FLOPS


def _by_openvino(attempt: Attempt, config: SegmentConfig, model: LoadedModel, arithmetic: str) -> Predictor | None:
    """The networks by OpenVINO, kept warm with the model; None where OpenVINO cannot run them."""
    name = (arithmetic, config.folds, attempt.patch)
    if name not in model.engines:
        networks = model.networks_of(config.folds)
        try:
            model.engines[name] = OpenVinoPredictor(
                networks,
                len(model.card.inputs),
                attempt.patch,
                _key(config, model),
                "f32" if arithmetic == "f32" else "bf16",
                engine_cache_folder(),
            )
        except (ConversionError, RuntimeError) as error:
            _log.warning("Eager torch computes: %s", error)
            model.engines[name] = None
    return model.engines[name]


def _key(config: SegmentConfig, model: LoadedModel) -> str:
    folds = config.folds or model.folds
    weights = [entry.sha256 for fold in folds for entry in model.card.weights if entry.fold == fold]
    text = json.dumps([weights, to_json(model.card.network)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
