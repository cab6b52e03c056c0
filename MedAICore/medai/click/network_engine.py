"""A click network on this machine: OpenVINO where it is installed, else torch."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from medai.click.grid import Floats
from medai.click.grow_cut import GrowCutEngine, edge_contrast
from medai.click.prompts import PromptMaps
from medai.config.validation import to_json
from medai.inference import Predictor, TorchPredictor
from medai.inference.openvino_engine import ConversionError, OpenVinoPredictor, is_available
from medai.models import user_folder
from medai.networks.click_channels import CHANNELS, click_channels
from medai.progress import CancelCheck, check_cancelled, never_cancelled

if TYPE_CHECKING:
    from medai.click.model import LoadedClickModel

_CUT_OFF = 0.6  # what a result is worth whose object goes on beyond the cube, of one whose does not
_FULL_CONTRAST = 2.0  # at a mask's surface, in standard deviations within: as clear as need be
_NEVER_SURE = 0.999  # so that after a first click every look is compared
_GROWN_PART = 0.4  # of grow-cut in the result of a first click
_log = logging.getLogger(__name__)


class NetworkEngine:
    """Segments a grid by a network that sees `click_channels`."""

    refines = True

    def __init__(self, predictor: Predictor, size: int) -> None:
        self._predictor = predictor
        self._size = size
        self._grow_cut = GrowCutEngine()

    @property
    def name(self) -> str:
        """What computes, for a person."""
        return self._predictor.engine

    @property
    def size(self) -> int:
        """Side of the grid in voxels."""
        return self._size

    def warm_up(self, cancelled: CancelCheck = never_cancelled) -> None:
        """Compute once on noise: the first pass of any engine is slow."""
        noise = torch.rand(len(CHANNELS), *(self._size,) * 3)
        self._predictor(noise.to(self._predictor.device), cancelled)

    def rate(self, image: Floats, values: Floats, cut_off: bool, first: bool) -> float:
        """For a first click, whose zoom is a guess, the Dice that the network itself expects of its mask, times the
        contrast at the mask's surface: a cube that shows only a part of an object gives a border just anywhere.

        With calibrated probabilities p that Dice is 2 sum(p in the mask) / (sum(p) + voxels of the mask). Later the
        result stands unless the cube's border cuts it off.
        """
        if not first:
            return 0.0 if cut_off else 1.0
        inside = values > 0.5
        expected = 2 * float(values[inside].sum()) / (float(values.sum()) + float(inside.sum()) + 1.0)
        contrast = min(edge_contrast(image, inside) / _FULL_CONTRAST, 1.0)
        return min(expected * contrast * (_CUT_OFF if cut_off else 1.0), _NEVER_SURE)

    def steadied(self, image: Floats, values: Floats, maps: PromptMaps) -> Floats:
        """Where the network is in doubt after one click, grow-cut's sharper idea of the border decides."""
        with torch.inference_mode():
            grown = self._grow_cut.predict(image, np.zeros_like(values), maps)
        mixed: Floats = (1 - _GROWN_PART) * values + _GROWN_PART * grown
        return mixed

    def predict(
        self, image: Floats, previous: Floats, maps: PromptMaps, cancelled: CancelCheck = never_cancelled
    ) -> Floats:
        """Probability of the object on the grid."""
        check_cancelled(cancelled)
        arrays = (image, previous, maps.positive, maps.negative, maps.region)
        with torch.inference_mode():
            channels = click_channels(*(torch.from_numpy(a)[None, None] for a in arrays))
            logits = self._predictor(channels[0].to(self._predictor.device), cancelled)
            probability = torch.sigmoid(logits[0].float()).cpu().numpy()
        return np.asarray(probability, np.float32)


def make_network_engine(model: LoadedClickModel) -> NetworkEngine:
    """The fastest engine that this machine has for `model`; what was compiled is kept for the next start."""
    size = model.card.patch[0]
    eager = TorchPredictor([model.network], model.device, None, False)
    if model.device.type != "cpu" or not is_available():
        return NetworkEngine(eager, size)
    text = json.dumps([[entry.sha256 for entry in model.card.weights], to_json(model.card.network)], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    folder = user_folder().parent / "engines"
    try:
        compiled = OpenVinoPredictor([model.network], len(CHANNELS), (size,) * 3, key, "f32", folder)
    except (ConversionError, RuntimeError) as error:
        _log.warning("Eager torch computes: %s", error)
        return NetworkEngine(eager, size)
    return NetworkEngine(compiled, size)
