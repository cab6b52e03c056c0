"""Is the image that is segmented, or what was found in it, unlike what the model was made for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medai.config.model_card import ModelCard
from medai.image import Array
from medai.segment.volumes import StructureVolume

if TYPE_CHECKING:
    from medai.inference.anomaly import Anomaly
    from medai.segment.loading import LoadedModel


def judge(model: LoadedModel, array: Array) -> Anomaly | None:
    """The anomaly score of a preprocessed image (c, k, j, i); None where the model cannot tell."""
    if model.anomaly is None:
        return None
    from medai.inference.tile_features import tile_features

    network = model.networks_of(())[0]
    features = tile_features(network, array, model.card.patch, model.anomaly.layers, model.device)
    return model.anomaly.judge(float(model.anomaly.scores(features)[0]))


# Longer lists are cut: a person reads the table.
_MOST_NAMES = 5


def warning(model: LoadedModel, anomaly: Anomaly | None) -> list[str]:
    """What a person is told about an unusual image."""
    if anomaly is None or not anomaly.flag:
        return []
    return [
        f"The image is unlike those that model '{model.card.id}' was trained on (score {anomaly.score:.2f}, usual "
        f"below {anomaly.threshold:.2f}): look at the result with care."
    ]


def unusual_volumes(card: ModelCard, volumes: Sequence[StructureVolume]) -> bool:
    """Whether the volumes are not those of an image that the model was made for: too many structures, or a total."""
    if card.plausibility is None:
        return False
    judged = [row for row in volumes if row.usual_ml is not None and row.value is not None]
    odd = sum(row.unusual for row in judged)
    return odd > card.plausibility.share * len(judged) or any(row.unusual for row in volumes if row.value is None)


def volume_warnings(card: ModelCard, volumes: Sequence[StructureVolume]) -> list[str]:
    """What a person is told about volumes that are not usual, and about structures that the network is not sure of."""
    odd = [row for row in volumes if row.unusual]
    warnings = []
    if unusual_volumes(card, volumes):
        judged = sum(row.usual_ml is not None for row in volumes)
        warnings.append(
            f"The image does not seem to show all that model '{card.id}' was made for: {len(odd)} of {judged} volumes "
            f"are unusual ({_named([_sized(row) for row in odd])}). Is it a part, or another region?"
        )
    elif odd:
        warnings.append(f"Of unusual size: {_named([_sized(row) for row in odd])}.")
    low = 0.0 if card.quality is None else card.quality.low
    doubtful = sorted((row for row in volumes if row.quality is not None and row.quality < low), key=_quality)
    if doubtful:
        named = _named([f"{row.name} {row.quality:.2f}" for row in doubtful])
        warnings.append(
            f"The model is not sure of {len(doubtful)} structures (expected Dice below {low:.2f}): {named}."
        )
    return warnings


def _quality(row: StructureVolume) -> float:
    return row.quality or 0.0


def _sized(row: StructureVolume) -> str:
    low, high = row.usual_ml or (0.0, 0.0)
    return f"{row.name} {row.volume_ml:.1f} mL, usual {low:.1f} to {high:.1f}"


def _named(items: Sequence[str]) -> str:
    more = len(items) - _MOST_NAMES
    return "; ".join(items[:_MOST_NAMES]) + (f"; and {more} more" if more > 0 else "")
